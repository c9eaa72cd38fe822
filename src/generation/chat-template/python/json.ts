import {
    compareTexts,
    floatText,
    isBoolean,
    isDict,
    isFloat,
    isInteger,
    isList,
    isNone,
    isString,
    repr,
    str,
    typeName,
    type Value,
    valueOfKey
} from "./values.js";

export interface JsonOptions {
    readonly ensureAscii: boolean;
    /** One level of indentation; undefined for a single line. */
    readonly indent: string | undefined;
    readonly separators: readonly [item: string, key: string];
    readonly sortKeys: boolean;
}

/** `json.dumps` of Python. */
export function dumps(value: Value, options: JsonOptions, depth = 0): string {
    const { ensureAscii, indent, separators, sortKeys } = options;
    const text = (content: string) => {
        const json = JSON.stringify(content);
        return ensureAscii ? json.replace(/[\x7f-\uffff]/g, (unit) => `\\u${hex(unit)}`) : json;
    };
    const wrap = (open: string, parts: readonly string[], close: string) => {
        if (parts.length === 0 || indent === undefined) return `${open}${parts.join(separators[0])}${close}`;
        const line = `\n${indent.repeat(depth)}`;
        return `${open}${line}${indent}${parts.join(`${separators[0]}${line}${indent}`)}${line}${close}`;
    };
    if (isString(value)) return text(value.value);
    if (isNone(value)) return "null";
    if (isBoolean(value)) return String(value.value);
    if (isInteger(value)) return repr(value);
    if (isFloat(value)) return Number.isFinite(value.value) ? floatText(value.value) : String(value.value);
    const inner = (item: Value) => dumps(item, options, depth + 1);
    if (isList(value)) return wrap("[", value.value.map(inner), "]");
    if (!isDict(value)) throw new Error(`${typeName(value)} cannot be written as JSON`);
    const entries = [...value.value];
    if (sortKeys) entries.sort(([a], [b]) => compareTexts(a, b));
    return wrap(
        "{",
        entries.map(([key, item]) => `${text(str(valueOfKey(key)))}${separators[1]}${inner(item)}`),
        "}"
    );
}

function hex(unit: string): string {
    return unit.charCodeAt(0).toString(16).padStart(4, "0");
}
