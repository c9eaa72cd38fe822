import { LosslessNumber, stringify } from "lossless-json";
import { LRUCache } from "lru-cache";
import { unsupported } from "../../errors.js";
import type { Automaton } from "./regular/Automaton.js";
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

/** Clients send the same bounds again and again, such as those of all safe integers. */
const made = new LRUCache<string, Automaton>({ max: 500 });

/**
 * The numbers that a schema's bounds accept. They are written without exponents, and with few digits after the point.
 * @throws {ApiError} if a bound is not a number, or if nothing is left
 */
export function numberAutomaton(kind: "integer" | "number", about: Record<string, unknown>, param: string): Automaton {
    const name = stringify([kind, about])!;
    const known = made.get(name);
    if (known !== undefined) return known;
    const bound = (key: string) => {
        if (about[key] === undefined) return undefined;
        const value = Number(about[key]);
        const isNumber = typeof about[key] === "number" || about[key] instanceof LosslessNumber;
        if (!isNumber || !Number.isFinite(value))
            throw unsupported(`${param}.${key}`, `\`${param}.${key}\` must be a number`);
        return parseDecimal(String(about[key]));
    };
    const [min, max] = [bound("minimum"), bound("maximum")];
    const [above, below] = [bound("exclusiveMinimum"), bound("exclusiveMaximum")];
    const divisor = bound("multipleOf");
    const boundsFor = (places: number): NumberBounds => ({
        min: tightest("min", min, above && excluded(above, "min", places)),
        max: tightest("max", max, below && excluded(below, "max", places))
    });
    let all = kind === "integer" ? integers(boundsFor(0), divisor && exactDigits) : decimals(boundsFor);
    if (divisor !== undefined) {
        if (divisor.digits <= 0n || divisor.digits > maxDivisor || divisor.places > maxPlaces)
            throw unsupported(
                `${param}.multipleOf`,
                `\`${param}.multipleOf\` must be above 0 and have at most ${maxPlaces} places, and without its point ` +
                    `it must be at most ${maxDivisor}`
            );
        all = all.and(multiplesOf(divisor));
    }
    if (!all.isEmpty) {
        made.set(name, all);
        return all;
    }
    const key = Object.keys(about)[0]!;
    throw unsupported(`${param}.${key}`, `no number is within the bounds of \`${param}\``);
}

function tightest(side: "min" | "max", a: Decimal | undefined, b: Decimal | undefined): Decimal | undefined {
    if (a === undefined || b === undefined) return a ?? b;
    const places = Math.max(a.places, b.places);
    const scaled = ({ digits, places: own }: Decimal) => digits * 10n ** BigInt(places - own);
    return scaled(a) > scaled(b) === (side === "min") ? a : b;
}
