import type { LlamaContextSequence, LlamaModel, Token } from "../../../plugin/index.js";
import { ArmtError } from "../../util/errors.js";
import type { Haystack, Question } from "./haystack.js";
import type { RecallTask } from "./task.js";

/** Longest answer to generate. Unit: tokens. */
const maxAnswerTokens = 12;

export interface AnsweredQuestion extends Question {
    /** What the model wrote. */
    readonly answer: string;
    readonly right: boolean;
}

/**
 * Reads a haystack into an empty sequence and writes its last segment to memory, so that answers can come only from
 * memory.
 */
export async function readHaystack(
    sequence: LlamaContextSequence,
    haystack: Haystack,
    { signal, onProgress }: { signal?: AbortSignal; onProgress?: (tokens: number) => void } = {}
): Promise<number> {
    const armt = requireArmt(sequence);
    await sequence.clearHistory();
    const { tokens } = await armt.feed(haystack.sentences(), {
        signal,
        onProgress: (progress) => onProgress?.(progress.tokens)
    });
    await armt.closeSegment();
    return tokens;
}

/** Asks each question with the same memory and leaves the memory unchanged. */
export async function askAll(
    sequence: LlamaContextSequence,
    model: LlamaModel,
    questions: readonly Question[],
    task: RecallTask,
    signal?: AbortSignal
): Promise<AnsweredQuestion[]> {
    const armt = requireArmt(sequence);
    using snapshot = await armt.snapshot();
    const answers: AnsweredQuestion[] = [];
    for (const question of questions) {
        signal?.throwIfAborted();
        await armt.restore(snapshot);
        const answer = await askOne(sequence, model, question.text, task);
        answers.push({ ...question, answer, right: answer === question.expected });
    }
    await armt.restore(snapshot);
    return answers;
}

async function askOne(
    sequence: LlamaContextSequence,
    model: LlamaModel,
    question: string,
    { answer }: RecallTask
): Promise<string> {
    const tokens: Token[] = [];
    const prompt = model.tokenize(`${answer.before}${question}${answer.after}`);
    for await (const token of sequence.evaluate(prompt, { temperature: 0 })) {
        tokens.push(token);
        if (tokens.length === maxAnswerTokens) break;
    }
    return model.detokenize(tokens).trim();
}

function requireArmt(sequence: LlamaContextSequence) {
    if (sequence.armt === undefined) throw new ArmtError("recall is measured on ARMT models; this is a plain model");
    return sequence.armt;
}
