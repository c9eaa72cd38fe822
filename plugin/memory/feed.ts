import type { LlamaContextSequence, Token } from "node-llama-cpp";
import { ArmtError } from "../errors.js";

/** Text, or the ids of tokens, piece after piece. */
export type ArmtFeedSource = AsyncIterable<string | readonly Token[]> | Iterable<string | readonly Token[]>;

/** How far a feed has come. */
export interface ArmtFeedProgress {
    /** Tokens that this feed has read. */
    readonly tokens: number;
    /** UTF-16 code units of text whose tokens were read. */
    readonly characters: number;
}

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

/** What the reading of a source needs of a sequence. */
export interface FeedTarget {
    readonly sequence: LlamaContextSequence;
    read(tokens: readonly Token[]): Promise<void>;
}

/**
 * Reads a source to its end.
 * @throws {ArmtError} for a text where the model has no tokenizer
 */
export async function feed(
    target: FeedTarget,
    source: ArmtFeedSource,
    { signal, onProgress }: Pick<ArmtFeedOptions, "signal" | "onProgress">
): Promise<ArmtFeedProgress> {
    let [tokens, characters] = [0, 0];
    for await (const { ids, length } of tokenizeSource(target.sequence, source)) {
        for (let start = 0; start < ids.length; start += feedTokens) {
            signal?.throwIfAborted();
            const piece = ids.slice(start, start + feedTokens);
            await target.read(piece);
            tokens += piece.length;
            if (start + feedTokens >= ids.length) characters += length;
            onProgress?.({ tokens, characters });
        }
    }
    return { tokens, characters };
}

async function* tokenizeSource(
    sequence: LlamaContextSequence,
    source: ArmtFeedSource
): AsyncGenerator<{ ids: readonly Token[]; length: number }> {
    let text = "";
    for await (const piece of source) {
        if (typeof piece === "string") text += piece;
        else {
            if (text !== "") yield { ids: sequence.model.tokenize(text), length: text.length };
            text = "";
            yield { ids: piece, length: 0 };
        }
    }
    if (text !== "") yield { ids: sequence.model.tokenize(text), length: text.length };
}

/** @throws {RangeError | TypeError} for a number that is none */
export function checkKeepTokens(value: number): void {
    if (!(value >= 0)) throw new RangeError(`\`keepTokens\` has to be a number of at least 0, got ${value}`);
}

/** @throws {ArmtError} where a context has no room for so many tokens */
export function checkRoom(sequence: LlamaContextSequence, held: number, count: number): void {
    // node-llama-cpp begins to shift at this point, which an ARMT model cannot
    const room = sequence.contextSize - 1 - held;
    if (count > room)
        throw new ArmtError(
            `the context holds ${sequence.contextSize} tokens and ${held + count} are wanted; make it with a larger \`contextSize\``
        );
}
