import { type LlamaModel, LlamaVocabularyType, type Token } from "node-llama-cpp";
import { ArmtError } from "../errors.js";

/** A piece of text and its tokens. */
export interface TokenizedPiece {
    readonly ids: Token[];
    readonly text: string;
}

export interface PieceTokenizerOptions {
    /** Least amount of text to tokenize at once. Unit: UTF-16 code units. Default: 16384. */
    pieceLength?: number;
    /** Text that has to follow a cut before it is made. Unit: UTF-16 code units. Default: 1024. */
    guard?: number;
    /** Longest text without a place to cut. Unit: UTF-16 code units. Default: 64 Mi. */
    maxLength?: number;
    /** The character before the text, if the text continues another. Default: none. */
    context?: string;
}

/** A long text has no place at which it can be cut into pieces. */
export class UncutTextError extends ArmtError {
    override name = "UncutTextError";
}

/** Candidates to try for each rule. */
const maxTries = 16;

/**
 * Tokenizes a text of any length piece by piece, with the ids that the whole text would have. A cut is made if the
 * tokens of the text after it, tokenized with one character before it, are also the last tokens of all text so far:
 * then nothing before the cut affects the tokens after it. Text after the cut affects tokens before it only over the
 * length of a word, and `guard` is far longer. Each cut is tested in this way, so nothing is assumed about the kind of
 * tokenizer.
 */
export class PieceTokenizer {
    private readonly pieceLength: number;
    private readonly guard: number;
    private readonly maxLength: number;
    /** The character before the remaining text: the same text may get other tokens at the start of a text. */
    private context: string;
    private text = "";
    private wanted: number;

    constructor(
        private readonly tokenize: (text: string) => readonly Token[],
        { context = "", pieceLength = 2 ** 14, guard = 1024, maxLength = 2 ** 26 }: PieceTokenizerOptions = {}
    ) {
        this.context = context;
        this.pieceLength = pieceLength;
        this.guard = guard;
        this.maxLength = maxLength;
        this.wanted = pieceLength;
    }

    /**
     * Adds text, and returns the pieces whose tokens can no longer change.
     * @throws {UncutTextError} for a very long text without a place to cut
     */
    push(text: string): TokenizedPiece[] {
        const pieces: TokenizedPiece[] = [];
        for (const piece of this.steps(text)) if (piece !== undefined) pieces.push(piece);
        return pieces;
    }

    /**
     * The same, step by step, for callers that share their thread: each step tokenizes one stretch of text, and may
     * complete a piece.
     */
    *steps(text: string): Generator<TokenizedPiece | undefined, void> {
        // step by step, so that one long string costs no more than many short ones
        for (let start = 0; start < text.length; start += this.pieceLength) {
            this.text += text.slice(start, start + this.pieceLength);
            if (this.text.length < this.wanted) continue;
            const piece = yield* this.cut();
            if (piece !== undefined) yield piece;
            // doubled, so that a text without a place to cut is not tokenized again and again
            this.wanted = piece === undefined ? 2 * this.text.length : this.text.length + this.pieceLength;
            if (this.text.length > this.maxLength)
                throw new UncutTextError(
                    `the text cannot be cut into pieces within ${this.text.length} characters; check that it is text`
                );
        }
    }

    /** Returns the last piece, and starts over. */
    end(): TokenizedPiece {
        const piece = { ids: this.tokenizeAfter(this.context, this.text) ?? this.fail(), text: this.text };
        this.text = "";
        this.context = "";
        this.wanted = this.pieceLength;
        return piece;
    }

    private *cut(): Generator<undefined, TokenizedPiece | undefined> {
        const all = this.tokenizeAfter(this.context, this.text) ?? this.fail();
        for (const at of this.cutCandidates()) {
            yield;
            const context = characterBefore(this.text, at);
            const rest = this.tokenizeAfter(context, this.text.slice(at));
            if (rest === undefined || !endsWith(all, rest)) continue;
            const ids = all.slice(0, all.length - rest.length);
            if (!(yield* this.isSettled(at, ids))) continue;
            const piece = { ids, text: this.text.slice(0, at) };
            this.context = context;
            this.text = this.text.slice(at);
            return piece;
        }
        return undefined;
    }

