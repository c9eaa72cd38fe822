import { ArmtError } from "../errors.js";
import { truncateNativeSequence } from "../node-llama-cpp/sequence-state.js";
import type { ArmtContext } from "./ArmtContext.js";
import { type PlannedRead, questionsOf, restartedAt } from "./plan-questions.js";
import type { ReadRequest } from "./read-request.js";
import type { SequenceHandle } from "./SequenceHandle.js";

/**
 * With `segmentOverflow: "answer"`, a full segment grows while tokens are generated. Before anything else is read, and
 * when the segment has reached its limit, its tokens are read again and cut like any text: equal tokens must leave the
 * same memory, also if the model wrote them. The caller holds the sequence's lock.
 * @returns the read with the tokens to read again; undefined if there are none
 */
export async function planAnswer(
    armt: ArmtContext,
    request: ReadRequest,
    handle: SequenceHandle
): Promise<PlannedRead | undefined> {
    const { segmentSize, openSegmentLimit } = armt;
    if (armt.segmentOverflow !== "answer") return undefined;
    const stats = handle.readStats();
    const { firstTokenSequenceIndex: start, tokens } = request;
    const held = stats === undefined ? 0 : start - stats.segmentStart;
    if (stats === undefined || held < segmentSize) return undefined;
    const questions = questionsOf(armt, handle);
    if (isGenerated(request, handle) && held < openSegmentLimit && (questions === undefined || held > segmentSize)) {
        if (held === segmentSize)
            await handle.betweenBatches(async ({ addon, contextId, sequenceId }) =>
                addon.growSegment(contextId, sequenceId)
            );
        return undefined;
    }
    if (held === segmentSize) return undefined;
    const open = handle.record.last(handle.record.length - stats.segmentStart).slice(0, held);
    // without their ids, the tokens stay in the grown segment
    if (open.length < held) return undefined;
    await handle.betweenBatches(async ({ sequenceId }) => {
        if (!truncateNativeSequence(handle.sequence.context, sequenceId, stats.segmentStart, start))
            throw new ArmtError(`cannot remove the tokens from ${stats.segmentStart} on`);
    });
    const again = restartedAt(request, stats.segmentStart, [...open, ...tokens]);
    const closes = questions?.find(again.tokens).map((at) => at + stats.segmentStart) ?? [];
    return { request: again, closes: closes.filter((at) => at > stats.segmentStart) };
}

/** Whether a read appends a token that was chosen from the logits of the one before. */
function isGenerated({ firstTokenSequenceIndex: start, tokens, logits }: ReadRequest, handle: SequenceHandle): boolean {
    return tokens.length === 1 && logits[0] === true && handle.answeredTo === start;
}
