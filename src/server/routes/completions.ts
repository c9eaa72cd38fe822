import type { RequestHandler } from "express";
import type { LlamaModel, Token } from "../../../plugin/index.js";
import { TextStream } from "../../generation/TextStream.js";
import {
    type Answering,
    afterMemory,
    answerRequest,
    maxTokensOf,
    progressOf,
    samplingOf,
    stopStrings,
    tokensToWrite,
    usageOf
} from "../answer.js";
import type { ReadPrompt } from "../engine/Engine.js";
import { generate, type Piece } from "../engine/generate.js";
import type { RawLogprobs } from "../engine/raw-logprobs.js";
import { unsupported } from "../errors.js";
import { lastEvent } from "../event-stream.js";
import { type CompletionToken, completionLogprobs } from "../logprobs.js";
import { promptsOf } from "../prompts.js";
import { newId, type Server } from "../Server.js";
import { type CompletionRequest, completionRequestSchema } from "../schemas/completions.js";
import { AnswerClock, timingsOf } from "../timings.js";

/** OpenAI's default of `max_tokens` for completions. */
const defaultMaxTokens = 16;

/** `POST /v1/completions` */
export function completions(server: Server): RequestHandler {
    return (request, response) =>
        answerRequest(server, completionRequestSchema, request, response, async (answering) => {
            const completion = await answerCompletion(answering);
            if (answering.stream === undefined) response.json(completion);
            else answering.stream.end(lastEvent);
        });
}

async function answerCompletion(answering: Answering<CompletionRequest>) {
    const { server, body, signal, stream, memory, onFirstToken, onUsage } = answering;
    const { engine } = server;
    const sampling = samplingOf(server, body);
    const wanted = maxTokensOf(body, ["max_tokens", "n_predict"]) ?? defaultMaxTokens;
    const prompts = await promptsOf(server, body.prompt, { continues: memory !== undefined, signal });
    for (const prompt of prompts) engine.checkLength(prompt.length, "prompt");
    const promptLogprobs = body.echo === true ? body.logprobs : undefined;
    if (promptLogprobs !== undefined && memory !== undefined)
        throw unsupported("echo", "log-probabilities of the prompt are not supported with `armt.memory`");
    const texts = typeof body.prompt === "string" ? [body.prompt] : body.prompt;
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
    const clock = new AnswerClock();
    const choices: object[] = [];
    const writeChoice = async (read: ReadPrompt, choice: number, index: number, echo: readonly CompletionToken[]) => {
        let text = echo.map((token) => token.text).join("");
        let offset = 0;
        const all: CompletionToken[] = [...echo];
        const timed = () => {
            if (body.timings_per_token !== true) return noUsage;
            const soFar = { ...usage, completionTokens: usage.completionTokens + all.length - echo.length };
            return { ...noUsage, timings: timingsOf(soFar, clock) };
        };
        const logprobsOf = (shown: readonly CompletionToken[]) => {
            if (body.logprobs === undefined) return null;
            const { end, ...logprobs } = completionLogprobs(engine.model, shown, offset);
            offset = end;
            return logprobs;
        };
        if (echo.length > 0) await send([{ index, text, logprobs: logprobsOf(echo), finish_reason: null }]);
        clock.begin();
        const { tokens, finishReason } = await generate(read.sequence, read.last, engine.collector, {
            choice,
            maxTokens: tokensToWrite(server, wanted, read.promptTokens),
            sampling,
            stop: stopStrings(body.stop),
            stopTokens: new Set(),
            logprobs: body.logprobs,
            signal,
            onFirst: clock.onFirst,
            onPiece: async (piece: Piece) => {
                onFirstToken();
                text += piece.text;
                all.push(...piece.tokens);
                if (stream === undefined) return;
                const choice = {
                    index,
                    text: piece.text,
                    logprobs: logprobsOf(piece.tokens),
                    finish_reason: null
                };
                await send([choice], timed());
            }
        });
        usage.completionTokens += tokens.length;
        clock.end();
        const isLast = index === prompts.length * n - 1 && body.stream_options?.include_usage !== true;
        await send(
            [{ index, text: "", logprobs: null, finish_reason: finishReason }],
            isLast ? { ...noUsage, timings: timingsOf(usage, clock) } : noUsage
        );
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
                reusesPrompt: body.cache_prompt,
                willRewind: n > 1,
                onProgress: body.return_progress === true ? onProgress : undefined,
                logprobs: promptLogprobs
            },
            async (read) => {
                usage.promptTokens += read.promptTokens;
                usage.cachedTokens += read.cachedTokens;
                clock.readMs += read.readMs;
                const echo = body.echo === true ? echoOf(engine.model, prompt, texts[number], read.logprobs) : [];
                for (let choice = 0; choice < n; choice++) {
                    if (choice > 0) await read.rewind();
                    await writeChoice(read, choice, number * n + choice, echo);
                }
            }
        );
    }
    onUsage(usage);
    const timings = timingsOf(usage, clock);
    if (body.stream_options?.include_usage === true) await send([], { usage: usageOf(usage), timings });
    return { ...head, choices, usage: usageOf(usage), timings };
}

/**
 * The tokens of a prompt with their texts. The begin token is left out, unless the client gave it.
 * @param given the prompt in the request
 * @param logprobs of each token but the first one
 */
function echoOf(
    model: LlamaModel,
    prompt: readonly Token[],
    given: unknown,
    logprobs: readonly RawLogprobs[] | undefined
): CompletionToken[] {
    const { bos, bosString } = model.tokens;
    const isAdded = typeof given === "string" && prompt[0] === bos && !given.startsWith(bosString ?? "");
    const skipped = isAdded ? 1 : 0;
    const stream = new TextStream(model, { special: true, continues: typeof given === "string" });
    const texts = prompt.slice(skipped).map((token) => stream.push(token));
    texts.push((texts.pop() ?? "") + stream.end());
    if (typeof given === "string") removeAddedSpace(texts, given);
    return texts.map((text, i) => {
        const place = i + skipped;
        return { text, logprobs: place === 0 ? null : logprobs?.[place - 1] };
    });
}

/** Some vocabularies put a space before a text, or before its part behind a special token. */
function removeAddedSpace(texts: string[], given: string): void {
    let at = 0;
    for (const [i, text] of texts.entries()) {
        if (given.startsWith(text, at)) {
            at += text.length;
            continue;
        }
        let space = 0;
        while (text[space] === given[at + space]) space++;
        const without = text.slice(0, space) + text.slice(space + 1);
        if (text[space] === " " && given.startsWith(without, at)) texts[i] = without;
        return;
    }
}
