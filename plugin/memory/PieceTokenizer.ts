import { type LlamaModel, LlamaVocabularyType, type Token } from "node-llama-cpp";
import { ArmtError } from "../errors.js";

/** A piece of text and its tokens. */
export interface TokenizedPiece {
    readonly ids: Token[];
    readonly text: string;
}

export interface PieceTokenizerOptions {
    /** Text that is tokenized at once, at least. Unit: UTF-16 code units. Default: 16384. */
    pieceLength?: number;
    /** Text after a cut that has to be there before it is made. Unit: UTF-16 code units. Default: 1024. */
    guard?: number;
    /** Text without a place to cut that is still held. Unit: UTF-16 code units. Default: 64 Mi. */
    maxLength?: number;
    /** The character before the text, where it is a part of one. Default: none. */
    context?: string;
}

/** Places to cut that are tried of each kind. */
const maxTries = 16;

/**
 * Tokenizes a text of any length as it comes, with the ids that the whole would have. A cut is made where the tokens of the text from there on, with one character
 * before it, are the last tokens of all the text that is there: then nothing to the left of the cut has a say in what is to the right. What is to the right
 * has one in what is to the left only over the length of a word, which `guard` is far beyond. Whatever the kind of tokenizer, this is tried rather than known.
 */
export class PieceTokenizer {
    private readonly pieceLength: number;
    private readonly guard: number;
    private readonly maxLength: number;
    /** The character before the text that is left: what stands at a text's start may get other tokens. */
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
     * Takes in text and gives what is sure by now.
     * @throws {ArmtError} where there is no place to cut in a very long text
     */
    push(text: string): TokenizedPiece[] {
        const pieces: TokenizedPiece[] = [];
        // in steps, so that one long string costs no more than many short ones
        for (let start = 0; start < text.length; start += this.pieceLength) {
            this.text += text.slice(start, start + this.pieceLength);
            if (this.text.length < this.wanted) continue;
            const piece = this.cut();
            if (piece !== undefined) pieces.push(piece);
            // twice as much, so that a text without a place to cut is not tokenized over and over
            this.wanted = piece === undefined ? 2 * this.text.length : this.text.length + this.pieceLength;
            if (this.text.length > this.maxLength)
                throw new ArmtError(
                    `the text has no place to cut it within ${this.text.length} characters; is it text at all?`
                );
        }
        return pieces;
    }

    /** Gives the rest, and starts anew. */
    end(): TokenizedPiece {
        const piece = { ids: this.tokenizeAfter(this.context, this.text) ?? this.fail(), text: this.text };
        this.text = "";
        this.context = "";
        this.wanted = this.pieceLength;
        return piece;
    }

    private cut(): TokenizedPiece | undefined {
        const all = this.tokenizeAfter(this.context, this.text) ?? this.fail();
        for (const at of this.placesToCut()) {
            const context = characterBefore(this.text, at);
            const rest = this.tokenizeAfter(context, this.text.slice(at));
            if (rest === undefined || !endsWith(all, rest)) continue;
            const ids = all.slice(0, all.length - rest.length);
            if (!this.isSettled(at, ids)) continue;
            const piece = { ids, text: this.text.slice(0, at) };
            this.context = context;
            this.text = this.text.slice(at);
            return piece;
        }
        return undefined;
    }

    /**
     * Whether the tokens before a cut stay the same however the text goes on, as far as other ends of it tell. They don't within a long run of one character, for
     * tokenizers that weigh a whole word.
     */
    private isSettled(at: number, ids: readonly Token[]): boolean {
        // between words they do
        if (isSpace(this.text[at - 1]!) || isSpace(this.text[at]!)) return true;
        return [1, 2, 3, 5].every((cut) => {
            const shorter = this.tokenizeAfter(this.context, this.text.slice(0, -cut));
            const rest = this.tokenizeAfter(characterBefore(this.text, at), this.text.slice(at, -cut));
            return shorter !== undefined && rest !== undefined && startsWith(shorter, ids);
        });
    }

    /** From the best kind of place to the worst, the last of each kind first. */
    private *placesToCut(): Generator<number> {
        const { text } = this;
        const end = text.length - this.guard;
        for (const isPlace of kindsOfPlaces) {
            let tries = 0;
            for (let at = end; at > end / 2 && tries < maxTries; at--) {
                if (!isPlace(text[at - 1]!, text[at]!)) continue;
                tries++;
                yield at;
            }
        }
    }

    /** @returns undefined where the text has a say in the context's tokens, so that the two cannot be told apart */
    private tokenizeAfter(context: string, text: string): Token[] | undefined {
        const before = context === "" ? [] : this.tokenize(context);
        const tokens = this.tokenize(context + text);
        if (before.some((token, i) => tokens[i] !== token)) return undefined;
        return tokens.slice(before.length);
    }

    private fail(): never {
        throw new ArmtError(
            "this model's tokenizer gives other tokens to a text's start when more text follows; hand in token ids instead"
        );
    }
}

/**
 * A tokenizer of pieces for a model.
 * @throws {ArmtError} for a model without a tokenizer
 */
export function pieceTokenizerOf(model: LlamaModel, options?: PieceTokenizerOptions): PieceTokenizer {
    if (model.vocabularyType === LlamaVocabularyType.none)
        throw new ArmtError("this model has no tokenizer; hand in token ids instead of text");
    return new PieceTokenizer((text) => model.tokenize(text), options);
}

const isSpace = (character: string) => /\s/.test(character);

/** Whether the text may be cut between two characters. */
const kindsOfPlaces: readonly ((left: string, right: string) => boolean)[] = [
    // a line that begins with a letter
    (left, right) => left === "\n" && !isSpace(right),
    // a word, which takes the space before it along in most vocabularies
    (left, right) => right === " " && !isSpace(left),
    // text without spaces
    (left, right) => isSpace(left) !== isSpace(right),
    (left, right) =>
        /[^\p{L}\p{N}\p{M}]/u.test(left) && /[\p{L}\p{N}]/u.test(right) && !isSurrogate(left) && !isSurrogate(right),
    (_left, right) => !/[\udc00-\udfff\p{M}]/u.test(right)
];

function isSurrogate(character: string): boolean {
    return /[\ud800-\udfff]/.test(character);
}

/** The character that ends before an offset, both halves of it. */
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
