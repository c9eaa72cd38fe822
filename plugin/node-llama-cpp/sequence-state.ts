import type { LlamaContext, LlamaContextSequence } from "node-llama-cpp";
import { contextInternals, type NativeContext, sequenceInternals } from "./internals.js";
import { requestContext } from "./locks.js";

/** Wraps the native method behind `sequence.loadStateFromFile`. */
export function wrapStateLoading(
    context: LlamaContext,
    wrap: (load: NativeContext["loadSequenceStateFromFile"]) => NativeContext["loadSequenceStateFromFile"]
): void {
    const native = contextInternals(context)._ctx;
    const load = native.loadSequenceStateFromFile.bind(native);
    Object.defineProperty(native, "loadSequenceStateFromFile", { value: wrap(load) });
}

/** Empties a sequence of the native context. node-llama-cpp's list of its tokens does not change. */
export function clearNativeSequence(context: LlamaContext, sequenceId: number): void {
    contextInternals(context)._ctx.disposeSequence(sequenceId);
}

/** Removes the tokens from `start` on from a sequence of the native context. @returns whether that was possible */
export function truncateNativeSequence(context: LlamaContext, sequenceId: number, start: number, end: number): boolean {
    return contextInternals(context)._ctx.removeTokenCellsFromSequence(sequenceId, start, end);
}

/**
 * Delays the methods that change or copy a sequence's state and take only the context's lock, which is free between two
 * batches of a read.
 * @param before what they wait for
 */
export function delayStateChanges(sequence: LlamaContextSequence, before: () => Promise<void>): void {
    const internals = sequenceInternals(sequence);
    for (const name of ["_eraseContextTokenRanges", "takeCheckpoint", "_takeNamedCheckpoint"] as const) {
        const method = internals[name].bind(sequence);
        const delayed = async (...args: unknown[]) => {
            await before();
            requestContext(sequence.context);
            return await method(...args);
        };
        Object.defineProperty(internals, name, { value: delayed });
    }
}

/** Whether node-llama-cpp takes checkpoints of its own while the sequence reads. */
export function takesCheckpoints(sequence: LlamaContextSequence): boolean {
    return sequenceInternals(sequence)._checkpointOptions.interval !== false;
}

/** Replaces the method that makes room in a full context by removing the oldest tokens. */
export function replaceContextShift(sequence: LlamaContextSequence, shift: () => Promise<void>): void {
    Object.defineProperty(sequenceInternals(sequence), "_freeUpSpaceForTokens", { value: shift });
}
