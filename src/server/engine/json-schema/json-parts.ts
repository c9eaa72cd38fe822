import { choice, empty, GrammarSizeError, literal, oneOf, type Part, type Rules, repeat, sequence } from "./gbnf.js";

/** Largest number of digits. JavaScript would parse a much longer number as infinity. */
const maxDigits = 40;

/** Repetitions that a grammar counts at once. */
export const maxRepetitions = 1000;

/** Longest name that other names are told apart from. */
const maxNameLength = 1000;

/** Characters that a JSON string may contain without an escape. Surrogates are not characters. */
const plain = " !#-\\[\\]-~\\u0080-\\uD7FF\\uE000-\\U0010FFFF";
/** All other characters. */
const notPlain = '\\x00-\\x1F"\\\\\\x7F\\uD800-\\uDFFF\\U00110000-\\U001FFFFF';

/** Rules for the parts of JSON. */
export class JsonParts {
    /** Space between two parts. There is at most one, since some models would otherwise write white space endlessly. */
    readonly space: Part;
    /** One character of a string. Escapes of surrogates are excluded, since two of them make one character. */
    readonly character: Part;
    readonly string: Part;
    readonly number: Part;
    readonly integer: Part;
    readonly boolean: Part = choice(literal("true"), literal("false"));
    readonly null: Part = literal("null");
    private anyValue: Part | undefined;

    constructor(private readonly rules: Rules) {
        const hex = oneOf("0-9a-fA-F");
        const unit = choice(
            sequence(oneOf("0-9abcefABCEF"), hex, hex, hex),
            sequence(oneOf("dD"), oneOf("0-7"), hex, hex)
        );
        const escaped = sequence(literal("\\"), choice(oneOf('"\\\\/bfnrt'), sequence(literal("u"), unit)));
        this.space = rules.add(repeat(literal(" "), 0, 1));
        this.character = rules.add(choice(oneOf(plain), escaped));
        this.string = rules.add(this.stringOf(0));
        const digits = choice(literal("0"), sequence(oneOf("1-9"), repeat(oneOf("0-9"), 0, maxDigits - 1)));
        this.integer = rules.add(sequence(repeat(literal("-"), 0, 1), digits));
        this.number = rules.add(
            sequence(
                this.integer,
                repeat(sequence(literal("."), repeat(oneOf("0-9"), 1, maxDigits)), 0, 1),
                repeat(sequence(oneOf("eE"), repeat(oneOf("+-"), 0, 1), repeat(oneOf("0-9"), 1, 2)), 0, 1)
            )
        );
    }

    /** Any JSON value. */
    get value(): Part {
        if (this.anyValue !== undefined) return this.anyValue;
        const value = this.rules.reserve();
        this.anyValue = value;
        const { string, number, boolean } = this;
        this.rules.set(
            value,
            choice(this.recordOf(this.string, value, 0), this.listOf([], value, 0), string, number, boolean, this.null)
        );
        return value;
    }

    /** @param minLength up to {@link maxRepetitions} */
    stringOf(minLength: number, maxLength?: number): Part {
        const quote = literal('"');
        if (maxLength === undefined || maxLength <= maxRepetitions)
            return sequence(quote, repeat(this.character, minLength, maxLength), quote);
        // lengths up to the limit, in blocks
        const last = maxRepetitions - 1;
        const blocks = Math.floor((maxLength - minLength - last) / maxRepetitions);
        const block = this.rules.add(repeat(this.character, maxRepetitions, maxRepetitions));
        const first = repeat(this.character, minLength, minLength);
        const rest = repeat(this.character, 0, Math.min(last, maxLength - minLength));
        return sequence(quote, first, repeat(block, 0, Math.max(0, blocks)), rest, quote);
    }

    /** An object whose members all have the same form. */
    recordOf(key: Part, value: Part, min: number, max?: number): Part {
        const { space } = this;
        const member = this.rules.add(sequence(key, space, literal(":"), space, value, space));
        return sequence(literal("{"), space, this.separated(member, min, max), literal("}"));
    }

    /**
     * An array.
     * @param first the first items; those beyond `min` may be missing
     * @param item the items after them; undefined if there are none
     */
    listOf(first: readonly Part[], item: Part | undefined, min: number, max?: number): Part {
        const { space } = this;
        const counted = first.slice(0, max);
        const most = item === undefined ? counted.length : max;
        if (counted.length === 0) {
            const items = item === undefined ? empty : this.separated(this.rules.add(sequence(item, space)), min, most);
            return sequence(literal("["), space, items, literal("]"));
        }
        const next = literal(",");
        let rest =
            item === undefined
                ? empty
                : repeat(
                      this.rules.add(sequence(next, space, item, space)),
                      Math.max(0, min - counted.length),
                      most === undefined ? undefined : most - counted.length
                  );
        for (let i = counted.length - 1; i >= 0; i--) {
            const here = this.rules.add(sequence(i === 0 ? empty : sequence(next, space), counted[i]!, space, rest));
            rest = i < min ? here : repeat(here, 0, 1);
        }
        return sequence(literal("["), space, rest, literal("]"));
    }

    /** All keys but the given ones. The keys contain no escapes, so that a name has one spelling only. */
    keyExcept(names: readonly string[]): Part {
        // other names need an escape, so they cannot occur
        const writable = names.filter((name) => /^[ !#-[\]-~\u0080-\ud7ff\ue000-\u{10ffff}]*$/u.test(name));
        return this.rules.add(
            sequence(
                literal('"'),
                this.restOfKey(
                    writable.map((name) => [...name]),
                    0
                )
            )
        );
    }

    /** @param names names that are equal in their first `depth` characters */
    private restOfKey(names: readonly (readonly string[])[], depth: number): Part {
        if (depth > maxNameLength) throw new GrammarSizeError();
        const quote = literal('"');
        const rest = sequence(repeat(oneOf(`^${notPlain}`), 0), quote);
        const next = new Map<string, (readonly string[])[]>();
        let isName = false;
        for (const name of names) {
            const character = name[depth];
            const alike = character === undefined ? undefined : next.get(character);
            if (character === undefined) isName = true;
            else if (alike === undefined) next.set(character, [name]);
            else alike.push(name);
        }
        const others = [...next.keys()].map(toClass).join("");
        return this.rules.add(
            choice(
                ...(isName ? [] : [quote]),
                sequence(oneOf(`^${notPlain}${others}`), rest),
                ...[...next].map(([character, more]) => sequence(literal(character), this.restOfKey(more, depth + 1)))
            )
        );
    }

    private separated(item: Part, min: number, max?: number): Part {
        if (max === 0) return empty;
        const more = repeat(
            this.rules.add(sequence(literal(","), this.space, item)),
            Math.max(0, min - 1),
            max === undefined ? undefined : max - 1
        );
        const items = sequence(item, more);
        return min === 0 ? repeat(items, 0, 1) : items;
    }
}

function toClass(character: string): string {
    return `\\U${character.codePointAt(0)!.toString(16).padStart(8, "0")}`;
}
