import { spend } from "../Work.js";
import { Automaton } from "./Automaton.js";
import { type CharSet, charSet, charsOf } from "./char-set.js";

/** Numbers with a fixed count of digits after the point. Both bounds are included, and count those digits too. */
export interface Range {
    readonly places: number;
    readonly lowest: bigint;
    readonly highest: bigint;
}

/**
 * Texts of the numbers within ranges. They are found digit by digit: an expression for the same numbers would be
 * nondeterministic, and its subsets would take fifty times as many steps.
 */
export function rangesAutomaton(ranges: readonly Range[]): Automaton {
    const positive = ranges
        .filter(({ highest }) => highest >= 0n)
        .map(({ places, lowest, highest }) => new Digits("", places, lowest < 0n ? 0n : lowest, highest));
    const negative = ranges
        .filter(({ lowest }) => lowest < 0n)
        .map(({ places, lowest, highest }) => new Digits("-", places, highest < 0n ? -highest : 1n, -lowest));
    const states: State[] = [];
    const ids = new Map<string, number>();
    const idOf = (state: State) => {
        const key = state.at + state.ways.map((way) => way.digits.keyOf(way)).join();
        const id = ids.get(key) ?? states.push(state) - 1;
        ids.set(key, id);
        return id;
    };
    const first = (all: readonly Digits[]) => all.map((digits) => digits.first);
    return Automaton.ofStates(
        idOf({ at: "start", ways: first(positive) }),
        (id) => {
            const { at, ways } = states[id]!;
            const steps: [CharSet, number][] = [];
            if (at === "start" && negative.length > 0)
                steps.push([charsOf("-"), idOf({ at: "sign", ways: first(negative) })]);
            if (at === "whole") {
                const after = ways.filter((way) => way.digits.isWhole(way)).map((way) => way.digits.afterPoint(way));
                if (after.length > 0) steps.push([charsOf("."), idOf({ at: "fraction", ways: after })]);
            }
            const targets = new Map<number, [first: number, last: number][]>();
            for (const range of classesOf(at, ways)) {
                spend(3 + 4 * ways.length);
                const after = ways.flatMap((way) => way.digits.afterDigit(way, range[0], at) ?? []);
                if (after.length === 0) continue;
                const to = idOf({ at: at === "fraction" ? at : "whole", ways: after });
                const known = targets.get(to);
                if (known === undefined) targets.set(to, [range]);
                else known.push(range);
            }
            for (const [to, digits] of targets) steps.push([setOf(digits), to]);
            return steps;
        },
        (id) => {
            const { at, ways } = states[id]!;
            const isEnd = ({ digits, low }: Way) => low === 0 && (at === "fraction" || digits.places === 0);
            return (at === "whole" || at === "fraction") && ways.some(isEnd);
        }
    );
}

interface State {
    readonly at: "start" | "sign" | "whole" | "fraction";
    readonly ways: readonly Way[];
}

/**
 * What may follow the digits read. A side is a count, of the digits that must or may follow at least or at most: before
 * the point, or else after it. Or it is the complement of an index, where all digits before it are the bound's own.
 */
interface Way {
    readonly digits: Digits;
    readonly low: number;
    readonly high: number;
}

/** The digits of a range of numbers with one sign. */
class Digits {
    private readonly low: string;
    private readonly high: string;
    /** Where the zeros at the lower bound's end begin. */
    private readonly zeros: number;
    /** Where the nines at the upper bound's end begin. */
    private readonly nines: number;

    constructor(
        private readonly sign: string,
        readonly places: number,
        lowest: bigint,
        highest: bigint
    ) {
        const write = (bound: bigint) => String(bound).padStart(places + 1, "0");
        this.low = write(lowest);
        this.high = write(highest);
        this.zeros = lastRun(this.low, "0");
        this.nines = lastRun(this.high, "9");
    }

    get first(): Way {
        const { low, high, places } = this;
        return { digits: this, low: this.lowAt(0, low.length - places), high: this.highAt(0, high.length - places) };
    }

