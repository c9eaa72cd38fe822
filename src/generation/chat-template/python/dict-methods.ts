import { callable, keyOf, list, none, tuple, type Value, valueOfKey } from "./values.js";

type Entries = ReadonlyMap<string, Value>;

export const itemsOfDict = (entries: Entries): Value =>
    list([...entries].map(([key, value]) => tuple([valueOfKey(key), value])));

/** Methods of Python's `dict` that templates use; no template may change a value. */
export const dictMethods: Readonly<Record<string, ((entries: Entries) => Value) | undefined>> = Object.assign(
    Object.create(null),
    {
        get: (entries: Entries) =>
            callable(([key, otherwise]) => {
                const found = key === undefined ? undefined : entries.get(keyOf(key));
                return found ?? otherwise ?? none;
            }),
        items: (entries: Entries) => callable(() => itemsOfDict(entries)),
        keys: (entries: Entries) => callable(() => list([...entries.keys()].map(valueOfKey))),
        values: (entries: Entries) => callable(() => list([...entries.values()]))
    }
);
