import type { ArmtSnapshot } from "../memory/ArmtSnapshot.js";
import type { SnapshotParts } from "../memory/snapshot-file.js";
import type { ArmtSnapshotSource } from "../types.js";
import type { ArmtContext } from "./ArmtContext.js";
import type { NativeSequence, SequenceHandle } from "./SequenceHandle.js";

/** The fingerprint comes after a few numbers at the start of a state. Unit: bytes. */
const maxFingerprintStart = 256;

/** What goes into a copy of a sequence's state. */
export interface CopyOptions {
    /** Leave out the open segment. */
    readonly closedOnly: boolean;
    /** Copy the token ids too, if they are known. */
    readonly tokenIds: boolean;
    readonly source?: ArmtSnapshotSource;
}

/** Copies all that a sequence has read. The caller holds the locks of sequence and context. */
export async function copyState(
    { addon, contextId, sequenceId }: NativeSequence,
    handle: SequenceHandle,
    armt: ArmtContext,
    { closedOnly, tokenIds, source }: CopyOptions
): Promise<SnapshotParts> {
    const { record } = handle;
    const state = await addon.saveState(contextId, sequenceId, closedOnly);
    const { tokens, openTokens, segmentsClosed } = handle.stats;
    const tokensRead = closedOnly ? tokens - openTokens : tokens;
    const hasTokenIds = tokenIds && record.isKnown && record.length >= tokensRead;
    const header = {
        ...armt.origin,
        tokensRead,
        openTokens: closedOnly ? 0 : openTokens,
        segmentsClosed,
        hasTokenIds,
        regular: handle.isRegular,
        modelPath: armt.parts.modelPath,
        created: new Date().toISOString(),
        source
    };
    return { header, tokens: hasTokenIds ? record.ids(tokensRead) : undefined, state };
}

/**
 * Replaces the engine's state of a sequence. node-llama-cpp's record of its tokens does not change. The caller holds
 * the locks of sequence and context.
 * @param fingerprint of the context's model, which the snapshot fits
 */
export async function loadState(
    { addon, contextId, sequenceId }: NativeSequence,
    handle: SequenceHandle,
    snapshot: ArmtSnapshot,
    fingerprint: string
): Promise<void> {
    const { header, state } = snapshot.parts;
    const fitting = withFingerprint(state, header.fingerprint, fingerprint);
    await addon.loadState(contextId, sequenceId, fitting, header.tokensRead);
    handle.isRegular = header.regular;
    handle.answeredTo = -1;
}

/** The engine compares the fingerprint in a state. One of an earlier file of the model becomes that of this file. */
function withFingerprint(state: Buffer, held: string, wanted: string): Buffer {
    if (held === wanted) return state;
    const at = state.subarray(0, maxFingerprintStart + held.length).indexOf(held, 0, "latin1");
    if (at < 0) return state;
    const copy = Buffer.from(state);
    copy.write(wanted, at, "latin1");
    return copy;
}