    /** Equal for ways that the same digits may follow. */
    keyOf({ low, high }: Way): string {
        return `${this.places}:${low < 0 ? this.sign : ""}${low}:${high < 0 ? this.sign : ""}${high}`;
    }

    /** What follows a digit; undefined: nothing. */
    afterDigit({ low, high }: Way, digit: number, at: State["at"]): Way | undefined {
        const after = at === "fraction" ? 0 : this.places;
        let most =
            high < 0 ? this.afterHigh(~high, this.high.length - after, digit) : high === 0 ? undefined : high - 1;
        if (most === undefined) return undefined;
        // no digit may follow a zero at the beginning
        if (most > 0 && digit === 0 && (at === "start" || at === "sign")) most = 0;
        const least = low < 0 ? this.afterLow(~low, this.low.length - after, digit) : Math.max(0, low - 1);
        const count = least < 0 ? this.low.length - after - ~least : least;
        const limit = most < 0 ? this.high.length - after - ~most : most;
        return count <= limit ? { digits: this, low: least, high: most } : undefined;
    }

    /** Whether a point may follow. */
    isWhole({ low }: Way): boolean {
        return this.places > 0 && (low === 0 || ~low === this.low.length - this.places);
    }

    afterPoint({ low, high }: Way): Way {
        const { places } = this;
        const isAtLow = low < 0;
        const isAtHigh = ~high === this.high.length - places;
        return {
            digits: this,
            low: isAtLow ? this.lowAt(~low, this.low.length) : places,
            high: isAtHigh ? this.highAt(~high, this.high.length) : places
        };
    }

    private afterLow(index: number, end: number, digit: number): number {
        if (index === end) return 0;
        const own = Number(this.low[index]);
        if (digit === own) return this.lowAt(index + 1, end);
        // a number with more digits is larger
        return digit > own ? end - index - 1 : end - index;
    }

    private afterHigh(index: number, end: number, digit: number): number | undefined {
        if (index === end) return undefined;
        const own = Number(this.high[index]);
        if (digit === own) return this.highAt(index + 1, end);
        if (digit < own) return end - index - 1;
        return end - index < 2 ? undefined : end - index - 2;
    }

    /** Zeros exclude nothing, so a count is enough, and equal states have one form. */
    private lowAt(index: number, end: number): number {
        return index < this.zeros ? ~index : end - index;
    }

    private highAt(index: number, end: number): number {
        return index < this.nines ? ~index : end - index;
    }

    /** The next digits of the bounds, which lead elsewhere than others. */
    nextDigits({ low, high }: Way): number[] {
        const own = [low < 0 ? this.low[~low] : undefined, high < 0 ? this.high[~high] : undefined];
        return own.flatMap((digit) => (digit === undefined ? [] : [Number(digit)]));
    }
}

/** Where the last characters of a text that are all the same begin. */
function lastRun(text: string, character: string): number {
    let index = text.length;
    while (text[index - 1] === character) index--;
    return index;
}

/** Ranges of digits that lead to the same state. */
function classesOf(at: State["at"], ways: readonly Way[]): [first: number, last: number][] {
    const own = new Set(ways.flatMap((way) => way.digits.nextDigits(way)));
    if (at === "start" || at === "sign") own.add(0);
    const classes: [number, number][] = [];
    for (let digit = 0; digit < 10; digit++) {
        const before = classes.at(-1);
        if (before === undefined || own.has(digit) || own.has(digit - 1)) classes.push([digit, digit]);
        else before[1] = digit;
    }
    return classes;
}

const sets = new Map<string, CharSet>();

/** Equal sets are the same object, which makes them cheap to compare. */
function setOf(ranges: readonly [first: number, last: number][]): CharSet {
    const key = ranges.join();
    const known = sets.get(key) ?? charSet(...ranges.map(([a, b]) => [0x30 + a, 0x30 + b] as const));
    sets.set(key, known);
    return known;
}
