import { ArmtError } from "../errors.js";
import type { ArmtSnapshot } from "../memory/ArmtSnapshot.js";
import type { SnapshotParts } from "../memory/snapshot-file.js";
import { clearNativeSequence } from "../node-llama-cpp/sequence-state.js";
import type { ArmtSnapshotSource } from "../types.js";
import type { ArmtContext } from "./ArmtContext.js";
import type { NativeSequence, SequenceHandle } from "./SequenceHandle.js";

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
 */
export async function loadState(
    { addon, contextId, sequenceId }: NativeSequence,
    handle: SequenceHandle,
    snapshot: ArmtSnapshot
): Promise<void> {
    const { header, state } = snapshot.parts;
    await addon.loadState(contextId, sequenceId, state);
    handle.isRegular = header.regular;
    if (handle.stats.tokens === header.tokensRead) return;
    // with a file like this, all later positions would be wrong
    clearNativeSequence(handle.sequence.context, sequenceId);
    handle.reconcile([]);
    throw new ArmtError("the snapshot contradicts itself about the number of tokens; the sequence is empty now");
}
