import type { RequestHandler, Response } from "express";
import type { Token } from "../../../../plugin/index.js";
import { TokenBytes } from "../../../generation/TokenBytes.js";
import {
    type Answering,
    afterMemory,
    answerRequest,
    maxTokensOf,
    progressOf,
    samplingOf,
    stopStrings,
    tokensToWrite
} from "../../answer.js";
import type { Engine, ReadPrompt } from "../../engine/Engine.js";
import { type Generated, generate, type Piece, type ShownToken } from "../../engine/generate.js";
import { checkEnds, formatGrammar } from "../../engine/grammar.js";
import type { Sampling } from "../../engine/sampling.js";
import { badParameter } from "../../errors.js";
import { chatLogprobs } from "../../logprobs.js";
import { checkTokens, promptOf, textOfTokens } from "../../prompts.js";
import type { ModelServer, Server } from "../../Server.js";
import {
    infillRequestSchema,
    type LlamaCompletionRequest,
    llamaCompletionRequestSchema,
    type PromptParts
} from "../../schemas/llama-server.js";
import { AnswerClock, timingsOf } from "../../timings.js";
import { infillPrompt } from "./infill-prompt.js";
import { pickFields } from "./pick-fields.js";
import { settingsOf } from "./settings.js";
import { slotOf } from "./slots.js";

/** `POST /completion` and `/completions`: llama-server's own form of completions. */
export function llamaCompletion(server: Server): RequestHandler {
    return (request, response) =>
        answerRequest(server, llamaCompletionRequestSchema, request, response, async (answering) => {
            const { server, body, memory, signal } = answering;
            const { prompts, isList } = body.prompt;
            const continues = memory !== undefined;
            const tokens: Token[][] = [];
            for (const [i, parts] of prompts.entries())
                tokens.push(
                    await tokensOf(server.engine, parts, isList ? `prompt.${i}` : "prompt", { continues, signal })
                );
            sendResults(response, answering, await answerCompletion(answering, tokens), isList);
        });
}

/** `POST /infill`: a completion between a prefix and a suffix, by a model that was trained for that. */
export function infill(server: Server): RequestHandler {
    return (request, response) =>
        answerRequest(server, infillRequestSchema, request, response, async (answering) => {
            const { server, body, signal } = answering;
            const prompt = await infillPrompt(server.engine, body, signal);
            sendResults(response, answering, await answerCompletion(answering, [prompt]), false);
        });
}

function sendResults(response: Response, { stream }: Answering<unknown>, results: object[], isList: boolean): void {
    if (stream === undefined) response.json(isList || results.length > 1 ? results : results[0]);
    else stream.end();
}

async function answerCompletion(
    answering: Answering<Omit<LlamaCompletionRequest, "prompt">>,
    prompts: readonly (readonly Token[])[]
): Promise<object[]> {
    const { server, body, signal, stream, memory, onUsage } = answering;
    const { engine } = server;
    for (const prompt of prompts) engine.checkLength(prompt.length, "prompt");
    const n = maxTokensOf(body, ["n_cmpl", "n"]) ?? 1;
    const sampling = await samplingFor(server, body);
    const maxTokens = maxTokensOf(body, ["n_predict", "max_tokens"]);
    if (body.json_schema !== undefined) checkEnds(engine.model, "json_schema");
    const format = { type: "json_schema", schema: body.json_schema, param: "json_schema" } as const;
    const grammar =
        body.json_schema === undefined
            ? undefined
            : await formatGrammar(engine.model.llama, format, "json_schema", signal);
    const settings = settingsOf(server, { body, sampling, maxTokens });

    answering.begin();
    const total = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
    const results: object[] = [];
    const writeOne = async (read: ReadPrompt, prompt: readonly Token[], index: number, choice: number) => {
        const { promptTokens, cachedTokens, sequence } = read;
        const clock = new AnswerClock(read.readMs);
        const shown: ShownToken[] = [];
        let content = "";
        const probabilitiesOf = (tokens: readonly ShownToken[]) =>
            (body.n_probs ?? 0) > 0 ? { completion_probabilities: probabilities(engine, tokens) } : {};
        const timings = (completionTokens: number) =>
            timingsOf({ promptTokens, cachedTokens, completionTokens }, clock);
        const head = { index, id_slot: slotOf(sequence) };
        clock.begin();
        const written = await generate(sequence, read.last, engine.collector, {
            choice,
            maxTokens: tokensToWrite(server, maxTokens, promptTokens),
            sampling,
            stop: stopStrings(body.stop),
            stopTokens: new Set(),
            grammar,
            logprobs: (body.n_probs ?? 0) > 0 ? body.n_probs : undefined,
            signal,
            onFirst: clock.onFirst,
            onPiece: async ({ text, tokens }: Piece) => {
                answering.onFirstToken();
                content += text;
                shown.push(...tokens);
                await stream?.send({
                    ...head,
                    content: text,
                    tokens: tokens.map(({ token }) => token),
                    stop: false,
                    tokens_predicted: shown.length,
                    tokens_evaluated: promptTokens,
                    ...(body.timings_per_token === true ? { timings: timings(shown.length) } : {}),
                    ...probabilitiesOf(tokens)
                });
            }
        });
        const { tokens } = written;
        total.completionTokens += tokens.length;
        const result = {
            ...head,
            content: stream === undefined ? content : "",
            tokens: stream === undefined && body.return_tokens === true ? tokens : [],
            stop: true,
            model: engine.modelId,
            tokens_predicted: tokens.length,
            tokens_evaluated: promptTokens,
            generation_settings: settings,
            prompt: engine.hasTokenizer ? await textOfTokens(engine, prompt, signal) : "",
            has_new_line: content.includes("\n"),
            truncated: false,
            ...stopOf(written),
            tokens_cached: cachedTokens,
            timings: timings(tokens.length),
            ...(stream === undefined ? probabilitiesOf(shown) : {})
        };
        const answer = body.response_fields === undefined ? result : pickFields(result, body.response_fields);
        await stream?.send(answer);
        results.push(answer);
    };

    for (const [number, prompt] of prompts.entries())
        await engine.withPrompt(
            afterMemory(memory, prompt),
            {
                param: "prompt",
                memory: memory?.snapshot,
                closeBeforeQuestion: body.armt?.closeBeforeQuestion,
                signal,
                reusesPrompt: body.cache_prompt,
                willRewind: n > 1,
                onProgress:
                    body.return_progress !== true
                        ? undefined
                        : (progress) =>
                              stream?.offer({
                                  index: number * n,
                                  content: "",
                                  tokens: [],
                                  stop: false,
                                  prompt_progress: progressOf(progress)
                              })
            },
            async (read) => {
                total.promptTokens += read.promptTokens;
                total.cachedTokens += read.cachedTokens;
                for (let choice = 0; choice < n; choice++) {
                    if (choice > 0) await read.rewind();
                    await writeOne(read, prompt, number * n + choice, choice);
                }
            }
        );
    onUsage(total);
    return results;
}

