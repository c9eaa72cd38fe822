import type { ArmtSequence, LlamaModel, Token } from "../../../plugin/index.js";
import { beginTokens } from "../../../plugin/memory/feed.js";
import { pieceTokenizerOf, type TokenizedPiece } from "../../../plugin/memory/PieceTokenizer.js";
import type { ReadCheckpoint } from "./ReadCheckpoint.js";

/** A text and what reads it. */
export interface Reading {
    readonly model: LlamaModel;
    readonly armt: ArmtSequence;
    readonly checkpoint: ReadCheckpoint;
    /** The part of the text that was not read yet. */
    readonly rest: AsyncIterable<string>;
}

export interface ReadTextOptions {
    /** Reading that an interruption may cost. Unit: seconds. */
    checkpointInterval: number;
    signal: AbortSignal;
    onProgress: () => void;
}

/**
 * Reads the rest of a text. It saves a checkpoint at regular intervals and when the signal is aborted.
 * @throws the signal's reason
 */
export async function readText(
    { model, armt, checkpoint, rest }: Reading,
    { checkpointInterval, signal, onProgress }: ReadTextOptions
): Promise<void> {
    const tokenizer = pieceTokenizerOf(model, { context: checkpoint.lastCharacter });
    let saved = performance.now();
    const readPiece = async ({ ids, text }: TokenizedPiece) => {
        const tokens: Token[] = armt.tokens === 0 ? [...beginTokens(model, ids), ...ids] : ids;
        await armt.feed([tokens]);
        checkpoint.add(text);
        onProgress();
        signal.throwIfAborted();
        if (performance.now() - saved < 1000 * checkpointInterval) return;
        await checkpoint.save(armt);
        saved = performance.now();
    };
    try {
        for await (const text of rest) for (const piece of tokenizer.push(text)) await readPiece(piece);
        await readPiece(tokenizer.end());
    } catch (error) {
        if (signal.aborted && armt.tokens > 0) await checkpoint.save(armt);
        throw error;
    }
}
