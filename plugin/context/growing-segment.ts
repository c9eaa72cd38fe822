import { ArmtError } from "../errors.js";
import { truncateNativeSequence } from "../node-llama-cpp/sequence-state.js";
import type { ArmtContext } from "./ArmtContext.js";
import { type PlannedRead, questionsOf } from "./plan-questions.js";
import type { ReadRequest } from "./read-request.js";
import type { SequenceHandle } from "./SequenceHandle.js";

/** Whether a read appends a token that was chosen from the logits of the one before. */
export function isGenerated({ firstTokenSequenceIndex, tokens, logits }: ReadRequest, handle: SequenceHandle): boolean {
    return tokens.length === 1 && logits[0] === true && handle.answeredTo === firstTokenSequenceIndex;
}

/**
 * With `segmentOverflow: "answer"`: whether the open segment, full or grown already, takes a generated token. It does
 * not beyond its limit, not where a question in it would start a new one, and not without its token ids, since nobody
 * could read it again.
 */
export function takesGenerated(armt: ArmtContext, handle: SequenceHandle): boolean {
    const { segmentOverflow, segmentSize, openSegmentLimit } = armt;
    if (segmentOverflow !== "answer") return false;
    const { openTokens, segmentStart } = handle.stats;
    if (openTokens < segmentSize || openTokens >= openSegmentLimit) return false;
    if (questionsOf(armt, handle) !== undefined) return false;
    return openTokens > segmentSize || handle.record.isKnownFrom(segmentStart);
}

/** Lets the open segment grow, or takes that back before it has grown. The caller holds the sequence's lock. */
export async function setGrowth(handle: SequenceHandle, grows: boolean): Promise<void> {
    await handle.betweenBatches(async ({ addon, contextId, sequenceId }) =>
        addon.growSegment(contextId, sequenceId, grows)
    );
}

/**
 * Removes the tokens of an open segment that has grown, and closes it as it is if their ids are not known. The caller
 * holds the sequence's lock.
 * @returns the read that cuts the tokens like any text, since equal tokens must leave the same memory, also if the
 * model wrote them; undefined if the open segment has not grown
 */
export async function takeGrownSegment(armt: ArmtContext, handle: SequenceHandle): Promise<PlannedRead | undefined> {
    if (armt.segmentOverflow !== "answer") return undefined;
    const { segmentStart, openTokens, tokens } = handle.stats;
    if (openTokens <= armt.segmentSize) return undefined;
    if (!handle.record.isKnownFrom(segmentStart)) {
        handle.isRegular = false;
        await handle.betweenBatches(({ addon, contextId, sequenceId }) => addon.closeSegment(contextId, sequenceId));
        return undefined;
    }
    const open = handle.record.slice(segmentStart, tokens);
    await handle.betweenBatches(async ({ sequenceId }) => {
        if (!truncateNativeSequence(handle.sequence.context, sequenceId, segmentStart, tokens))
            throw new ArmtError(`cannot remove the tokens from ${segmentStart} on`);
    });
    const closes = questionsOf(armt, handle)?.find(open) ?? [];
    return {
        request: {
            sequenceId: handle.id,
            firstTokenSequenceIndex: segmentStart,
            tokens: open,
            logits: [],
            tokenMeter: handle.sequence.tokenMeter,
            isPart: true
        },
        closes: closes.map((at) => at + segmentStart)
    };
}
