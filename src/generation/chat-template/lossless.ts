import { parse, stringify } from "lossless-json";

/** A string, and the colon that follows a key. */
const strings = /"([^"\\]*(?:\\.[^"\\]*)*)"(\s*:)?/g;

/**
 * Parses JSON without changing digits or the order of keys. A number that JavaScript would write differently becomes a
 * string with a sign on both sides. Objects become maps, since whole numbers come first among an object's keys. For the
 * parser, which makes objects, such keys have a sign at their end.
 * @throws {SyntaxError}
 */
export function parseKeepingNumbers(json: string, sign: string): unknown {
    const ordered = /"\d+"\s*:/.test(json)
        ? json.replace(strings, (whole, text: string, colon?: string) =>
              colon !== undefined && /^\d+$/.test(text) ? `"${text}${sign}"${colon}` : whole
          )
        : json;
    const toMap = (_key: string, value: unknown) =>
        typeof value === "object" && value !== null && !Array.isArray(value)
            ? new Map(Object.entries(value).map(([key, inside]) => [key.replace(sign, ""), inside]))
            : value;
    return parse(ordered, toMap, {
        parseNumber: (text) => (String(Number(text)) === text ? Number(text) : `${sign}${text}${sign}`),
        // the last value wins, as in JSON.parse
        onDuplicateKey: ({ newValue }) => newValue
    });
}

/** Restores the numbers of {@link parseKeepingNumbers} in a rendered text, and removes quotes and signs. */
export function putNumbers(text: string, sign: string): string {
    if (!text.includes(sign)) return text;
    const number = `${sign}(-?[0-9][0-9.eE+-]*)${sign}`;
    return text
        .replace(new RegExp(`"${number}"|'${number}'|${number}`, "gu"), (_, a, b, c) => a ?? b ?? c)
        .replaceAll(sign, "");
}

/** JSON with the original digits of all numbers. */
export function toJson(value: unknown): string {
    return stringify(value) ?? "null";
}
