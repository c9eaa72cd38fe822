import type { ArmtContext } from "../context/ArmtContext.js";
import type { Evaluation } from "../context/evaluation.js";
import type { NativeSequence, SequenceHandle } from "../context/SequenceHandle.js";
import { type CopyOptions, copyState, loadState } from "../context/sequence-state.js";
import { ArmtError } from "../errors.js";
import { type ArmtSaveOptions, ArmtSnapshot } from "../memory/ArmtSnapshot.js";
import { readSnapshotFile } from "../memory/snapshot-file.js";
import { findMismatch } from "../memory/snapshot-origin.js";
import type { ArmtSnapshotInfo, ArmtSnapshotSource } from "../types.js";

/** Options of `sequence.armt.snapshot` and `save`. */
export interface ArmtSnapshotOptions {
    /** Leave out the open segment, so that whatever follows the snapshot starts a new segment. Default: `false`. */
    closedOnly?: boolean;
    /** Rejects with the signal's reason. Nothing is changed or written then. Default: none. */
    signal?: AbortSignal;
}

/** Options of `sequence.armt.save`. */
export interface ArmtSequenceSaveOptions extends ArmtSnapshotOptions {
    /** Save the token ids too, 4 bytes each, so that chat sessions can see what has been read. Default: `true`. */
    tokenIds?: boolean;
    /** Where the text came from, so that reading can continue. Default: not recorded. */
    source?: ArmtSnapshotSource;
}

/** Copies all that a sequence has read. */
export async function takeSnapshot(
    handle: SequenceHandle,
    evaluation: Evaluation,
    armt: ArmtContext,
    { closedOnly = false, signal }: ArmtSnapshotOptions = {}
): Promise<ArmtSnapshot> {
    return await copySequence(handle, evaluation, armt, { closedOnly, tokenIds: true }, signal);
}

/** Replaces what a sequence holds with a snapshot. */
export async function restoreSnapshot(
    handle: SequenceHandle,
    armt: ArmtContext,
    snapshot: ArmtSnapshot
): Promise<void> {
    checkFit(snapshot, armt, "the snapshot cannot be restored: ");
    const { header, tokens } = snapshot.parts;
    const { vocabSize } = armt.parts.model;
    const unknown = tokens?.find((id) => id >= vocabSize);
    if (unknown !== undefined)
        throw new ArmtError(
            `the snapshot cannot be restored: it has the token id ${unknown}, and the model has ${vocabSize} tokens`
        );
    await handle.exclusively(async (native) => {
        await loadState(native, handle, snapshot, armt.origin.fingerprint);
        handle.record.replace(tokens, header.tokensRead);
    });
}

/** Saves all that a sequence has read to a file. */
export async function saveSequence(
    handle: SequenceHandle,
    evaluation: Evaluation,
    armt: ArmtContext,
    path: string,
    { closedOnly = false, tokenIds = true, signal, source }: ArmtSequenceSaveOptions = {}
): Promise<{ bytes: number; tokensRead: number }> {
    const snapshot = await copySequence(handle, evaluation, armt, { closedOnly, tokenIds, source }, signal);
    const bytes = await snapshot.save(path, { signal });
    const { tokensRead } = snapshot;
    snapshot.dispose();
    return { bytes, tokensRead };
}

/** Replaces what a sequence holds with the contents of a file. */
export async function loadSequence(
    handle: SequenceHandle,
    armt: ArmtContext,
    path: string,
    { signal }: ArmtSaveOptions = {}
): Promise<void> {
    const accept = (header: ArmtSnapshotInfo) => checkFit(header, armt);
    const snapshot = new ArmtSnapshot(await readSnapshotFile(path, { accept, signal }));
    signal?.throwIfAborted();
    await restoreSnapshot(handle, armt, snapshot);
    snapshot.dispose();
}

async function copySequence(
    handle: SequenceHandle,
    evaluation: Evaluation,
    armt: ArmtContext,
    options: CopyOptions,
    signal: AbortSignal | undefined
): Promise<ArmtSnapshot> {
    signal?.throwIfAborted();
    const copy = (native: NativeSequence) => copyState(native, handle, armt, options);
    // without its ids, nobody could cut a grown segment later
    const cuts = options.closedOnly || !options.tokenIds || !handle.record.isKnown;
    const parts = cuts ? await evaluation.exclusively(handle, copy) : await handle.exclusively(copy);
    signal?.throwIfAborted();
    return new ArmtSnapshot(parts);
}

function checkFit(snapshot: ArmtSnapshotInfo, { origin, parts }: ArmtContext, prefix = ""): void {
    const mismatch = findMismatch(snapshot, origin, parts.model.earlierFingerprints);
    if (mismatch !== undefined) throw new ArmtError(`${prefix}${mismatch}`);
}
