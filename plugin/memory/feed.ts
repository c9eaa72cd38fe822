import type { LlamaContextSequence, LlamaModel, Token } from "node-llama-cpp";
import type { ArmtFeedProgress, ArmtFeedSource } from "../types.js";
import { type PieceTokenizer, pieceTokenizerOf, type TokenizedPiece } from "./PieceTokenizer.js";

type ArmtFeedPieces = AsyncGenerator<string | readonly Token[], void, void>;

/** Options of `sequence.armt.feed`. */
export interface ArmtFeedOptions {
    /**
     * Stops after the current batch. The feed then rejects with the signal's reason. What was read stays, and the
     * sequence continues from `sequence.armt.tokens`. Default: none.
     */
    signal?: AbortSignal;

    /** Called after each piece. If it throws, the error is printed and otherwise ignored. Default: none. */
    onProgress?: (progress: ArmtFeedProgress) => void;

    /**
     * Number of tokens whose ids are kept for chat sessions and snapshots, 16 bytes each. If the sequence holds more,
     * its ids are dropped and only their number is kept, so that the memory use of the process stops growing. Unit:
     * tokens, from 0. Default: 4,194,304. Throws `RangeError` outside the range.
     */
    keepTokens?: number;
}

/** Default of `keepTokens`, 64 MiB of ids. */
export const defaultKeepTokens = 2 ** 22;

/** Tokens in a piece: enough to make the cost of a piece negligible, few enough to let other sequences take turns. */
export const feedTokens = 2 ** 13;

/** A piece of a source after tokenizing. */
export interface FeedPiece {
    readonly ids: readonly Token[];
    /**
     * Length of their text; 0 if the source gave ids, and if more tokens of the same text follow. Unit: UTF-16 code
     * units.
     */
    readonly characters: number;
}

/**
 * Turns a source into tokens, in pieces of at most {@link feedTokens}.
 * @param begins whether this is the first text of a sequence, which some models want after a begin token
 * @throws {ArmtError} for text if the model has no tokenizer
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

/** The begin token, if the model wants one before a text and `ids` does not start with it. */
export function beginTokens({ tokens: { bos, shouldPrependBosToken } }: LlamaModel, ids: readonly Token[]): Token[] {
    return shouldPrependBosToken && bos !== null && ids[0] !== bos ? [bos] : [];
}

/**
 * Reads a source to its end.
 * @param read evaluates tokens in the sequence
 * @throws {ArmtError} for text if the model has no tokenizer
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

/** Ends a source at an abort, even if it never yields again. */
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
        // not awaited: the source may be waiting for data that never comes
        if (!isDone) void Promise.resolve(iterator.return?.()).catch(() => {});
    }
}

function report(onProgress: ArmtFeedOptions["onProgress"], progress: ArmtFeedProgress): void {
    try {
        onProgress?.(progress);
    } catch (error) {
        // as with node-llama-cpp's callbacks, a faulty one must not end the evaluation
        console.error(error);
    }
}

/** @throws {RangeError} for anything but a number from 0 */
export function checkKeepTokens(value: number): void {
    if (!(value >= 0)) throw new RangeError(`\`keepTokens\` must be a number of at least 0, got ${value}`);
}
