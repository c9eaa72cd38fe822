import test from "ava";
import fc from "fast-check";
import { type JsonValue, parseStrictJson } from "../../src/util/strict-json.js";
import { propertySeed } from "../helpers/property.js";

/** Maps back to plain objects, for comparison with `JSON.parse`. */
function plain(value: JsonValue): unknown {
    if (Array.isArray(value)) return value.map(plain);
    return value instanceof Map ? Object.fromEntries([...value].map(([key, inner]) => [key, plain(inner)])) : value;
}

test("valid JSON is read as JSON.parse reads it", (t) => {
    fc.assert(
        fc.property(fc.json({ maxDepth: 5 }), fc.constantFrom(undefined, 1, "\t"), (text, indent) => {
            const spaced = JSON.stringify(JSON.parse(text), undefined, indent);
            t.deepEqual(plain(parseStrictJson(spaced)), JSON.parse(text));
        })
    );
});

test("text that JSON.parse refuses is refused", (t) => {
    fc.assert(
        fc.property(
            fc.json({ maxDepth: 3 }),
            fc.nat(),
            fc.string({ minLength: 1, maxLength: 1 }),
            (text, at, character) => {
                const damaged = `${text.slice(0, at % text.length)}${character}${text.slice((at % text.length) + 1)}`;
                try {
                    JSON.parse(damaged);
                } catch {
                    t.throws(() => parseStrictJson(damaged), { name: "ArmtError" }, damaged);
                }
            }
        ),
        { seed: propertySeed, numRuns: 500 }
    );
});

test("duplicate keys, deep nesting and trailing text are refused where JSON.parse takes them or not", (t) => {
    t.throws(() => parseStrictJson('{"a":1,"\\u0061":2}'), { message: /duplicate key/ });
    t.throws(() => parseStrictJson("[".repeat(1e6)), { message: /nested too deeply/ });
    t.throws(() => parseStrictJson("1 2"), { message: /text after the end/ });
    t.throws(() => parseStrictJson('"open'), { message: /bad string/ });
    t.throws(() => parseStrictJson(`"${"\\".repeat(7)}"`), { message: /bad string/ });
    t.is(parseStrictJson(`"${"\\".repeat(8)}"`), "\\".repeat(4));
});

test("names of prototypes are plain keys", (t) => {
    t.deepEqual(
        parseStrictJson('{"__proto__":1,"constructor":2}'),
        new Map([
            ["__proto__", 1],
            ["constructor", 2]
        ])
    );
});
