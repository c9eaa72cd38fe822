import process from "node:process";
import type { Writable } from "node:stream";
import type { LlamaModel, Token } from "../../../plugin/index.js";
import { resolveModel } from "../../../plugin/model/model-cache.js";
import { AnswerText } from "../../generation/AnswerText.js";
import type { Message } from "../../generation/chat-template/messages.js";
import { openModel } from "../../model/open-model.js";
import { checkTokenIds } from "../../model/token-ids.js";
import { UsageError } from "../../util/failure.js";
import { createProgressBar } from "../../util/progress.js";
import { openChatTemplate, openingMessages, renderChat } from "../shared/chat-prompt.js";
import { generate } from "../shared/generate.js";
import { type Prompt, readPrompt, tokenizePrompt } from "../shared/prompt.js";
import { openCache } from "./memory-cache.js";
import type { RunOptions } from "./options.js";
import { describeTimings, type Timings } from "./timings.js";

/** The output of `armt run --json`. */
export interface RunResult {
    /** Number of tokens in the prompt. */
    promptTokens: number;
    /** Number of these tokens that an earlier run had already read. ARMT models only. */
    cachedTokens?: number;
    /** Ids of the generated tokens. */
    tokens: Token[];
    /** The text of these tokens; empty for a model without a tokenizer. */
    text: string;
    timings: Timings;
}

/** Reads the prompt and streams the answer to `output`, or writes a single JSON object at the end. */
export async function run(options: RunOptions, signal: AbortSignal, output: Writable): Promise<void> {
    const started = performance.now();
    if (options.model !== undefined) resolveModel(options.model);
    const prompt = await readRunPrompt(options);
    const { llama, model, vocabSize, createContext } = await openModel(options);
    try {
        const { tokens: promptTokens, stopTokens } = await tokenizeRunPrompt(prompt, options, model);
        checkTokenIds(promptTokens, vocabSize);
        const bar = createProgressBar("reading the prompt");
        const memoryStore = model.armt === undefined ? undefined : await openCache(options, warn);
        const context = await createContext({
            onProgress: (progress) => bar.update(progress.tokensDone, progress.tokensTotal),
            memoryStore
        });
        const sequence = context.getSequence();
        signal.throwIfAborted();
        const loaded = performance.now();

        const answer = new AnswerText(model, { usesOwnStops: !options.ignoreEos });
        const tokens: Token[] = [];
        let text = "";
        const write = (piece: string) => {
            text += piece;
            if (!options.json) output.write(piece);
        };
        let read: number | undefined;
        try {
            for await (const token of generate(sequence, promptTokens, options, { signal, stopTokens })) {
                read ??= performance.now();
                bar.stop();
                tokens.push(token);
                const piece = answer.push(token);
                write(piece.text);
                if (piece.stopped !== undefined) break;
            }
            write(answer.end().text);
        } finally {
            bar.stop();
        }
        const ended = performance.now();
        await memoryStore?.dispose();
        const cachedTokens = memoryStore?.stats.cachedTokens;
        const timings: Timings = {
            loadMs: loaded - started,
            promptMs: (read ?? ended) - loaded,
            promptTokensPerSecond: rate(promptTokens.length - (cachedTokens ?? 0), (read ?? ended) - loaded),
            // evaluating the prompt already yields the first token
            generateMs: ended - (read ?? ended),
            generatedTokensPerSecond: rate(tokens.length - 1, ended - (read ?? ended))
        };
        if (options.json) {
            const result: RunResult = { promptTokens: promptTokens.length, cachedTokens, tokens, text, timings };
            output.write(`${JSON.stringify(result)}\n`);
        } else {
            output.write("\n");
            const counts = { prompt: promptTokens.length, cached: cachedTokens, generated: tokens.length };
            process.stderr.write(`${describeTimings(counts, timings, sequence.armt)}\n`);
        }
        if (signal.aborted) throw signal.reason;
    } finally {
        await llama.dispose();
    }
}

/** @throws {UsageError} if an option needs `--chat`, or excludes it */
async function readRunPrompt(options: RunOptions): Promise<Prompt> {
    if (options.chat && options.tokens !== undefined) throw new UsageError("--chat and --tokens exclude each other");
    if (!options.chat && options.systemPrompt !== undefined) throw new UsageError("--system-prompt needs --chat");
    return await readPrompt(options);
}

async function tokenizeRunPrompt(
    prompt: Prompt,
    { chat, systemPrompt, parseSpecial }: RunOptions,
    model: LlamaModel
): Promise<{ tokens: Token[]; stopTokens?: ReadonlySet<Token> }> {
    if (!chat || !("text" in prompt)) return { tokens: tokenizePrompt({ ...prompt, special: parseSpecial }, model) };
    const template = openChatTemplate(model);
    try {
        const messages: Message[] = [...openingMessages(systemPrompt), { role: "user", text: prompt.text }];
        return await renderChat(template, model, messages, false);
    } finally {
        await template.dispose();
    }
}

function warn(message: string): void {
    process.stderr.write(`armt: ${message}\n`);
}

function rate(tokens: number, ms: number): number {
    return tokens > 0 && ms > 0 ? (1000 * tokens) / ms : 0;
}
