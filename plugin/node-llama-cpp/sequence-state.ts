import type { LlamaContext, LlamaContextSequence } from "node-llama-cpp";
import { contextInternals, type NativeContext, sequenceInternals } from "./internals.js";
import { requestContext, withSequenceLock } from "./locks.js";

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

/** The methods that {@link serializeStateChanges} replaces. */
type StateMethod =
    | "_eraseContextTokenRanges"
    | "_copyStateFromOtherSequence"
    | "takeCheckpoint"
    | "_takeNamedCheckpoint"
    | "saveStateToFile"
    | "loadStateFromFile";

/** What {@link serializeStateChanges} calls. */
export interface StateHooks {
    /** Throws if the sequence's state cannot be saved; node-llama-cpp would have emptied the file by then. */
    beforeSave(): Promise<void>;
    /** Called after the state was loaded from a file, or could not be loaded and is empty. */
    afterLoad(): void;
    /** Called after the state was copied from another sequence. */
    afterCopy(from: LlamaContextSequence): void;
}

/**
 * Lets the methods that change or copy a sequence's state take turns with its evaluations. Some take only the context's
 * lock, which is free between two batches of a read, when node-llama-cpp's record of the tokens is behind the engine's.
 * All methods that take the context's lock end the turn of another sequence's read, since node-llama-cpp does not show
 * who waits for it.
 */
export function serializeStateChanges(sequence: LlamaContextSequence, hooks: StateHooks): void {
    const internals = sequenceInternals(sequence);
    const method = (name: StateMethod): ((...args: unknown[]) => Promise<unknown>) => internals[name].bind(sequence);
    const replace = (name: StateMethod, value: (...args: never[]) => Promise<unknown>) =>
        Object.defineProperty(internals, name, { value });
    const turnOf = (other: LlamaContextSequence) => withSequenceLock(other, async () => {});

    const erase = method("_eraseContextTokenRanges");
    let erasing = 0;
    replace("_eraseContextTokenRanges", async (ranges: unknown, options: { skipLock?: boolean } = {}) => {
        // the caller holds the sequence's lock
        if (options.skipLock === true) return await erase(ranges, options);
        return await withSequenceLock(sequence, async () => {
            requestContext(sequence.context);
            erasing++;
            try {
                return await erase(ranges, { ...options, skipLock: true });
            } finally {
                erasing--;
            }
        });
    });
    for (const name of ["takeCheckpoint", "_takeNamedCheckpoint"] as const) {
        const take = method(name);
        replace(name, async (...args: unknown[]) => {
            // what erases tokens holds the lock, and takes a checkpoint at its end
            if (erasing === 0) await turnOf(sequence);
            requestContext(sequence.context);
            return await take(...args);
        });
    }
    const copy = method("_copyStateFromOtherSequence");
    replace("_copyStateFromOtherSequence", async (from: LlamaContextSequence, ...args: unknown[]) => {
        await turnOf(sequence);
        await turnOf(from);
        requestContext(sequence.context);
        const copied = await copy(from, ...args);
        hooks.afterCopy(from);
        return copied;
    });
    const save = method("saveStateToFile");
    replace("saveStateToFile", async (...args: unknown[]) => {
        await hooks.beforeSave();
        requestContext(sequence.context);
        return await save(...args);
    });
    const load = method("loadStateFromFile");
    replace("loadStateFromFile", async (...args: unknown[]) => {
        requestContext(sequence.context);
        try {
            await load(...args);
        } finally {
            hooks.afterLoad();
        }
    });
}

/** Whether node-llama-cpp takes checkpoints of its own while the sequence reads. */
export function takesCheckpoints(sequence: LlamaContextSequence): boolean {
    return sequenceInternals(sequence)._checkpointOptions.interval !== false;
}

/** Replaces the method that makes room in a full context by removing the oldest tokens. */
export function replaceContextShift(sequence: LlamaContextSequence, shift: () => Promise<void>): void {
    Object.defineProperty(sequenceInternals(sequence), "_freeUpSpaceForTokens", { value: shift });
}
