import type { RequestHandler } from "express";
import { type Answering, answerRequest, maxTokensOf, progressOf, samplingOf, stopStrings, usageOf } from "../answer.js";
import { PreparedChat, type ReadChat } from "../chat/PreparedChat.js";
import { checkCombinations, formatOf, messagesOf, toolsOf, variablesOf } from "../chat-request.js";
import type { PromptProgress } from "../engine/Engine.js";
import { lastEvent } from "../event-stream.js";
import { chatLogprobs } from "../logprobs.js";
import { newId, type Server } from "../Server.js";
import { type ChatRequest, chatRequestSchema } from "../schemas/chat.js";
import { AnswerClock, timingsOf } from "../timings.js";

/** `POST /v1/chat/completions` */
export function chatCompletions(server: Server): RequestHandler {
    return (request, response) =>
        answerRequest(server, chatRequestSchema, request, response, async (answering) => {
            const completion = await answerChat(answering);
            if (answering.stream === undefined) response.json(completion);
            else answering.stream.end(lastEvent);
        });
}

type Call = { id: string; type: "function"; function: { name: string; arguments: string } };

async function answerChat(answering: Answering<ChatRequest>) {
    const { server, body, signal, stream, memory, onFirstToken, onUsage } = answering;
    const { engine } = server;
    checkCombinations(body);
    const wantsLogprobs = body.logprobs === true;
    const n = body.n ?? 1;
    const chat = await PreparedChat.create(
        server,
        {
            messages: messagesOf(body.messages),
            tools: toolsOf(body),
            format: formatOf(body.response_format),
            sampling: samplingOf(server, body),
            stop: stopStrings(body.stop),
            maxTokens: maxTokensOf(body, ["max_tokens", "max_completion_tokens", "n_predict"]),
            variables: variablesOf(body),
            logprobs: wantsLogprobs ? (body.top_logprobs ?? 0) : undefined,
            closeBeforeQuestion: body.armt?.closeBeforeQuestion,
            reusesPrompt: body.cache_prompt,
            param: "messages"
        },
        { memory, signal }
    );

    const head = {
        id: newId("chatcmpl-"),
        created: Math.floor(Date.now() / 1000),
        model: engine.modelId,
        system_fingerprint: engine.fingerprint
    };
    // all of OpenAI's chunks have the key if usage was requested
    const noUsage = body.stream_options?.include_usage === true ? { usage: null } : {};
    const chunk = (choices: object[], more: object = noUsage) => ({
        ...head,
        object: "chat.completion.chunk",
        choices,
        ...more
    });
    const send = async (...args: Parameters<typeof chunk>) => await stream?.send(chunk(...args));

    answering.begin();
    const usage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
    const clock = new AnswerClock();
    const choices: object[] = [];

    const writeChoice = async (read: ReadChat, index: number) => {
        const logprobs: ReturnType<typeof chatLogprobs> = [];
        let count = 0;
        const timed = () => {
            if (body.timings_per_token !== true) return noUsage;
            const soFar = { ...usage, completionTokens: usage.completionTokens + count };
            return { ...noUsage, timings: timingsOf(soFar, clock) };
        };
        const written: Call[] = [];
        // an empty text before a call would be an empty part of the message for some clients
        const content = body.tools === undefined ? "" : null;
        await send([{ index, delta: { role: "assistant", content, refusal: null }, finish_reason: null }]);
        const { text, finishReason, tokens } = await read.write(index, {
            clock,
            onPiece: async (piece) => {
                onFirstToken();
                const raw = wantsLogprobs ? chatLogprobs(engine.model, piece.tokens) : [];
                logprobs.push(...raw);
                count += piece.tokens.length;
                const choice = {
                    index,
                    delta: { content: piece.text },
                    logprobs: wantsLogprobs ? { content: raw, refusal: null } : null,
                    finish_reason: null
                };
                await send([choice], timed());
            },
            onCall: async ({ index: number, ...called }) => {
                onFirstToken();
                const call: Call = { id: newId("call_"), type: "function", function: called };
                written.push(call);
                const delta = { tool_calls: [{ index: number, ...call }] };
                await send([{ index, delta, finish_reason: null }]);
            }
        });
        usage.completionTokens += tokens.length;
        const isLast = index === n - 1 && body.stream_options?.include_usage !== true;
        await send(
            [{ index, delta: {}, logprobs: null, finish_reason: finishReason }],
            isLast ? { ...noUsage, timings: timingsOf(usage, clock) } : noUsage
        );
        const hasCalls = written.length > 0;
        choices.push({
            index,
            message: {
                role: "assistant",
                content: hasCalls && text === "" ? null : text,
                refusal: null,
                ...(hasCalls ? { tool_calls: written } : {})
            },
            logprobs: wantsLogprobs ? { content: logprobs, refusal: null } : null,
            finish_reason: finishReason
        });
    };

    const onProgress = (progress: PromptProgress) =>
        stream?.offer({
            ...chunk([{ index: 0, delta: {}, finish_reason: null }]),
            prompt_progress: progressOf(progress)
        });
    await chat.run(
        { signal, choices: n, onProgress: body.return_progress === true ? onProgress : undefined },
        async (read) => {
            usage.promptTokens = read.promptTokens;
            usage.cachedTokens = read.cachedTokens;
            clock.readMs = read.readMs;
            for (let index = 0; index < n; index++) await writeChoice(read, index);
        }
    );
    onUsage(usage);
    const timings = timingsOf(usage, clock);
    if (body.stream_options?.include_usage === true) await send([], { usage: usageOf(usage), timings });
    return { ...head, object: "chat.completion", choices, usage: usageOf(usage), timings };
}
