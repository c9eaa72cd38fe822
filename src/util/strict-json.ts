import { ArmtError } from "./errors.js";

/** A JSON object as a map: no key has a special meaning, not even `__proto__`. */
export type JsonObject = Map<string, JsonValue>;
export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;

/** Nesting beyond this is refused; model files and their indexes need 4. */
const MAX_DEPTH = 64;

export type StrictJsonOptions = {
    /** Accept `NaN`, `Infinity` and `-Infinity`, which Python's `json` module writes. Default: `false`. */
    nonFinite?: boolean;
};

/**
 * Parses JSON as `JSON.parse` does, but refuses duplicate keys (two parsers may pick different ones) and deep nesting.
 * @throws {ArmtError} whose message gives the offset. Unit: UTF-16 code units.
 */
export function parseStrictJson(text: string, { nonFinite = false }: StrictJsonOptions = {}): JsonValue {
    const parser = new Parser(text, nonFinite);
    const value = parser.value(0);
    parser.end();
    return value;
}

/** The same for an object at the top. */
export function parseStrictJsonObject(text: string, options?: StrictJsonOptions): JsonObject {
    const value = parseStrictJson(text, options);
    if (!(value instanceof Map)) throw new ArmtError("not a JSON object");
    return value;
}

/** Decodes UTF-8 and refuses bytes that aren't. */
export function decodeUtf8(bytes: Uint8Array): string {
    try {
        return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
        throw new ArmtError("not valid UTF-8");
    }
}

const whitespace = /[ \t\n\r]*/y;
const scalar = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const nonFiniteNumber = /NaN|-?Infinity/y;

class Parser {
    private offset = 0;

    constructor(
        private readonly text: string,
        private readonly nonFinite: boolean
    ) {}

    value(depth: number): JsonValue {
        if (depth > MAX_DEPTH) throw this.error("nested too deeply");
        this.skip();
        const first = this.text[this.offset];
        if (first === "{") return this.object(depth);
        if (first === "[") return this.array(depth);
        if (first === '"') return this.string();
        const number = this.nonFinite ? this.match(nonFiniteNumber) : undefined;
        if (number !== undefined) return Number(number);
        const token = this.match(scalar);
        if (token === undefined) throw this.error("unexpected character");
        return JSON.parse(token) as null | boolean | number;
    }

    end(): void {
        this.skip();
        if (this.offset !== this.text.length) throw this.error("text after the end");
    }

    private object(depth: number): JsonObject {
        const result: JsonObject = new Map();
        this.offset++;
        if (this.take("}")) return result;
        do {
            this.skip();
            const key = this.string();
            if (result.has(key)) throw this.error("duplicate key before here");
            if (!this.take(":")) throw this.error("`:` expected");
            result.set(key, this.value(depth + 1));
        } while (this.take(","));
        if (!this.take("}")) throw this.error("`}` expected");
        return result;
    }

    private array(depth: number): JsonValue[] {
        const result: JsonValue[] = [];
        this.offset++;
        if (this.take("]")) return result;
        do result.push(this.value(depth + 1));
        while (this.take(","));
        if (!this.take("]")) throw this.error("`]` expected");
        return result;
    }

    private string(): string {
        const start = this.offset;
        if (this.text[start] !== '"') throw this.error("string expected");
        do this.offset = this.text.indexOf('"', this.offset + 1);
        while (this.offset > 0 && this.isEscaped(start));
        if (this.offset < 0) this.offset = this.text.length;
        this.offset++;
        try {
            return JSON.parse(this.text.slice(start, this.offset)) as string;
        } catch {
            this.offset = start;
            throw this.error("bad string");
        }
    }

    private isEscaped(start: number): boolean {
        let backslashes = 0;
        while (this.offset - backslashes - 1 > start && this.text[this.offset - backslashes - 1] === "\\")
            backslashes++;
        return backslashes % 2 === 1;
    }

    private take(character: string): boolean {
        this.skip();
        if (this.text[this.offset] !== character) return false;
        this.offset++;
        return true;
    }

    private skip(): void {
        this.match(whitespace);
    }

    private match(pattern: RegExp): string | undefined {
        pattern.lastIndex = this.offset;
        const found = pattern.exec(this.text);
        if (found === null) return undefined;
        this.offset = pattern.lastIndex;
        return found[0];
    }

    private error(what: string): ArmtError {
        return new ArmtError(`bad JSON at ${this.offset}: ${what}`);
    }
}
