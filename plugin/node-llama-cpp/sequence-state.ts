import type { LlamaContext, LlamaContextSequence } from "node-llama-cpp";
import { contextInternals, type NativeContext, sequenceInternals } from "./internals.js";
import { requestContext } from "./locks.js";

/** Take the context's lock only. */
const delayed = [
    "_eraseContextTokenRanges",
    "_copyStateFromOtherSequence",
    "takeCheckpoint",
    "_takeNamedCheckpoint"
] as const;

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
 * batches of a read. All methods that take this lock end the turn of another sequence's read, since node-llama-cpp does
 * not show who waits for it. Saving to and loading from a file take the lock of the sequence's evaluations before.
 * @param before what the delayed methods wait for
 * @param check throws if the sequence's state cannot be saved; node-llama-cpp would have emptied the file by then
 */
export function delayStateChanges(
    sequence: LlamaContextSequence,
    before: () => Promise<void>,
    check: () => Promise<void>
): void {
    const internals = sequenceInternals(sequence);
    const wrap = (
        name: (typeof delayed)[number] | "saveStateToFile" | "loadStateFromFile",
        ready?: () => Promise<void>
    ) => {
        const method: (...args: unknown[]) => Promise<unknown> = internals[name].bind(sequence);
        const wrapped = async (...args: unknown[]) => {
            if (ready !== undefined) await ready();
            requestContext(sequence.context);
            return await method(...args);
        };
        Object.defineProperty(internals, name, { value: wrapped });
    };
    for (const name of delayed) wrap(name, before);
    wrap("saveStateToFile", check);
    wrap("loadStateFromFile");
}

/** Whether node-llama-cpp takes checkpoints of its own while the sequence reads. */
export function takesCheckpoints(sequence: LlamaContextSequence): boolean {
    return sequenceInternals(sequence)._checkpointOptions.interval !== false;
}

/** Replaces the method that makes room in a full context by removing the oldest tokens. */
export function replaceContextShift(sequence: LlamaContextSequence, shift: () => Promise<void>): void {
    Object.defineProperty(sequenceInternals(sequence), "_freeUpSpaceForTokens", { value: shift });
}
