import { Work } from "./Work.js";

/**
 * Part of a grammar in llama.cpp's GBNF: text that can be an item of a sequence without brackets around it.
 * Source: `grammars/README.md` of llama.cpp.
 */
export type Part = string & { readonly __part: unique symbol };

export const empty = "" as Part;

/** Exactly this text. */
export function literal(text: string): Part {
    if (text === "") return empty;
    const escaped = text.replace(/[\\"]/g, "\\$&").replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, toEscape);
    return `"${escaped}"` as Part;
}

/** One character of a class, such as `0-9`. */
export function oneOf(characters: string): Part {
    return `[${characters}]` as Part;
}

/** All parts, in this order. */
export function sequence(...parts: readonly Part[]): Part {
    return parts.filter((part) => part !== empty).join(" ") as Part;
}

/** One of the parts. */
export function choice(...parts: readonly Part[]): Part {
    const different = [...new Set(parts)];
    if (different.length === 1) return different[0]!;
    return `(${different.map((part) => (part === empty ? '""' : part)).join(" | ")})` as Part;
}

/** The part, repeated. */
export function repeat(part: Part, min: number, max?: number): Part {
    if (max === 0 || part === empty) return empty;
    if (min === 1 && max === 1) return part;
    const one = /^(?:[\w-]+|\[(?:[^\\\]]|\\.)*\])$/.test(part) ? part : `(${part})`;
    if (max === undefined) return `${one}${min === 0 ? "*" : min === 1 ? "+" : `{${min},}`}` as Part;
    return `${one}{${min},${max}}` as Part;
}

/** Size limit of all rules, in characters. llama.cpp parses a grammar of this size in about 50 ms. */
const maxSize = 100_000;

/** The grammar is too large. */
export class GrammarSizeError extends Error {
    override name = "GrammarSizeError";
}

/** {@link Rules} as plain data, for a message between threads. */
export interface RulesData {
    readonly bodies: ReadonlyMap<string, Part>;
    readonly names: ReadonlyMap<Part, Part>;
    readonly next: number;
    readonly size: number;
}

/** The rules of a grammar. Equal rules are stored once. */
export class Rules {
    private bodies = new Map<string, Part>();
    private names = new Map<Part, Part>();
    private next = 0;
    private size = 0;

    /** @param work steps that are left for making the rules */
    constructor(readonly work = new Work()) {}

    static from({ bodies, names, next, size }: RulesData): Rules {
        return Object.assign(new Rules(), { bodies: new Map(bodies), names: new Map(names), next, size });
    }

    get data(): RulesData {
        const { bodies, names, next, size } = this;
        return { bodies, names, next, size };
    }

    /**
     * Adds a rule and returns its name as a part.
     * @throws {GrammarSizeError}
     */
    add(body: Part): Part {
        if (/^[\w-]+$/.test(body)) return body;
        const known = this.names.get(body);
        if (known !== undefined) return known;
        const name = this.reserve();
        this.set(name, body);
        this.names.set(body, name);
        return name;
    }

    /** Reserves a name, for a rule that refers to itself. */
    reserve(): Part {
        return `r${this.next++}` as Part;
    }

    set(name: Part, body: Part): void {
        this.bodies.set(name, body);
        this.size += name.length + body.length;
        if (this.size > maxSize) throw new GrammarSizeError();
    }

    /** The grammar in GBNF. */
    print(root: Part): string {
        const rules = [...this.bodies].map(([name, body]) => `${name} ::= ${body === empty ? '""' : body}`);
        return [`root ::= ${root}`, ...rules, ""].join("\n");
    }
}

function toEscape(character: string): string {
    const code = character.codePointAt(0)!;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
}