    /**
     * Whether the tokens before a cut stay the same however the text continues, judged by cutting off its end. For
     * tokenizers that weigh a whole word, they do not stay the same within a long run of one character.
     */
    private *isSettled(at: number, ids: readonly Token[]): Generator<undefined, boolean> {
        // between words, they do
        if (isSpace(this.text[at - 1]!) || isSpace(this.text[at]!)) return true;
        for (const cut of [1, 2, 3, 5]) {
            yield;
            const shorter = this.tokenizeAfter(this.context, this.text.slice(0, -cut));
            const rest = this.tokenizeAfter(characterBefore(this.text, at), this.text.slice(at, -cut));
            if (shorter === undefined || rest === undefined || !startsWith(shorter, ids)) return false;
        }
        return true;
    }

    /** Offsets at which to try a cut: the best rule first, and the last offset of each rule first. */
    private *cutCandidates(): Generator<number> {
        const { text } = this;
        const end = text.length - this.guard;
        for (const allowsCut of cutRules) {
            let tries = 0;
            for (let at = end; at > end / 2 && tries < maxTries; at--) {
                if (!allowsCut(text[at - 1]!, text[at]!)) continue;
                tries++;
                yield at;
            }
        }
    }

    /** @returns undefined if the text changes the tokens of its context, so that the two cannot be separated */
    private tokenizeAfter(context: string, text: string): Token[] | undefined {
        const before = context === "" ? [] : this.tokenize(context);
        const tokens = this.tokenize(context + text);
        if (before.some((token, i) => tokens[i] !== token)) return undefined;
        return tokens.slice(before.length);
    }

    private fail(): never {
        throw new ArmtError(
            "this model's tokenizer changes the tokens at the start of a text when more text follows; " +
                "pass token ids instead of text"
        );
    }
}

/**
 * Creates a piece tokenizer for a model.
 * @throws {ArmtError} for a model without a tokenizer
 */
export function pieceTokenizerOf(model: LlamaModel, options?: PieceTokenizerOptions): PieceTokenizer {
    if (model.vocabularyType === LlamaVocabularyType.none)
        throw new ArmtError("this model has no tokenizer; pass token ids instead of text");
    return new PieceTokenizer((text) => model.tokenize(text), options);
}

const isSpace = (character: string) => /\s/.test(character);

/** Rules by which a text may be cut between two characters, the best first. */
const cutRules: readonly ((left: string, right: string) => boolean)[] = [
    // at the start of a line, unless it is indented
    (left, right) => left === "\n" && !isSpace(right),
    // before a space: most vocabularies join it with the word after it
    (left, right) => right === " " && !isSpace(left),
    // any other border of white space
    (left, right) => isSpace(left) !== isSpace(right),
    (left, right) =>
        /[^\p{L}\p{N}\p{M}]/u.test(left) && /[\p{L}\p{N}]/u.test(right) && !isSurrogate(left) && !isSurrogate(right),
    (_left, right) => !/[\udc00-\udfff\p{M}]/u.test(right)
];

function isSurrogate(character: string): boolean {
    return /[\ud800-\udfff]/.test(character);
}

/** The character before an offset; both halves of a surrogate pair. */
export function characterBefore(text: string, at: number): string {
    const isPair = at >= 2 && /^[\ud800-\udbff][\udc00-\udfff]$/.test(text.slice(at - 2, at));
    return text.slice(at - (isPair ? 2 : 1), at);
}

function startsWith(all: readonly Token[], start: readonly Token[]): boolean {
    return start.every((token, i) => all[i] === token);
}

function endsWith(all: readonly Token[], end: readonly Token[]): boolean {
    const start = all.length - end.length;
    return start >= 0 && end.every((token, i) => all[start + i] === token);
}
