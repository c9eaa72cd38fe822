import { LosslessNumber, stringify } from "lossless-json";
import { unsupported } from "../../errors.js";
import { isTextFormat } from "./formats.js";
import { Memo } from "./Memo.js";
import { boundsOfFormat, isNumberFormat, numberFormatNames } from "./number-formats.js";
import { type Automaton, AutomatonSizeError } from "./regular/Automaton.js";
import {
    type Decimal,
    decimals,
    exactDigits,
    excluded,
    integers,
    maxDivisor,
    maxPlaces,
    multiplesOf,
    type NumberBounds,
    parseDecimal
} from "./regular/numbers.js";
import { numberOf } from "./Schema.js";

const made = new Memo<Automaton>();
const multiples = new Memo<Automaton>(true);

/**
 * The numbers that a schema's bounds accept. They are written without exponents, and with few digits after the point.
 * @throws {ApiError} if a bound is not a number, or if nothing is left
 */
export function numberAutomaton(kind: "integer" | "number", about: Record<string, unknown>, param: string): Automaton {
    const divisor = boundOf(about, "multipleOf", param);
    const only = divisor && multiplesBy(divisor, param);
    return made.get(stringify([kind, about])!, () => makeNumbers(kind, about, only, param));
}

/**
 * The keywords that say something about numbers: not the formats of texts, nor those that all numbers have.
 * @throws {ApiError} for an unknown format
 */
export function numberKeywordsOf({ format, ...about }: Record<string, unknown>, param: string) {
    if (boundsOfFormat(format) !== undefined) return { ...about, format };
    if (format === undefined || isNumberFormat(format) || isTextFormat(format)) return about;
    throw unsupported(
        `${param}.format`,
        `the format ${JSON.stringify(format)} is not supported for numbers; these are: ${numberFormatNames.join(", ")}`
    );
}

/** @throws {ApiError} if the keyword's value is not a number */
function boundOf(about: Record<string, unknown>, key: string, param: string): Decimal | undefined {
    if (about[key] === undefined) return undefined;
    const value = numberOf(about[key]);
    const isNumber = typeof about[key] === "number" || about[key] instanceof LosslessNumber;
    if (!isNumber || !Number.isFinite(value))
        throw unsupported(`${param}.${key}`, `\`${param}.${key}\` must be a number`);
    return parseDecimal(String(about[key]));
}

function multiplesBy(divisor: Decimal, param: string): Automaton {
    const { digits, places } = divisor;
    if (digits <= 0n || digits > maxDivisor || places > maxPlaces)
        throw unsupported(
            `${param}.multipleOf`,
            `\`${param}.multipleOf\` must be above 0 and have at most ${maxPlaces} places, and without its point ` +
                `it must be at most ${maxDivisor}`
        );
    return limited(() => multiples.get(`${digits}/${places}`, () => multiplesOf(divisor)), param);
}

function limited(make: () => Automaton, param: string): Automaton {
    try {
        return make();
    } catch (error) {
        if (!(error instanceof AutomatonSizeError)) throw error;
        throw unsupported(`${param}.multipleOf`, `\`${param}.multipleOf\` is too large for a grammar`);
    }
}

function makeNumbers(
    kind: "integer" | "number",
    about: Record<string, unknown>,
    only: Automaton | undefined,
    param: string
): Automaton {
    const [min, max] = [boundOf(about, "minimum", param), boundOf(about, "maximum", param)];
    const above = boundOf(about, "exclusiveMinimum", param);
    const below = boundOf(about, "exclusiveMaximum", param);
    const own = boundsOfFormat(about.format);
    const boundsFor = (places: number): NumberBounds => ({
        min: tightest("min", tightest("min", own?.min, min), above && excluded(above, "min", places)),
        max: tightest("max", tightest("max", own?.max, max), below && excluded(below, "max", places))
    });
    const within =
        kind === "integer" || own !== undefined ? integers(boundsFor(0), only && exactDigits) : decimals(boundsFor);
    const all = only === undefined ? within : limited(() => within.common(only), param);
    if (!all.isEmpty) return all;
    const key = Object.keys(about)[0]!;
    throw unsupported(`${param}.${key}`, `no number is within the bounds of \`${param}\``);
}

/** Whether a number of a schema is within bounds of that schema, as JavaScript validators compare them. */
export function isNumberWithin(value: unknown, about: Record<string, unknown>, param: string): boolean {
    const number = numberOf(value);
    const bound = (key: string, holds: (bound: number) => boolean) =>
        about[key] === undefined || holds(numberOf(about[key]));
    const isWithin =
        bound("minimum", (min) => number >= min) &&
        bound("maximum", (max) => number <= max) &&
        bound("exclusiveMinimum", (min) => number > min) &&
        bound("exclusiveMaximum", (max) => number < max);
    const { format, multipleOf } = about;
    if (!isWithin || !isOfFormat(value, format)) return false;
    return multipleOf === undefined || numberAutomaton("number", { multipleOf }, param).accepts(String(number));
}

function isOfFormat(value: unknown, format: unknown): boolean {
    const bounds = boundsOfFormat(format);
    if (bounds === undefined) return true;
    // an exponent of any size would take long
    if (!Number.isFinite(numberOf(value))) return false;
    const { digits, places } = parseDecimal(String(value));
    const unit = 10n ** BigInt(places);
    return digits % unit === 0n && digits >= bounds.min.digits * unit && digits <= bounds.max.digits * unit;
}

function tightest(side: "min" | "max", a: Decimal | undefined, b: Decimal | undefined): Decimal | undefined {
    if (a === undefined || b === undefined) return a ?? b;
    const places = Math.max(a.places, b.places);
    const scaled = ({ digits, places: own }: Decimal) => digits * 10n ** BigInt(places - own);
    return scaled(a) > scaled(b) === (side === "min") ? a : b;
}
