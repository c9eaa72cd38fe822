import {
    boolean,
    codePoints,
    integer,
    isInteger,
    isList,
    isNone,
    isString,
    itemsOf,
    list,
    str,
    string,
    typeName,
    type Value
} from "./values.js";

/** White space of Python's `str`, which is not quite that of JavaScript. */
const space = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const leading = new RegExp(`^[${space}]+`);
const trailing = new RegExp(`[${space}]+$`);
const words = new RegExp(`[^${space}]+`, "g");
const breaks = "\\n-\\r\\x1c-\\x1e\\x85\\u2028\\u2029";
const lineBreak = new RegExp(`\\r\\n|[${breaks}]`);

export type Keywords = ReadonlyMap<string, Value>;
type Method = (text: string, args: readonly Value[], keywords: Keywords) => Value;

const textOf = (value: Value | undefined, what: string): string => {
    if (value !== undefined && isString(value)) return value.value;
    throw new Error(`${what} takes a string, not ${value === undefined ? "nothing" : typeName(value)}`);
};

/** Removes characters at the ends: white space, or the given ones. */
export function strip(text: string, chars: Value | undefined, ends: "both" | "left" | "right"): string {
    if (chars === undefined || isNone(chars)) {
        const begun = ends === "right" ? text : text.replace(leading, "");
        // the expression alone would look at every run of spaces within the text
        return ends === "left" || !trailing.test(begun.slice(-1)) ? begun : trimEnd(begun);
    }
    const removed = new Set(codePoints(textOf(chars, "strip")));
    const characters = codePoints(text);
    let [start, end] = [0, characters.length];
    if (ends !== "right") while (start < end && removed.has(characters[start]!)) start++;
    if (ends !== "left") while (end > start && removed.has(characters[end - 1]!)) end--;
    return characters.slice(start, end).join("");
}

function trimEnd(text: string): string {
    let end = text.length;
    while (end > 0 && trailing.test(text[end - 1]!)) end--;
    return text.slice(0, end);
}

function split(text: string, [separator, most]: readonly (Value | undefined)[], fromRight: boolean): string[] {
    const max = most !== undefined && isInteger(most) && most.value >= 0 ? most.value : Number.POSITIVE_INFINITY;
    if (separator === undefined || isNone(separator)) {
        const found = [...text.matchAll(words)];
        if (found.length <= max) return found.map(([word]) => word);
        if (fromRight) {
            const rest = found.slice(found.length - max);
            const end = found[found.length - max - 1]!;
            const head = text.slice(0, end.index + end[0].length);
            return [strip(head, undefined, "left"), ...rest.map(([word]) => word)];
        }
        return [...found.slice(0, max).map(([word]) => word), text.slice(found[max]!.index)];
    }
    const by = textOf(separator, "split");
    if (by === "") throw new Error("split: the separator is empty");
    const parts = text.split(by);
    if (parts.length <= max + 1) return parts;
    if (fromRight) return [parts.slice(0, parts.length - max).join(by), ...parts.slice(parts.length - max)];
    return [...parts.slice(0, max), parts.slice(max).join(by)];
}

export function splitLines(text: string): string[] {
    const lines = text.split(lineBreak);
    if (lines.at(-1) === "") lines.pop();
    return lines;
}

/** First letter large, the others small. */
export function capitalize(text: string): string {
    const [first = "", ...rest] = codePoints(text);
    return first.toUpperCase() + rest.join("").toLowerCase();
}

const isEach = (text: string, form: RegExp) => boolean(text !== "" && form.test(text));
const texts = (parts: readonly string[]) => list(parts.map(string));
const prefixes = (value: Value | undefined, what: string) =>
    value !== undefined && isList(value) ? value.value.map((each) => textOf(each, what)) : [textOf(value, what)];

function place(text: string, units: number): Value {
    return integer(units < 0 ? -1 : codePoints(text.slice(0, units)).length);
}

/** Methods of Python's `str` that templates use. */
export const stringMethods: Readonly<Record<string, Method>> = {
    strip: (text, [chars]) => string(strip(text, chars, "both")),
    lstrip: (text, [chars]) => string(strip(text, chars, "left")),
    rstrip: (text, [chars]) => string(strip(text, chars, "right")),
    split: (text, args, named) =>
        texts(split(text, [named.get("sep") ?? args[0], named.get("maxsplit") ?? args[1]], false)),
    rsplit: (text, args, named) =>
        texts(split(text, [named.get("sep") ?? args[0], named.get("maxsplit") ?? args[1]], true)),
    splitlines: (text) => texts(splitLines(text)),
    capitalize: (text) => string(capitalize(text)),
    title: (text) => string(text.replace(/[\p{Lu}\p{Ll}\p{Lt}]+/gu, capitalize)),
    startswith: (text, [prefix]) => boolean(prefixes(prefix, "startswith").some((each) => text.startsWith(each))),
    endswith: (text, [suffix]) => boolean(prefixes(suffix, "endswith").some((each) => text.endsWith(each))),
    removeprefix: (text, [prefix]) => {
        const removed = textOf(prefix, "removeprefix");
        return string(text.startsWith(removed) ? text.slice(removed.length) : text);
    },
    removesuffix: (text, [suffix]) => {
        const removed = textOf(suffix, "removesuffix");
        return string(text.endsWith(removed) ? text.slice(0, text.length - removed.length) : text);
    },
    find: (text, [part]) => place(text, text.indexOf(textOf(part, "find"))),
    rfind: (text, [part]) => place(text, text.lastIndexOf(textOf(part, "rfind"))),
    count: (text, [part]) => {
        const counted = textOf(part, "count");
        return integer(counted === "" ? codePoints(text).length + 1 : text.split(counted).length - 1);
    },
    join: (text, [parts]) => {
        if (parts === undefined) throw new Error("join takes a list");
        return string(
            itemsOf(parts)
                .map((part) => textOf(part, "join"))
                .join(text)
        );
    },
    format: (text, args, named) => {
        let next = 0;
        const written = text.replace(/\{\{|\}\}|\{(\w*)\}|[{}]/g, (field, name?: string) => {
            if (field === "{{" || field === "}}") return field[0]!;
            if (name === undefined) throw new Error("format: only fields like {}, {0} and {name} are supported");
            const value = /^\d*$/.test(name) ? args[name === "" ? next++ : Number(name)] : named.get(name);
            if (value === undefined) throw new Error(`format: there is no value for ${field}`);
            return str(value);
        });
        return string(written);
    },
    isdigit: (text) => isEach(text, /^[\p{Nd}\p{No}]+$/u),
    isalpha: (text) => isEach(text, /^\p{L}+$/u),
    isalnum: (text) => isEach(text, /^[\p{L}\p{N}]+$/u),
    isspace: (text) => isEach(text, new RegExp(`^[${space}]+$`))
};
