import { type LlamaContextSequence, type LlamaModel, resolveChatWrapper, type Token } from "../../../plugin/index.js";
import { ArmtError } from "../../util/errors.js";
import type { Question, QuestionedText, QuestionForm } from "./question.js";

/** The words around a question outside a chat. */
export interface PlainForm {
    readonly before: string;
    readonly after: string;
}

/** How questions are asked. */
export interface Asking {
    readonly form: QuestionForm;
    /** For the form `plain`. */
    readonly plain: PlainForm;
}

export interface AnsweredQuestion<Q extends Question = Question> {
    readonly question: Q;
    /** What the model wrote. */
    readonly answer: string;
    /** From 0 (wrong) to 1 (right). */
    readonly score: number;
}

/**
 * Reads a text into an empty sequence and writes its last segment to memory, so that answers can come only from memory.
 * @returns the number of tokens read
 */
export async function readText(
    sequence: LlamaContextSequence,
    text: QuestionedText,
    { signal, onProgress }: { signal?: AbortSignal; onProgress?: (tokens: number) => void } = {}
): Promise<number> {
    const armt = requireArmt(sequence);
    await sequence.clearHistory();
    const { tokens } = await armt.feed(text.sentences(), {
        signal,
        onProgress: (progress) => onProgress?.(progress.tokens)
    });
    await armt.closeSegment();
    return tokens;
}

/** Asks each question with the same memory and leaves the memory unchanged. */
export async function askAll<Q extends Question>(
    sequence: LlamaContextSequence,
    model: LlamaModel,
    questions: readonly Q[],
    asking: Asking,
    signal?: AbortSignal
): Promise<AnsweredQuestion<Q>[]> {
    const armt = requireArmt(sequence);
    using snapshot = await armt.snapshot();
    const answers: AnsweredQuestion<Q>[] = [];
    for (const question of questions) {
        signal?.throwIfAborted();
        await armt.restore(snapshot);
        const prompt = questionTokens(model, question, asking);
        const answer = await writeAnswer(sequence, model, prompt, answerLength(model, question));
        answers.push({ question, answer, score: question.score(answer) });
    }
    await armt.restore(snapshot);
    return answers;
}

/**
 * Asks a plain model, with the text in its context before each question.
 * @returns `undefined` if a prompt and its answer do not fit the context
 */
export async function askWithText<Q extends Question>(
    sequence: LlamaContextSequence,
    model: LlamaModel,
    { questions, sentences }: { questions: readonly Q[]; sentences: () => Iterable<string> },
    asking: Asking,
    signal?: AbortSignal
): Promise<AnsweredQuestion<Q>[] | undefined> {
    const text = [...sentences()].join("");
    const { bos, shouldPrependBosToken } = model.tokens;
    const begin = shouldPrependBosToken && bos !== null ? [bos] : [];
    const read = asking.form === "chat" ? [] : [...begin, ...model.tokenize(text)];
    const answers: AnsweredQuestion<Q>[] = [];
    for (const question of questions) {
        signal?.throwIfAborted();
        const asked = questionTokens(model, question, asking, asking.form === "chat" ? `${text}\n\n` : "");
        const prompt = [...read, ...asked];
        const length = answerLength(model, question);
        if (prompt.length + length > sequence.contextSize) return undefined;
        // what the prompts have in common is computed once
        await sequence.adaptStateToTokens(prompt.slice(0, -1), false);
        const answer = await writeAnswer(sequence, model, prompt.slice(sequence.nextTokenIndex), length);
        answers.push({ question, answer, score: question.score(answer) });
    }
    return answers;
}

/** @param text what stands before the question, in the same turn of a chat */
export function questionTokens(model: LlamaModel, question: Question, { form, plain }: Asking, text = ""): Token[] {
    if (form === "completion") return model.tokenize(` ${requireCompletion(question)}`);
    if (form === "plain") return model.tokenize(`${plain.before}${question.text}${plain.after}`);
    return chatTokens(model, text + question.text);
}

/** A user's turn, and the beginning of the model's. */
export function chatTokens(model: LlamaModel, text: string): Token[] {
    const special = (marks: string) => model.tokenize(marks, true);
    // as armt-train writes a turn; these models' templates would add a system message
    if (special("<|im_start|>").length === 1)
        return [
            ...special("<|im_start|>user\n"),
            ...model.tokenize(text),
            ...special("<|im_end|>\n<|im_start|>assistant\n")
        ];
    const { contextText } = resolveChatWrapper(model).generateContextState({
        chatHistory: [
            { type: "user", text },
            { type: "model", response: [] }
        ]
    });
    return contextText.tokenize(model.tokenizer);
}

/** Longest answer to generate: a right one with words around it. Unit: tokens. */
export function answerLength(model: LlamaModel, { expected }: Question): number {
    return 16 + Math.ceil(1.5 * model.tokenize(` ${expected}`).length);
}

const oneLine = /\S[^\n]*\n/;

export interface WriteOptions {
    signal?: AbortSignal;
    /** Ends the answer as soon as it matches. Default: one line. */
    end?: RegExp;
    /** Draws tokens as the model's file says, as users get them. Default: `false`, the most probable token. */
    asFileSays?: boolean;
}

/** Generates at most `maxTokens`. */
export async function writeAnswer(
    sequence: LlamaContextSequence,
    model: LlamaModel,
    prompt: Token[],
    maxTokens: number,
    { signal, end = oneLine, asFileSays = false }: WriteOptions = {}
): Promise<string> {
    const tokens: Token[] = [];
    for await (const token of sequence.evaluate(prompt, asFileSays ? {} : { temperature: 0 })) {
        signal?.throwIfAborted();
        tokens.push(token);
        if (tokens.length === maxTokens || end.test(model.detokenize(tokens))) break;
    }
    return model.detokenize(tokens).trim();
}

function requireCompletion({ text, completion }: Question): string {
    if (completion === undefined)
        throw new ArmtError(`the question ${JSON.stringify(text)} has no form as a completion`);
    return completion;
}

export function requireArmt(sequence: LlamaContextSequence) {
    if (sequence.armt === undefined) throw new ArmtError("memory is measured on ARMT models; this is a plain model");
    return sequence.armt;
}
