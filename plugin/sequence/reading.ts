import type { Token } from "node-llama-cpp";
import type { Evaluation } from "../context/evaluation.js";
import { ProgressReporter } from "../context/progress.js";
import type { ReadRequest } from "../context/read-request.js";
import type { SequenceHandle } from "../context/SequenceHandle.js";
import { ArmtError } from "../errors.js";
import type { ArmtMemoryStore, ArmtPrefillOptions } from "../memory/ArmtMemoryStore.js";
import { type ArmtFeedOptions, checkKeepTokens, defaultKeepTokens, feed } from "../memory/feed.js";
import { withSequenceLock } from "../node-llama-cpp/locks.js";
import type { ArmtFeedProgress, ArmtFeedSource, ArmtPrefill, ArmtProgress } from "../types.js";

/** Reads a source to its end. */
export async function feedSequence(
    handle: SequenceHandle,
    evaluation: Evaluation,
    source: ArmtFeedSource,
    { signal, onProgress, keepTokens = defaultKeepTokens }: ArmtFeedOptions = {}
): Promise<ArmtFeedProgress> {
    checkKeepTokens(keepTokens);
    signal?.throwIfAborted();
    const read = (tokens: readonly Token[]) =>
        readTokens(handle, evaluation, tokens, { keepTokens, memoryStore: null, isPart: true, signal });
    return await cancelOnAbort(handle, evaluation, signal, () =>
        feed(handle.sequence, source, read, { signal, onProgress })
    );
}

/** Brings a sequence to hold exactly these tokens, starting from what it holds or from what the store holds. */
export async function prefillSequence(
    handle: SequenceHandle,
    evaluation: Evaluation,
    memoryStore: ArmtMemoryStore,
    tokens: readonly Token[],
    { signal, onProgress, checkpointsAt }: ArmtPrefillOptions
): Promise<ArmtPrefill> {
    return await cancelOnAbort(handle, evaluation, signal, async () => {
        await handle.sequence.adaptStateToTokens([...tokens], false);
        const held = handle.sequence.nextTokenIndex;
        const rest = tokens.slice(held);
        handle.cachedTokens = 0;
        handle.keptTokens = 0;
        if (rest.length > 0) {
            const report = ({ tokensDone }: ArmtProgress) =>
                onProgress?.({ tokensDone: held + tokensDone, tokensTotal: tokens.length });
            const progress = new ProgressReporter(report, () => handle.readStats(), rest.length);
            try {
                await readTokens(handle, evaluation, rest, { memoryStore, checkpointsAt, signal });
                progress.end(true);
            } finally {
                progress.end(false);
            }
        }
        const cachedTokens = held + handle.cachedTokens;
        const keptTokens = Math.max(0, handle.keptTokens - cachedTokens);
        return { cachedTokens, readTokens: tokens.length - cachedTokens, keptTokens };
    });
}

type ReadTokensOptions = Pick<ReadRequest, "memoryStore" | "checkpointsAt" | "isPart"> & {
    keepTokens?: number;
    signal?: AbortSignal;
};

/**
 * Reads tokens without results. Unlike node-llama-cpp's own way, its time does not grow with what the sequence holds.
 */
async function readTokens(
    handle: SequenceHandle,
    evaluation: Evaluation,
    tokens: readonly Token[],
    { keepTokens = Number.POSITIVE_INFINITY, signal, memoryStore, checkpointsAt, isPart }: ReadTokensOptions
): Promise<void> {
    const { sequence, record } = handle;
    handle.throwIfDisposed();
    await withSequenceLock(sequence, async () => {
        handle.throwIfDisposed();
        // what is not queued yet cannot be cancelled
        signal?.throwIfAborted();
        const start = record.nextIndex;
        checkRoom(sequence, start, tokens.length);
        await evaluation.read({
            sequenceId: handle.id,
            firstTokenSequenceIndex: start,
            tokens: [...tokens],
            logits: [],
            tokenMeter: sequence.tokenMeter,
            memoryStore,
            checkpointsAt,
            isPart
        });
        record.append(tokens);
        if (record.length > keepTokens) record.forget();
    });
}

/** Cancels the evaluations of a sequence during `work` when a signal is aborted. */
async function cancelOnAbort<T>(
    handle: SequenceHandle,
    evaluation: Evaluation,
    signal: AbortSignal | undefined,
    work: () => Promise<T>
): Promise<T> {
    const cancel = () => evaluation.cancel(handle, signal?.reason);
    signal?.addEventListener("abort", cancel);
    try {
        return await work();
    } finally {
        signal?.removeEventListener("abort", cancel);
    }
}

/** @throws {ArmtError} if a context has no room for so many tokens */
function checkRoom({ contextSize }: { contextSize: number }, held: number, count: number): void {
    // node-llama-cpp shifts the context at this point, which an ARMT model cannot do
    const room = contextSize - 1 - held;
    if (count > room)
        throw new ArmtError(
            `the context holds ${contextSize} tokens, and ${held + count} are needed; ` +
                "create it with a larger `contextSize`"
        );
}
