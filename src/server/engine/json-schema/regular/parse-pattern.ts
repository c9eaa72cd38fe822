import { spend } from "../Work.js";
import { type CharSet, charSet, charsOf, complement, maxCodePoint, union } from "./char-set.js";
import { choice, type Expression, endOfText, repeat, sequence, set, startOfText } from "./Expression.js";

/** Steps for a Unicode property, whose characters are found once. */
const propertySteps = 8_000;

/** Groups inside of each other. */
const maxDepth = 100;

/** A pattern that is not regular, or that this parser does not know. */
export class PatternError extends Error {
    override name = "PatternError";
}

const digits = charSet([0x30, 0x39]);
const word = union(digits, charSet([0x41, 0x5a], [0x61, 0x7a]), charsOf("_"));
const space = union(
    charSet([0x09, 0x0d], [0x2000, 0x200a]),
    charsOf(" \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff")
);
const lineEnds = charsOf("\n\r\u2028\u2029");
const classes: Readonly<Record<string, CharSet>> = {
    d: digits,
    D: complement(digits),
    w: word,
    W: complement(word),
    s: space,
    S: complement(space)
};
const controls: Readonly<Record<string, string>> = { t: "\t", n: "\n", r: "\r", f: "\f", v: "\v", 0: "\0" };

/**
 * Parses a regular expression of ECMAScript with the flag `u`, as JSON Schema has them.
 * @throws {PatternError} for back references, word boundaries, and what looks behind
 */
export function parsePattern(source: string): Expression {
    spend(16 * source.length);
    try {
        new RegExp(source, "u");
    } catch (error) {
        const [, reason] = /: ([^:]*)$/.exec((error as Error).message) ?? [];
        throw new PatternError(`is not a regular expression (${reason ?? "syntax"})`);
    }
    return new PatternParser(source).alternatives();
}

class PatternParser {
    private readonly characters: readonly string[];
    private readonly properties = new Set<string>();
    private at = 0;
    private depth = 0;

    constructor(source: string) {
        this.characters = [...source];
    }

    alternatives(): Expression {
        if (++this.depth > maxDepth) throw new PatternError(`has more than ${maxDepth} groups inside of each other`);
        const parts = [this.terms()];
        while (this.take("|")) parts.push(this.terms());
        this.depth--;
        return choice(...parts);
    }

    private terms(): Expression {
        const parts: Expression[] = [];
        while (this.at < this.characters.length && this.peek() !== "|" && this.peek() !== ")")
            parts.push(this.quantified(this.atom()));
        return sequence(...parts);
    }

    private atom(): Expression {
        const character = this.next();
        switch (character) {
            case "^":
                return startOfText;
            case "$":
                return endOfText;
            case ".":
                return set(complement(lineEnds));
            case "[":
                return set(this.class());
            case "(":
                return this.group();
            case "\\":
                return set(this.escape());
            default:
                return set(charsOf(character));
        }
    }

    private group(): Expression {
        if (this.takeAll("?=") || this.takeAll("?!")) {
            const negative = this.characters[this.at - 1] === "!";
            const part = this.alternatives();
            this.take(")");
            return { kind: "ahead", part, negative };
        }
        if (this.takeAll("?<=") || this.takeAll("?<!")) throw new PatternError("looks behind");
        if (this.takeAll("?<")) while (this.next() !== ">");
        else if (this.take("?") && !this.take(":")) throw new PatternError("has flags in a group");
        const body = this.alternatives();
        this.take(")");
        return body;
    }

    private quantified(part: Expression): Expression {
        const counts = this.counts();
        if (counts === undefined) return part;
        // a lazy quantifier matches the same texts
        this.take("?");
        return repeat(part, ...counts);
    }

    private counts(): [min: number, max?: number] | undefined {
        if (this.take("*")) return [0];
        if (this.take("+")) return [1];
        if (this.take("?")) return [0, 1];
        if (!this.take("{")) return undefined;
        let written = "";
        for (let character = this.next(); character !== "}"; character = this.next()) written += character;
        const [min, max] = written.split(",");
        if (max === undefined) return [Number(min), Number(min)];
        return max === "" ? [Number(min)] : [Number(min), Number(max)];
    }

    private class(): CharSet {
        const negated = this.take("^");
        const parts: CharSet[] = [];
        while (!this.take("]")) {
            const first = this.classAtom();
            if (this.peek() === "-" && this.characters[this.at + 1] !== "]") {
                this.at++;
                parts.push(charSet([first[0]![0], this.classAtom()[0]![0]]));
            } else parts.push(first);
        }
        const all = union(...parts);
        return negated ? complement(all) : all;
    }

