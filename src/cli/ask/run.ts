import process from "node:process";
import type { Readable, Writable } from "node:stream";
import { ArmtSnapshot, type LlamaContextSequence, type Token } from "../../../plugin/index.js";
import { openModel } from "../../model/open-model.js";
import { withoutMemory } from "../../model/without-memory.js";
import { UsageError } from "../../util/failure.js";
import { readEscapes } from "../shared/escapes.js";
import { generate } from "../shared/generate.js";
import { noteOnQuestion, questionFormsOf } from "../shared/included-model.js";
import { leadingSpaceTrimmer } from "../shared/leading-space.js";
import { modelOfMemory } from "../shared/memory-model.js";
import { tokenizePrompt } from "../shared/prompt.js";
import { TextStream } from "../text-stream.js";
import type { AskOptions } from "./options.js";
import { questionsOf } from "./questions.js";

/** The output of `armt ask --json`: one line for each question. */
export interface AskResult {
    question: string;
    /** Number of tokens in the memory. */
    memoryTokens: number;
    /** Number of tokens in the question. */
    questionTokens: number;
    /** Ids of the answer's tokens. */
    tokens: Token[];
    text: string;
    /** Time to load the memory; for a later question, to restore it. */
    loadMs: number;
    /** Time from then to the answer's first token. */
    firstTokenMs: number;
}

/** Answers questions from a memory, each as if it were the only one. The memory does not change. */
export async function ask(
    options: AskOptions,
    signal: AbortSignal,
    input: Readable & { isTTY?: boolean },
    output: Writable
): Promise<void> {
    if (options.format?.includes("{}") === false)
        throw new UsageError("--format must contain {} where the question goes");
    const questions = questionsOf(options.question, input);
    const header = await ArmtSnapshot.inspect(options.memory);
    const file = modelOfMemory(options.memory, header.modelPath, options.model);
    const { llama, createContext } = await openModel({ ...options, model: file });
    let snapshot: ArmtSnapshot | undefined;
    try {
        const sequence = (await createContext({ like: header })).getSequence();
        const { armt } = sequence;
        if (armt === undefined) throw withoutMemory(file);
        armt.closeBeforeQuestion = options.closeBeforeQuestion;
        let started = performance.now();
        await armt.load(options.memory, { signal });
        let loadMs = performance.now() - started;
        const isOnly = !questions.isList;
        if (!isOnly) snapshot = await armt.snapshot();
        const forms = options.format === undefined ? await questionFormsOf(file) : undefined;
        let note: string | undefined;
        let isFirst = true;
        for await (const question of questions.texts) {
            if (!isFirst) {
                started = performance.now();
                await armt.restore(snapshot!);
                loadMs = performance.now() - started;
            }
            isFirst = false;
            const trim = leadingSpaceTrimmer();
            // an answer that is one of several stays on its line
            const write = (piece: string) => {
                if (!options.json) output.write(trim(isOnly ? piece : oneLine(piece)));
            };
            const answered = await answer(sequence, question, options, signal, write);
            const result: AskResult = { question, memoryTokens: header.tokensRead, ...answered, loadMs };
            output.write(options.json ? `${JSON.stringify(result)}\n` : "\n");
            note ??= noteOnQuestion(question, forms);
            if (isOnly && !options.json) process.stderr.write(describeTimes(result));
            if (signal.aborted) throw signal.reason;
        }
        if (note !== undefined) process.stderr.write(note);
    } finally {
        snapshot?.dispose();
        await llama.dispose();
    }
}

/** Answers one question after the text that the sequence holds. */
async function answer(
    sequence: LlamaContextSequence,
    question: string,
    options: AskOptions,
    signal: AbortSignal,
    write: (piece: string) => void
): Promise<Omit<AskResult, "question" | "memoryTokens" | "loadMs">> {
    const { model } = sequence;
    const started = performance.now();
    const prompt = tokenizePrompt({ text: questionText(sequence, question, options.format), follows: true }, model);
    await sequence.armt!.startQuestion(prompt);
    const stream = new TextStream(model, { continues: true });
    const result = { questionTokens: prompt.length, tokens: [] as Token[], text: "", firstTokenMs: 0 };
    const add = (piece: string) => {
        result.text += piece;
        write(piece);
    };
    for await (const token of generate(sequence, prompt, options, { signal })) {
        if (result.tokens.length === 0) result.firstTokenMs = performance.now() - started;
        result.tokens.push(token);
        add(stream.push(token));
    }
    add(stream.end());
    return result;
}

/** A question with the text around it: that of the option, that of the model's training, or a new line before it. */
function questionText({ model }: LlamaContextSequence, question: string, format: string | undefined): string {
    const { before, after } = model.armt?.ask ?? {};
    const isTrained = before !== undefined || after !== undefined;
    const form = format !== undefined ? readEscapes(format) : isTrained ? `${before ?? ""}{}${after ?? ""}` : "\n{}";
    // split and join, because `replace` would interpret a `$` in the question
    return form.split("{}").join(question);
}

function oneLine(piece: string): string {
    return piece.replaceAll(/\s*\n\s*/g, " ");
}

function describeTimes({ memoryTokens, loadMs, firstTokenMs, tokens }: AskResult): string {
    const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
    return (
        `memory of ${memoryTokens} tokens loaded in ${seconds(loadMs)} | ` +
        `first token after ${seconds(firstTokenMs)} | ${tokens.length} token${tokens.length === 1 ? "" : "s"}\n`
    );
}
