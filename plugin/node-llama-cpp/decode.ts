import type { LlamaContext, LlamaContextSequence } from "node-llama-cpp";
import { contextInternals, type DecodeTokens, sequenceInternals } from "./internals.js";

export type { Decoded, DecodeRequest, DecodeTokens, LogitMapper } from "./internals.js";

/** Number of a sequence in its context. */
export function sequenceIdOf(sequence: LlamaContextSequence): number {
    return sequenceInternals(sequence)._sequenceId;
}

/** The method that all evaluations of a context pass, as it is now. */
export function decodeOf(context: LlamaContext): DecodeTokens {
    return contextInternals(context)._decodeTokens.bind(context);
}

/** Replaces the method that all evaluations of a context pass. May be called more than once. */
export function replaceDecode(context: LlamaContext, decode: DecodeTokens): void {
    Object.defineProperty(context, "_decodeTokens", { configurable: true, value: decode });
}

/** Rejects the evaluations of a sequence that wait for a batch, or for the rest of their batches. */
export function rejectQueuedDecodes(sequence: LlamaContextSequence, reason: unknown): void {
    const internals = contextInternals(sequence.context);
    const id = sequenceIdOf(sequence);
    const queued = internals._queuedDecodes.filter(({ sequenceId }) => sequenceId === id);
    if (queued.length > 0) internals._dispatchErrorForQueuedDecodesAndDequeue(new Set(queued), reason);
}
