import type { Token } from "node-llama-cpp";
import { ArmtError } from "../errors.js";
import { clearNativeSequence, truncateNativeSequence } from "../node-llama-cpp/sequence-state.js";
import type { ArmtContext } from "./ArmtContext.js";
import type { QuestionCuts } from "./question-cuts.js";
import type { ReadRequest } from "./read-request.js";
import type { SequenceHandle } from "./SequenceHandle.js";
import { isCutBy } from "./segment-cut.js";

/** A read as it is carried out: some of the tokens that the sequence holds may have to be read again. */
export interface PlannedRead {
    readonly request: ReadRequest;
    /** Indices of the sequence, from the read's first token on, at which a question starts a new segment. */
    readonly closes: readonly number[];
}

/** What finds the questions of a sequence; undefined if they do not start a segment of their own. */
export function questionsOf({ parts }: ArmtContext, handle: SequenceHandle): QuestionCuts | undefined {
    return (handle.closeBeforeQuestion ?? parts.model.ask?.close ?? false) ? parts.questions : undefined;
}

/**
 * Finds the places in a read where questions start. Equal tokens must be cut alike, whichever reads they come in. So a
 * read goes back to the start of a question whose first tokens came before. It goes back to the start of everything if
 * a segment was closed for a question that is gone. The caller holds the sequence's lock.
 */
export async function planQuestions(
    armt: ArmtContext,
    request: ReadRequest,
    handle: SequenceHandle
): Promise<PlannedRead> {
    const questions = questionsOf(armt, handle);
    if (questions === undefined) return { request, closes: [] };
    const { firstTokenSequenceIndex: start, tokens } = request;
    if (start === 0) return { request, closes: questions.find(tokens) };
    if (isStale(armt, request, handle, questions)) {
        const ids = handle.record.idsWith(tokens);
        if (ids !== undefined) {
            await handle.betweenBatches(async ({ sequenceId }) =>
                clearNativeSequence(handle.sequence.context, sequenceId)
            );
            return { request: restartedAt(request, 0, Array.from(ids) as Token[]), closes: questions.find(ids) };
        }
    }
    // one more than a question's start can have there, since nothing starts at the first of them
    const held = handle.record.last(questions.length);
    const from = start - held.length;
    const found =
        held.length === 0 ? findFrom(questions, tokens, start) : findFrom(questions, [...held, ...tokens], from);
    const segmentStart = handle.readStats()?.segmentStart ?? 0;
    const earlier = found.find((at) => at < start && at > segmentStart && at + questions.length > start);
    const closes = found.filter((at) => at >= start);
    if (earlier === undefined) return { request, closes };
    await handle.betweenBatches(async ({ sequenceId }) => {
        if (!truncateNativeSequence(handle.sequence.context, sequenceId, earlier, start))
            throw new ArmtError(`cannot remove the tokens from ${earlier} on`);
    });
    const again = restartedAt(request, earlier, [...held.slice(earlier - start), ...tokens]);
    return { request: again, closes: [earlier, ...closes] };
}

/** Where questions begin in tokens that start at index `from` of the sequence. */
function findFrom(questions: QuestionCuts, tokens: readonly Token[], from: number): number[] {
    const found = questions.find(tokens).map((at) => at + from);
    return from > 0 && questions.opens(tokens) ? [from, ...found] : found;
}

/**
 * Whether a segment was closed for a question, then tokens of the question's start were removed, and now others follow.
 */
function isStale(armt: ArmtContext, request: ReadRequest, handle: SequenceHandle, questions: QuestionCuts): boolean {
    const { segmentSize, segmentOverflow, parts } = armt;
    const stats = handle.readStats();
    const { firstTokenSequenceIndex: start, tokens } = request;
    if (stats === undefined || !handle.isRegular || tokens.length < questions.length) return false;
    if (start - stats.segmentStart >= questions.length || stats.segmentStart === 0) return false;
    if (segmentOverflow === "extend" || parts.model.segmentAlignment !== "left") return false;
    const ids = handle.record.idsWith(tokens);
    if (ids === undefined) return false;
    const cut = { first: segmentSize, each: segmentSize, until: 0 };
    // tokens that were read without closing stay as they are
    return !isCutBy({ ...cut, closes: questions.find(ids) }, stats) && !isCutBy({ ...cut, closes: [] }, stats);
}

/** A read that begins earlier. */
function restartedAt(request: ReadRequest, start: number, tokens: Token[]): ReadRequest {
    const added = tokens.length - request.tokens.length;
    const logits: (true | undefined)[] = [...Array<undefined>(added), ...request.logits];
    return { ...request, firstTokenSequenceIndex: start, tokens, logits };
}