/** The begin token is put in front of a prompt that begins with text. */
async function tokensOf(
    engine: Engine,
    parts: PromptParts,
    param: string,
    { continues, signal }: { continues: boolean; signal: AbortSignal }
): Promise<Token[]> {
    if (!parts.some((part) => typeof part === "string")) return checkTokens(engine, parts as number[], param);
    const tokens: Token[] = [];
    let ids: number[] = [];
    for (const [i, part] of [...parts, ""].entries()) {
        if (typeof part === "number") {
            ids.push(part);
            continue;
        }
        for (const id of checkTokens(engine, ids, param)) tokens.push(id);
        ids = [];
        if (part === "") continue;
        for (const id of await promptOf(engine, part, param, { continues: continues || i > 0, signal }))
            tokens.push(id);
    }
    if (tokens.length === 0) throw badParameter(param, "the prompt is empty");
    return tokens;
}

async function samplingFor(server: ModelServer, body: Omit<LlamaCompletionRequest, "prompt">): Promise<Sampling> {
    const { engine } = server;
    const { logit_bias = [], temperature, top_k, ...rest } = body;
    const logitBias: Record<string, number> = {};
    const isList = Array.isArray(logit_bias);
    const entries = isList ? logit_bias : Object.entries(logit_bias);
    for (const [given, bias] of entries) {
        const value = bias === false ? Number.NEGATIVE_INFINITY : bias;
        const isId = typeof given === "number" || (!isList && /^\d{1,10}$/.test(given));
        const ids = isId ? [Number(given)] : await engine.tokenize(String(given));
        for (const id of ids) logitBias[id] = value;
    }
    if (body.ignore_eos === true)
        for (const token of TokenBytes.of(engine.model).specialTokens.values())
            if (engine.model.isEogToken(token)) logitBias[token] = Number.NEGATIVE_INFINITY;
    return samplingOf(server, {
        ...rest,
        logit_bias: logitBias,
        temperature: temperature && Math.max(0, temperature),
        top_k: top_k && Math.max(0, top_k)
    });
}

function stopOf({ finishReason, stopString }: Generated) {
    if (stopString !== undefined) return { stop_type: "word", stopping_word: stopString };
    return { stop_type: finishReason === "length" ? "limit" : "eos", stopping_word: "" };
}

function probabilities({ model }: Engine, tokens: readonly ShownToken[]) {
    return chatLogprobs(model, tokens).map(({ top_logprobs, ...own }, i) => ({
        id: tokens[i]!.token,
        ...own,
        top_logprobs: top_logprobs.map((top, k) => ({ id: tokens[i]!.logprobs?.top[k]?.token, ...top }))
    }));
}
