import type { LlamaContextSequence, LlamaModel, Token } from "node-llama-cpp";
import type { ArmtFeedProgress, ArmtFeedSource } from "../types.js";
import { type PieceTokenizer, pieceTokenizerOf, type TokenizedPiece } from "./PieceTokenizer.js";

type ArmtFeedPieces = AsyncGenerator<string | readonly Token[], void, void>;

/** Options of `sequence.armt.feed`. */
export interface ArmtFeedOptions {
    /**
     * Stops between graph evaluations; the feed then rejects with the signal's reason. What was read stays: the sequence goes on from `sequence.armt.tokens`.
     */
    signal?: AbortSignal;

    /** Called after each piece that was read. */
    onProgress?: (progress: ArmtFeedProgress) => void;

    /**
     * Tokens whose ids are kept, for chat sessions and snapshots (16 bytes each); beyond that, their number is all that is known of them, and the memory of
     * the process does not grow. Unit: tokens, from 0. Default: 4,194,304.
     */
    keepTokens?: number;
}

/** Default of `keepTokens`: 64 MiB of ids. */
export const defaultKeepTokens = 2 ** 22;

/** Tokens handed to the engine at once: rare enough to cost nothing, often enough for other sequences to have their turn. */
export const feedTokens = 2 ** 13;

/** A piece of a source, as tokens. */
export interface FeedPiece {
    readonly ids: readonly Token[];
    /** UTF-16 code units of text that they stand for; 0 where they came as ids, or where more tokens of the same text follow. */
    readonly characters: number;
}

/**
 * Turns a source into tokens, piece by piece, in pieces of at most {@link feedTokens}.
 * @param begins whether the text is the first that a sequence reads, so that the model may want its begin token in front
 * @throws {ArmtError} for a text where the model has no tokenizer
 */
export async function* tokenizeSource(
    model: LlamaModel,
    source: ArmtFeedSource,
    begins: boolean
): AsyncGenerator<FeedPiece, void, void> {
    let tokenizer: PieceTokenizer | undefined;
    let isFirst = begins;
    const split = function* (ids: readonly Token[], characters: number): Generator<FeedPiece> {
        // some text has no tokens
        if (ids.length === 0) yield { ids, characters };
        for (let start = 0; start < ids.length; start += feedTokens) {
            const isLast = start + feedTokens >= ids.length;
            yield { ids: ids.slice(start, start + feedTokens), characters: isLast ? characters : 0 };
        }
    };
    const ofText = function* ({ ids, text }: TokenizedPiece): Generator<FeedPiece> {
        const begin = isFirst ? beginTokens(model, ids) : [];
        isFirst = false;
        yield* split([...begin, ...ids], text.length);
    };
    for await (const piece of source) {
        if (typeof piece === "string") {
            tokenizer ??= pieceTokenizerOf(model);
            for (const tokens of tokenizer.push(piece)) yield* ofText(tokens);
            continue;
        }
        if (tokenizer !== undefined) yield* ofText(tokenizer.end());
        tokenizer = undefined;
        if (piece.length > 0) isFirst = false;
        yield* split(piece, 0);
    }
    if (tokenizer !== undefined) yield* ofText(tokenizer.end());
}

/** What a model wants in front of a text that tokenizes to `ids`. */
export function beginTokens({ tokens: { bos, shouldPrependBosToken } }: LlamaModel, ids: readonly Token[]): Token[] {
    return shouldPrependBosToken && bos !== null && ids[0] !== bos ? [bos] : [];
}

/**
 * Reads a source to its end.
 * @param read evaluates tokens in the sequence
 * @throws {ArmtError} for a text where the model has no tokenizer
 */
export async function feed(
    sequence: LlamaContextSequence,
    source: ArmtFeedSource,
    read: (tokens: readonly Token[]) => Promise<void>,
    { signal, onProgress }: Pick<ArmtFeedOptions, "signal" | "onProgress">
): Promise<ArmtFeedProgress> {
    let [tokens, characters] = [0, 0];
    const begins = sequence.nextTokenIndex === 0;
    for await (const piece of tokenizeSource(sequence.model, untilAborted(source, signal), begins)) {
        signal?.throwIfAborted();
        if (piece.ids.length > 0) await read(piece.ids);
        tokens += piece.ids.length;
        characters += piece.characters;
        report(onProgress, { tokens, characters });
    }
    return { tokens, characters };
}

/** A source that nothing comes from any more must not keep whoever has had enough of it. */
async function* untilAborted(source: ArmtFeedSource, signal: AbortSignal | undefined): ArmtFeedPieces {
    if (signal === undefined) return yield* source;
    let stop = () => {};
    const aborted = new Promise<never>((_, reject) => {
        stop = () => reject(signal.reason);
    });
    aborted.catch(() => {});
    signal.addEventListener("abort", stop);
    const iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
    let isDone = false;
    try {
        signal.throwIfAborted();
        for (;;) {
            const next = await Promise.race([iterator.next(), aborted]);
            isDone = next.done === true;
            if (next.done) return;
            yield next.value;
        }
    } finally {
        signal.removeEventListener("abort", stop);
        // not awaited: it may wait for the very piece that does not come
        if (!isDone) void Promise.resolve(iterator.return?.()).catch(() => {});
    }
}

function report(onProgress: ArmtFeedOptions["onProgress"], progress: ArmtFeedProgress): void {
    try {
        onProgress?.(progress);
    } catch (error) {
        // as with the other callbacks: a broken report must not end the evaluation
        console.error(error);
    }
}

/** @throws {RangeError | TypeError} for a number that is none */
export function checkKeepTokens(value: number): void {
    if (!(value >= 0)) throw new RangeError(`\`keepTokens\` has to be a number of at least 0, got ${value}`);
}
