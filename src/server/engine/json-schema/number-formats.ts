import type { Automaton } from "./regular/Automaton.js";
import { decimals, integers, type NumberBounds } from "./regular/numbers.js";
import { Work } from "./Work.js";

const between = (min: bigint, max: bigint): Required<NumberBounds> => ({
    min: { digits: min, places: 0 },
    max: { digits: max, places: 0 }
});
const signed = (bits: bigint) => between(-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n);
const unsigned = (bits: bigint) => between(0n, 2n ** bits - 1n);

/** Integers of OpenAPI's format registry and of schemars, Rust's generator. */
const integerFormats = new Map<string, Required<NumberBounds>>([
    ...[8n, 16n, 32n, 64n].flatMap((bits): [string, Required<NumberBounds>][] => [
        [`int${bits}`, signed(bits)],
        [`uint${bits}`, unsigned(bits)]
    ]),
    ["int", signed(64n)],
    ["uint", unsigned(64n)],
    ["double-int", between(1n - 2n ** 53n, 2n ** 53n - 1n)]
]);

/** Formats of any number: validators check no more. */
const freeFormats = new Set(["float", "double", "decimal"]);

export const numberFormatNames: readonly string[] = [...integerFormats.keys(), ...freeFormats];

export function isNumberFormat(name: unknown): name is string {
    return typeof name === "string" && numberFormatNames.includes(name);
}

/** The integers of a format; undefined if it is another one, or allows fractions. */
export function boundsOfFormat(name: unknown): Required<NumberBounds> | undefined {
    return integerFormats.get(String(name));
}

const texts = new Map<string, Automaton>();

/** A format's numbers as texts: JSON of protobuf has 64 bits in a string. undefined if it is no format of numbers. */
export function numberTextAutomaton(name: string): Automaton | undefined {
    if (!isNumberFormat(name)) return undefined;
    const bounds = boundsOfFormat(name);
    const make = () => (bounds === undefined ? decimals(() => ({})) : integers(bounds));
    // made once for all requests, so that no request counts it
    const known = texts.get(name) ?? new Work(Number.POSITIVE_INFINITY).during(make);
    texts.set(name, known);
    return known;
}
