import type { LlamaContextSequence, Token } from "../../../plugin/index.js";
import { ArmtError } from "../../util/errors.js";

export interface ReadLossesOptions {
    /** The text that the tokens are part of. */
    ids: readonly Token[];
    /** Position in the text of the first token read. */
    start: number;
    /** Receives the loss of token t + 1 at index t. Unit: nats. */
    losses: Float64Array;
    signal?: AbortSignal;
    /** Called with the number of tokens of each piece. */
    onTokens?: (count: number) => void;
}

/**
 * Reads tokens and scores the next token of the text after each.
 * @throws {ArmtError} for a plain model
 */
export async function readLosses(
    sequence: LlamaContextSequence,
    tokens: readonly Token[],
    { ids, start, losses, signal, onTokens }: ReadLossesOptions
): Promise<void> {
    if (sequence.armt === undefined) throw new ArmtError("losses are measured on ARMT models; this is a plain model");
    let at = start;
    for await (const rows of sequence.armt.evaluateLogits(tokens)) {
        signal?.throwIfAborted();
        const vocab = rows.length / Math.min(tokens.length - (at - start), sequence.context.batchSize);
        for (let row = 0; row * vocab < rows.length; row++, at++) {
            const next = ids[at + 1];
            if (next !== undefined) losses[at] = lossOf(rows.subarray(row * vocab, (row + 1) * vocab), next);
        }
        onTokens?.(rows.length / vocab);
    }
}

/** Loss of a token: -ln of its softmax probability. Unit: nats. */
export function lossOf(logits: Float32Array, token: number): number {
    let largest = Number.NEGATIVE_INFINITY;
    for (const value of logits) if (value > largest) largest = value;
    let sum = 0;
    for (const value of logits) sum += Math.exp(value - largest);
    return Math.log(sum) + largest - logits[token]!;
}
