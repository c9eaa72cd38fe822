import { existsSync } from "node:fs";
import process from "node:process";
import type { Writable } from "node:stream";
import { type ArmtAskForm, ArmtSnapshot, type Token } from "../../../plugin/index.js";
import { openModel } from "../../model/open-model.js";
import { ArmtError, quote } from "../../util/errors.js";
import { UsageError } from "../../util/failure.js";
import { readEscapes } from "../shared/escapes.js";
import { generate } from "../shared/generate.js";
import { tokenizePrompt } from "../shared/prompt.js";
import { TextStream } from "../text-stream.js";
import type { AskOptions } from "./options.js";

/** The output of `armt ask --json`. */
export interface AskResult {
    /** Number of tokens in the memory. */
    memoryTokens: number;
    /** Number of tokens in the question. */
    questionTokens: number;
    /** Ids of the answer's tokens. */
    tokens: Token[];
    text: string;
    /** Time to load the memory. */
    loadMs: number;
    /** Time from then to the answer's first token. */
    firstTokenMs: number;
}

/** Answers a question from a memory. The memory does not change. */
export async function ask(options: AskOptions, signal: AbortSignal, output: Writable): Promise<void> {
    if (options.format?.includes("{}") === false)
        throw new UsageError("--format must contain {} where the question goes");
    if (options.question === "") throw new ArmtError("the question is empty; it needs at least one character");
    const header = await ArmtSnapshot.inspect(options.memory);
    const file = modelOf(options, header.modelPath);
    const { llama, model, createContext } = await openModel({ ...options, model: file });
    try {
        const sequence = (await createContext({ like: header })).getSequence();
        if (sequence.armt === undefined)
            throw new ArmtError(`${quote(model.filename ?? "the model")} is a plain model, which has no memory`);
        const format = options.format === undefined ? trainedForm(model.armt?.ask) : readEscapes(options.format);
        sequence.armt.closeBeforeQuestion = options.closeBeforeQuestion;
        const started = performance.now();
        await sequence.armt.load(options.memory, { signal });
        const loaded = performance.now();
        // split and join, because `replace` would interpret a `$` in the question
        const text = format.split("{}").join(options.question);
        const question = tokenizePrompt({ text, follows: true }, model);
        await sequence.armt.startQuestion(question);
        const stream = new TextStream(model, { continues: true });
        const result: AskResult = {
            memoryTokens: header.tokensRead,
            questionTokens: question.length,
            tokens: [],
            text: "",
            loadMs: loaded - started,
            firstTokenMs: 0
        };
        const write = (piece: string) => {
            result.text += piece;
            if (!options.json) output.write(piece);
        };
        for await (const token of generate(sequence, question, options, signal)) {
            if (result.tokens.length === 0) result.firstTokenMs = performance.now() - loaded;
            result.tokens.push(token);
            write(stream.push(token));
        }
        write(stream.end());
        if (options.json) output.write(`${JSON.stringify(result)}\n`);
        else {
            output.write("\n");
            process.stderr.write(
                `memory of ${result.memoryTokens} tokens loaded in ${(result.loadMs / 1000).toFixed(2)} s | first ` +
                    `token after ${(result.firstTokenMs / 1000).toFixed(2)} s | ${result.tokens.length} tokens\n`
            );
        }
        if (signal.aborted) throw signal.reason;
    } finally {
        await llama.dispose();
    }
}

/** The question's format if no option gives one: `{}` stands for the question. */
function trainedForm(ask: ArmtAskForm | undefined): string {
    return ask?.before === undefined && ask?.after === undefined ? "\n{}" : `${ask.before ?? ""}{}${ask.after ?? ""}`;
}

function modelOf({ model, memory }: AskOptions, modelPath: string): string {
    if (model !== undefined) return model;
    if (modelPath === "") throw new UsageError(`${quote(memory)} does not say which model read it; name it with -m`);
    if (!existsSync(modelPath))
        throw new ArmtError(
            `the model that read ${quote(memory)} is no longer at ${quote(modelPath)}; name it with -m`
        );
    return modelPath;
}
