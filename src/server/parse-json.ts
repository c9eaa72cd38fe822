import { LosslessNumber, parse } from "lossless-json";

/** A parsed body, as plain data. */
export interface ParsedJson {
    readonly value: unknown;
    /** The places and digits of the numbers that JavaScript cannot represent, and of those that it writes otherwise. */
    readonly long: readonly { readonly path: readonly string[]; readonly digits: string }[];
}

/**
 * Parses JSON.
 * @param hasLongNumber whether a number may be too long for JavaScript; otherwise the faster parser is used
 * @throws {SyntaxError}
 * @throws {TypeError} if the bytes are not valid UTF-8
 */
export function parseJson(bytes: Uint8Array, hasLongNumber: boolean): ParsedJson {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (!hasLongNumber) return { value: JSON.parse(text), long: [] };
    const value = parse(text, undefined, {
        parseNumber: (number) =>
            isLong(number) || String(Number(number)) !== number ? new LosslessNumber(number) : Number(number),
        onDuplicateKey: ({ newValue }) => newValue
    });
    const root = { value };
    const numbers = longNumbersOf(value);
    const others = numbers.filter(({ digits }) => !isLong(digits));
    const shown = others.filter(({ path }) => path.some((key) => written.has(key)));
    const dropped = new Set(others);
    if (shown.length <= maxOthers) for (const number of shown) dropped.delete(number);
    for (const { path, digits } of dropped) put(root, path, Number(digits));
    return { value: root.value, long: numbers.filter((number) => !dropped.has(number)) };
}

/** Members of requests that a prompt shows: their numbers stay as they are written, such as `1.0`. */
const written = new Set(["arguments", "format", "input", "input_schema", "parameters", "schema"]);

/** Numbers that JavaScript would write otherwise; each of them has to be put back into the parsed body. */
const maxOthers = 10_000;

/** The long numbers in parsed JSON. A message between threads makes plain objects of them. */
export function longNumbersOf(value: unknown): ParsedJson["long"] {
    const long: ParsedJson["long"][number][] = [];
    const path: string[] = [];
    const visit = (item: unknown): void => {
        if (item instanceof LosslessNumber) long.push({ path: [...path], digits: item.value });
        else if (typeof item === "object" && item !== null)
            for (const key of Object.keys(item)) {
                path.push(key);
                visit((item as Record<string, unknown>)[key]);
                path.pop();
            }
    };
    visit(value);
    return long;
}

/** Significant digits that tell a double from its neighbours: programs that write doubles write no more. */
const doubleDigits = 17;

/** Whether JavaScript would make another number of it. */
function isLong(number: string): boolean {
    const value = Number(number);
    if (!Number.isFinite(value)) return true;
    if (/^-?\d+$/.test(number)) return !Number.isSafeInteger(value);
    const [mantissa = ""] = number.toLowerCase().split("e");
    const digits = mantissa.replace(/[-.]/g, "").replace(/^0+|0+$/g, "");
    // an integer in another notation; larger ones are written like this because they are doubles
    const isUnsafe = Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 1e21;
    if (isUnsafe && digits.length > doubleDigits - 2) return true;
    return digits.length > doubleDigits || (value === 0 && digits !== "");
}

/** Puts the long numbers back into a parsed body. */
export function withLongNumbers({ value, long }: ParsedJson): unknown {
    const root = { value };
    for (const { path, digits } of long) put(root, path, new LosslessNumber(digits));
    return root.value;
}

/** Puts a value into the place of another. */
function put(root: { value: unknown }, path: readonly string[], value: unknown): void {
    const [last, ...before] = ["value", ...path].reverse();
    const parent = before.reduceRight<unknown>((item, key) => (item as Record<string, unknown>)[key], root);
    setOwn(parent as object, last!, value);
}

/** Assigning to `__proto__` would change the prototype instead. */
function setOwn(item: object, key: string, value: unknown): void {
    Object.defineProperty(item, key, { value, writable: true, enumerable: true, configurable: true });
}
