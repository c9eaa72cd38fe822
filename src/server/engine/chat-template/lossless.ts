import { parse, stringify } from "lossless-json";

/**
 * Parses JSON and keeps numbers as they are written: those that JavaScript would write in another way become strings with a sign on both sides.
 * @throws {SyntaxError}
 */
export function parseKeepingNumbers(json: string, sign: string): unknown {
    return parse(json, undefined, {
        parseNumber: (text) => (String(Number(text)) === text ? Number(text) : `${sign}${text}${sign}`),
        // as in JSON.parse, the last one counts
        onDuplicateKey: ({ newValue }) => newValue
    });
}

/** Puts the numbers of {@link parseKeepingNumbers} into a rendered text, without the quotes that a template wrote around them. */
export function putNumbers(text: string, sign: string): string {
    if (!text.includes(sign)) return text;
    const number = `${sign}(-?[0-9][0-9.eE+-]*)${sign}`;
    return text.replace(new RegExp(`"${number}"|'${number}'|${number}`, "gu"), (_, a, b, c) => a ?? b ?? c);
}

/** JSON with the numbers as they came. */
export function toJson(value: unknown): string {
    return stringify(value) ?? "null";
}
