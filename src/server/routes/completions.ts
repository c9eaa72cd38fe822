import type { RequestHandler } from "express";
import type { Token } from "../../../plugin/index.js";
import {
    type Answering,
    afterMemory,
    answerRequest,
    progressOf,
    samplingOf,
    stopStrings,
    tokensToWrite,
    usageOf
} from "../answer.js";
import type { ReadPrompt } from "../engine/Engine.js";
import { generate, type Piece, type ShownToken } from "../engine/generate.js";
import { badParameter } from "../errors.js";
import { lastEvent } from "../event-stream.js";
import { completionLogprobs } from "../logprobs.js";
import { newId, type Server } from "../Server.js";
import { type CompletionRequest, completionRequestSchema } from "../schemas/completions.js";

/** OpenAI's default of `max_tokens` for completions. */
const defaultMaxTokens = 16;

/** `POST /v1/completions` */
export function completions(server: Server): RequestHandler {
    return (request, response) =>
        answerRequest(server, completionRequestSchema, request, response, async (answering) => {
            const completion = await answerCompletion(server, answering);
            if (answering.stream === undefined) response.json(completion);
            else answering.stream.end(lastEvent);
        });
}

async function answerCompletion(server: Server, answering: Answering<CompletionRequest>) {
    const { engine } = server;
    const { body, signal, stream, memory, onFirstToken, onUsage } = answering;
    const sampling = samplingOf(server, body);
    const prompts = await promptsOf(server, body.prompt, { continues: memory !== undefined, signal });
    for (const prompt of prompts) engine.checkLength(prompt.length, "prompt");
    const n = body.n ?? 1;
    const head = {
        id: newId("cmpl-"),
        object: "text_completion",
        created: Math.floor(Date.now() / 1000),
        model: engine.modelId,
        system_fingerprint: engine.fingerprint
    };
    const noUsage = body.stream_options?.include_usage === true ? { usage: null } : {};
    const chunk = (choices: object[], more: object = noUsage) => ({ ...head, choices, ...more });
    const send = async (...args: Parameters<typeof chunk>) => await stream?.send(chunk(...args));

    answering.begin();
    const usage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
    const choices: object[] = [];
    const writeChoice = async (read: ReadPrompt, choice: number, index: number) => {
        let text = "";
        let offset = 0;
        const all: ShownToken[] = [];
        const logprobsOf = (shown: readonly ShownToken[]) => {
            if (body.logprobs === undefined) return null;
            const { end, ...logprobs } = completionLogprobs(engine.model, shown, offset);
            offset = end;
            return logprobs;
        };
        const { tokens, finishReason } = await generate(read.sequence, read.last, engine.collector, {
            choice,
            maxTokens: tokensToWrite(server, body.max_tokens ?? defaultMaxTokens, read.promptTokens),
            sampling,
            stop: stopStrings(body.stop),
            stopTokens: new Set(),
            logprobs: body.logprobs,
            signal,
            onPiece: async (piece: Piece) => {
                onFirstToken();
                text += piece.text;
                all.push(...piece.tokens);
                if (stream !== undefined)
                    await send([{ index, text: piece.text, logprobs: logprobsOf(piece.tokens), finish_reason: null }]);
            }
        });
        usage.completionTokens += tokens.length;
        await send([{ index, text: "", logprobs: null, finish_reason: finishReason }]);
        offset = 0;
        choices.push({ index, text, logprobs: logprobsOf(all), finish_reason: finishReason });
    };

    for (const [number, prompt] of prompts.entries()) {
        const onProgress = (progress: Parameters<typeof progressOf>[0]) =>
            stream?.offer({
                ...chunk([{ index: number * n, text: "", logprobs: null, finish_reason: null }]),
                prompt_progress: progressOf(progress)
            });
        await engine.withPrompt(
            afterMemory(memory, prompt),
            {
                param: "prompt",
                memory: memory?.snapshot,
                closeBeforeQuestion: body.armt?.closeBeforeQuestion,
                signal,
                willRewind: n > 1,
                onProgress: body.return_progress === true ? onProgress : undefined
            },
            async (read) => {
                usage.promptTokens += read.promptTokens;
                usage.cachedTokens += read.cachedTokens;
                for (let choice = 0; choice < n; choice++) {
                    if (choice > 0) await read.rewind();
                    await writeChoice(read, choice, number * n + choice);
                }
            }
        );
    }
    onUsage(usage);
    if (body.stream_options?.include_usage === true) await send([], { usage: usageOf(usage) });
    return { ...head, choices, usage: usageOf(usage) };
}

/** @throws {ApiError} for a token that the model does not have */
async function promptsOf(
    { engine }: Server,
    prompt: CompletionRequest["prompt"],
    { continues, signal }: { continues: boolean; signal: AbortSignal }
): Promise<Token[][]> {
    if (typeof prompt === "string") return [await tokensOf(prompt, "prompt")];
    if (typeof prompt[0] === "number") return [checked(prompt as number[], "prompt")];
    const prompts: Token[][] = [];
    for (const [i, item] of prompt.entries())
        prompts.push(
            typeof item === "string" ? await tokensOf(item, `prompt.${i}`) : checked(item as number[], `prompt.${i}`)
        );
    return prompts;

    async function tokensOf(text: string, param: string): Promise<Token[]> {
        const tokens = await engine.tokenize(text, { special: true, begin: !continues, signal });
        if (tokens.length === 0) throw badParameter(param, "the prompt is empty");
        return tokens;
    }

    function checked(ids: readonly number[], param: string): Token[] {
        const wrong = ids.findIndex((id) => id >= engine.vocabSize);
        if (wrong >= 0)
            throw badParameter(
                `${param}.${wrong}`,
                `there is no token ${ids[wrong]}; the model's are 0 to ${engine.vocabSize - 1}`
            );
        return ids as Token[];
    }
}
