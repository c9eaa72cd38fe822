import type { Token } from "../../plugin/index.js";
import { modelStopStrings } from "./stop-strings.js";
import { TokenBytes, type TokenSource } from "./TokenBytes.js";

/** A token and the text that it adds to the answer. */
export interface TokenText {
    readonly token: Token;
    /** Text that this token completes. The texts of all tokens, joined, are the answer. */
    readonly text: string;
    /** Bytes of the token, up to a stop string. The bytes of all tokens, joined, are those of the answer. */
    readonly bytes: Buffer;
}

/** The part of an answer that a token completes. */
export interface AnswerPiece {
    readonly text: string;
    readonly tokens: readonly TokenText[];
    /** Whether the last token ends within a character, whose text is still missing. Default: `false`. */
    readonly isOpen?: boolean;
    /** Set if the model wrote a stop string, which ends the answer and is not part of it. */
    readonly stopped?: Stopped;
}

export interface Stopped {
    readonly string: string;
    /** The token in which the stop string begins, and all tokens after it. */
    readonly tokens: readonly Token[];
    /** Bytes of the first of these tokens that precede the stop string. */
    readonly before: Buffer;
}

export interface AnswerTextOptions {
    /**
     * The first of these strings to appear ends the answer. The name of a special token matches that token. Default:
     * none.
     */
    stop?: readonly string[];
    /** Whether special tokens appear in the text under their names. Default: `false`. */
    special?: boolean;
    /**
     * Whether the model's own stop strings end the answer, too. Default: unless `special` is set, since a grammar
     * decides itself where an answer ends.
     */
    usesOwnStops?: boolean;
}

/**
 * A token that may be part of a stop string. `match` is searchable: it has one character per byte, or a single
 * character for a special token.
 */
type Held = { readonly token: Token; readonly shown: Buffer; readonly match: string };

/**
 * Turns the tokens of an answer into text, up to a stop string. It holds back text that may be the beginning of one.
 */
export class AnswerText {
    private readonly bytes: TokenBytes;
    private readonly decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    private readonly stops: readonly { readonly string: string; readonly match: string }[];
    private readonly special: boolean;
    /** Characters that stand for the special tokens of the stop strings. */
    private readonly letters = new Map<Token, string>();
    private held: Held[] = [];

    constructor(model: TokenSource, { stop = [], special = false, usesOwnStops = !special }: AnswerTextOptions = {}) {
        this.bytes = TokenBytes.of(model);
        this.special = special;
        const all = usesOwnStops ? [...stop, ...modelStopStrings(model)] : stop;
        this.stops = all.flatMap((string) => this.matchesOf(string).map((match) => ({ string, match })));
    }

    push(token: Token): AnswerPiece {
        this.held.push({ token, shown: this.bytes.get(token, this.special), match: this.matchOf(token) });
        const text = this.held.map(({ match }) => match).join("");
        let first: { at: number; string: string } | undefined;
        for (const { string, match } of this.stops) {
            const at = text.indexOf(match);
            if (at >= 0 && (first === undefined || at < first.at)) first = { at, string };
        }
        if (first !== undefined) return this.stopAt(first.at, first.string);
        const keep = Math.max(0, ...this.stops.map(({ match }) => overlap(text, match)));
        const piece = pieceOf(this.release(text.length - keep));
        const last = piece.tokens.at(-1);
        return last !== undefined && endsWithin(last.bytes) ? { ...piece, isOpen: true } : piece;
    }

    /** @returns the remaining text, because no token follows */
    end(): AnswerPiece {
        return this.finish(this.release(Number.POSITIVE_INFINITY));
    }

    /** The stop string as text and, if it names special tokens, as those tokens. */
    private matchesOf(string: string): string[] {
        const text = toLetters(string);
        const names = [...this.bytes.specialTokens.keys()].filter((name) => string.includes(name));
        if (names.length === 0) return [text];
        names.sort((a, b) => b.length - a.length);
        let match = text;
        for (const name of names) {
            const token = this.bytes.specialTokens.get(name)!;
            const letter = this.letters.get(token) ?? String.fromCharCode(0x100 + this.letters.size);
            this.letters.set(token, letter);
            match = match.replaceAll(toLetters(name), letter);
        }
        return [text, match];
    }

    private matchOf(token: Token): string {
        if (!this.bytes.isSpecial(token) || this.special) return this.bytes.get(token, true).toString("latin1");
        return this.letters.get(token) ?? "";
    }

    /** Releases the tokens that end within the first `length` held characters. */
    private release(length: number): TokenText[] {
        const shown: TokenText[] = [];
        let end = 0;
        while (this.held.length > 0 && end + this.held[0]!.match.length <= length) {
            const held = this.held.shift()!;
            end += held.match.length;
            shown.push(this.show(held.token, held.shown));
        }
        return shown;
    }

    private stopAt(at: number, string: string): AnswerPiece {
        const lengths = this.held.map(({ match }) => match.length);
        const shown = this.release(at);
        const released = lengths.slice(0, shown.length).reduce((sum, length) => sum + length, 0);
        const rest = this.held;
        this.held = [];
        const [first] = rest;
        const before = first === undefined ? Buffer.alloc(0) : first.shown.subarray(0, at - released);
        if (first !== undefined && before.length > 0) shown.push(this.show(first.token, before));
        return { ...this.finish(shown), stopped: { string, tokens: rest.map(({ token }) => token), before } };
    }

    private show(token: Token, bytes: Buffer): TokenText {
        return { token, bytes, text: this.decoder.decode(bytes, { stream: true }) };
    }

    /** Turns an unfinished character into U+FFFD and adds it to the last token's text. */
    private finish(shown: readonly TokenText[]): AnswerPiece {
        const rest = this.decoder.decode();
        const { text, tokens } = pieceOf(shown);
        const last = tokens.at(-1);
        if (rest === "" || last === undefined) return { text: text + rest, tokens };
        return { text: text + rest, tokens: [...tokens.slice(0, -1), { ...last, text: last.text + rest }] };
    }
}

function pieceOf(tokens: readonly TokenText[]): AnswerPiece {
    return { text: tokens.map(({ text }) => text).join(""), tokens };
}

/** Whether bytes end with a part of a character that begins in them. */
function endsWithin(bytes: Buffer): boolean {
    for (let length = 1; length <= Math.min(3, bytes.length); length++) {
        const byte = bytes[bytes.length - length]!;
        if (byte >= 0xc0) return length < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2);
        if (byte < 0x80) return false;
    }
    return false;
}

function toLetters(text: string): string {
    return Buffer.from(text).toString("latin1");
}

/** Length of the longest suffix of `text` that is a prefix of `string` but not the whole string. */
function overlap(text: string, string: string): number {
    for (let length = Math.min(text.length, string.length - 1); length > 0; length--)
        if (text.endsWith(string.slice(0, length))) return length;
    return 0;
}