    private classAtom(): CharSet {
        const character = this.next();
        if (character !== "\\") return charsOf(character);
        return this.take("b") ? charsOf("\b") : this.escape();
    }

    private escape(): CharSet {
        const letter = this.next();
        if (letter in classes) return classes[letter]!;
        if (letter in controls) return charsOf(controls[letter]!);
        switch (letter) {
            case "x":
                return code(this.hex(2));
            case "u":
                return code(this.unicode());
            case "c":
                return code(this.next().codePointAt(0)! % 32);
            case "p":
            case "P":
                return this.property(letter === "P");
        }
        if (letter === "b" || letter === "B") throw new PatternError("has a word boundary");
        if (/[1-9k]/.test(letter)) throw new PatternError("refers back to a group");
        return charsOf(letter);
    }

    private unicode(): number {
        if (this.take("{")) {
            let written = "";
            for (let digit = this.next(); digit !== "}"; digit = this.next()) written += digit;
            return Number.parseInt(written, 16);
        }
        const unit = this.hex(4);
        const isPair = unit >= 0xd800 && unit < 0xdc00 && this.takeAll("\\u");
        return isPair ? 0x10000 + (unit - 0xd800) * 0x400 + this.hex(4) - 0xdc00 : unit;
    }

    private property(negated: boolean): CharSet {
        this.take("{");
        let name = "";
        for (let character = this.next(); character !== "}"; character = this.next()) name += character;
        if (!this.properties.has(name)) spend(propertySteps);
        this.properties.add(name);
        const all = propertyOf(name);
        return negated ? complement(all) : all;
    }

    private hex(count: number): number {
        const written = this.characters.slice(this.at, this.at + count).join("");
        this.at += count;
        return Number.parseInt(written, 16);
    }

    private peek(): string | undefined {
        return this.characters[this.at];
    }

    private next(): string {
        const character = this.characters[this.at++];
        if (character === undefined) throw new PatternError("ends early");
        return character;
    }

    private take(character: string): boolean {
        if (this.peek() !== character) return false;
        this.at++;
        return true;
    }

    private takeAll(text: string): boolean {
        if (![...text].every((character, i) => this.characters[this.at + i] === character)) return false;
        this.at += text.length;
        return true;
    }
}

function code(point: number): CharSet {
    return charSet([point, point]);
}

const properties = new Map<string, CharSet>();
let planes: readonly Plane[] | undefined;

/** The characters with a Unicode property, by JavaScript's own tables. */
function propertyOf(name: string): CharSet {
    const known = properties.get(name);
    if (known !== undefined) return known;
    planes ??= listPlanes();
    const ranges: [number, number][] = [];
    const runs = new RegExp(`\\p{${name}}+`, "gu");
    for (const { text, last } of planes)
        for (const [run] of text.matchAll(runs)) {
            const end = run.length - 1;
            const pair = end === 0 ? 0 : run.codePointAt(end - 1)!;
            const to = pair > 0xffff ? pair : run.charCodeAt(end);
            ranges.push([run.codePointAt(0)!, last ?? to]);
        }
    const found = charSet(...ranges);
    properties.set(name, found);
    return found;
}

/** Text of a plane's characters. With `last`, its one character stands for all up to that one. */
type Plane = { readonly text: string; readonly last?: number };

/** Planes with different characters. The others are unassigned or for private use, except their last two. */
const mixedPlanes = [0, 1, 2, 3, 14];

function listPlanes(): Plane[] {
    return Array.from({ length: (maxCodePoint + 1) / 0x10000 }, (_, plane) => {
        const first = plane * 0x10000;
        const end = first + 0xfffe;
        const ends = [{ text: String.fromCodePoint(end, end + 1) }];
        if (!mixedPlanes.includes(plane)) return [{ text: String.fromCodePoint(first), last: end - 1 }, ...ends];
        const points = Array.from({ length: 0xfffe }, (_, i) => first + i);
        // half of a pair is a character of its own if the other half does not follow
        const high = points.filter((point) => point >= 0xd800 && point < 0xdc00);
        const others = points.filter((point) => point < 0xd800 || point >= 0xdc00);
        return [
            ...[others, high].map((some) => ({ text: some.map((point) => String.fromCodePoint(point)).join("") })),
            ...ends
        ];
    }).flat();
}
