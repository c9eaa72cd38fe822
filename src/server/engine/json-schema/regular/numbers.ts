import { Automaton } from "./Automaton.js";
import { type CharSet, charsOf } from "./char-set.js";
import { type Range, rangesAutomaton } from "./ranges.js";

/** Bounds of a number. Both are included; undefined: none. */
export interface NumberBounds {
    readonly min?: Decimal;
    readonly max?: Decimal;
}

/** The number `digits` · 10^-`places`. */
export interface Decimal {
    readonly digits: bigint;
    readonly places: number;
}

/** Largest integers, in digits. JavaScript would parse a much longer one as infinity. */
const maxDigits = 40;
/**
 * Digits of a number with a fraction, before and after the point. Two different numbers of up to 15 digits are
 * different as floating-point numbers too, so a bound that excludes its own value still does after rounding.
 */
const maxWhole = 9;
export const maxPlaces = 6;
/** Digits of integers that floating-point numbers keep apart. */
export const exactDigits = 15;

/** Places that are kept of a bound. Grammars have fewer, so what is cut off only tells in which direction to round. */
const keptPlaces = 400;

/** @param value a finite number as JSON writes it */
export function parseDecimal(value: string): Decimal {
    const [, sign, whole = "", written = "", exponent = "0"] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(
        value
    )!;
    const fraction = written.endsWith("0") ? withoutZeros(written) : written;
    const digits = BigInt(`${sign}${whole}${fraction}`);
    const places = fraction.length - Number(exponent);
    // the exponent of a zero can have any size
    if (digits === 0n) return { digits, places: 0 };
    if (places < 0) return { digits: digits * 10n ** BigInt(-places), places: 0 };
    const cut = places - keptPlaces;
    if (cut <= 0) return { digits, places };
    const rest = digits < 0n ? -1n : 1n;
    // 10 to the power of a long exponent would take minutes
    if (cut > whole.length + fraction.length) return { digits: rest, places: keptPlaces + 1 };
    const unit = 10n ** BigInt(cut);
    const isExact = digits % unit === 0n;
    return { digits: (digits / unit) * 10n + (isExact ? 0n : rest), places: keptPlaces + 1 };
}

/** An expression for zeros at the end would take quadratic time. */
function withoutZeros(digits: string): string {
    let end = digits.length;
    while (digits[end - 1] === "0") end--;
    return digits.slice(0, end);
}

/** The largest number with some places that is not above, or the smallest that is not below. */
function scale({ digits, places }: Decimal, to: number, round: "up" | "down"): bigint {
    if (places <= to) return digits * 10n ** BigInt(to - places);
    const unit = 10n ** BigInt(places - to);
    const cut = digits / unit;
    const rest = digits % unit;
    if (rest === 0n) return cut;
    if (round === "down") return rest < 0n ? cut - 1n : cut;
    return rest > 0n ? cut + 1n : cut;
}

/** A bound that is excluded, as one that is included, for numbers with some places. */
export function excluded(bound: Decimal, side: "min" | "max", places: number): Decimal {
    const scaled = scale(bound, places, side === "min" ? "down" : "up");
    // the next floating-point number is further away
    const step = 1n + (scaled < 0n ? -scaled : scaled) / 2n ** 51n;
    return { digits: side === "min" ? scaled + step : scaled - step, places };
}

/** Integers within bounds, of up to some digits. */
export function integers(bounds: NumberBounds, digits = maxDigits): Automaton {
    return rangesAutomaton(within(bounds, 0, digits));
}

/** Numbers within bounds, by the bounds for each count of places. */
export function decimals(boundsFor: (places: number) => NumberBounds): Automaton {
    const parts = Array.from({ length: maxPlaces + 1 }, (_, places) => {
        const bounds = boundsFor(places);
        if (places > 0) return within(bounds, places, maxWhole + places);
        const part = within(bounds, 0, exactDigits);
        // all numbers within the bounds may be larger
        return part.length > 0 ? part : within(bounds, 0, maxDigits);
    });
    return rangesAutomaton(parts.flat());
}

/** @returns no range if no number is within the bounds */
function within({ min, max }: NumberBounds, places: number, digits: number): Range[] {
    const limit = 10n ** BigInt(digits) - 1n;
    const lowest = min === undefined ? -limit : scale(min, places, "up");
    const highest = max === undefined ? limit : scale(max, places, "down");
    const range = {
        places,
        lowest: lowest < -limit ? -limit : lowest,
        highest: highest > limit ? limit : highest
    };
    return range.lowest > range.highest ? [] : [range];
}

/** Largest number of remainders that an automaton keeps apart. */
export const maxDivisor = 2000;

/** Texts of numbers that are multiples of `divisor` · 10^-`places`. */
export function multiplesOf({ digits: divisor, places }: Decimal): Automaton {
    const size = Number(divisor);
    // `after` is 0 before the point, and one more than the digits after it
    const nameOf = (remainder: number, after: number) => remainder * 16 + after;
    const read = (state: number) => [Math.floor(state / 16), state % 16] as const;
    return Automaton.ofStates(
        0,
        (state) => {
            const [remainder, after] = read(state);
            const steps: [CharSet, number][] = [];
            if (after === 0 && places > 0) steps.push([charsOf("."), nameOf(remainder, 1)]);
            if (after === 0 && remainder === 0) steps.push([charsOf("-"), 0]);
            if (after <= places)
                for (let value = 0; value < 10; value++) {
                    const next = (remainder * 10 + value) % size;
                    steps.push([charsOf(String(value)), nameOf(next, after === 0 ? 0 : after + 1)]);
                }
            return steps;
        },
        (state) => {
            const [remainder, after] = read(state);
            const missing = places - Math.max(0, after - 1);
            return (remainder * 10 ** missing) % size === 0;
        }
    ).minimized();
}
