import { parse, stringify } from "lossless-json";

/**
 * Parses JSON without changing digits. A number that JavaScript would write differently becomes a string with a sign on
 * both sides.
 * @throws {SyntaxError}
 */
export function parseKeepingNumbers(json: string, sign: string): unknown {
    return parse(json, undefined, {
        parseNumber: (text) => (String(Number(text)) === text ? Number(text) : `${sign}${text}${sign}`),
        // the last value wins, as in JSON.parse
        onDuplicateKey: ({ newValue }) => newValue
    });
}

/** Restores the numbers of {@link parseKeepingNumbers} in a rendered text, and removes the quotes around them. */
export function putNumbers(text: string, sign: string): string {
    if (!text.includes(sign)) return text;
    const number = `${sign}(-?[0-9][0-9.eE+-]*)${sign}`;
    return text.replace(new RegExp(`"${number}"|'${number}'|${number}`, "gu"), (_, a, b, c) => a ?? b ?? c);
}

/** JSON with the original digits of all numbers. */
export function toJson(value: unknown): string {
    return stringify(value) ?? "null";
}
