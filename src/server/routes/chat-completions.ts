import type { RequestHandler } from "express";
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
import { checkCombinations, grammarOf, messagesOf, toolsOf } from "../chat-request.js";
import { renderChat } from "../engine/chat-prompt.js";
import type { ReadPrompt } from "../engine/Engine.js";
import { generate, type Piece } from "../engine/generate.js";
import { CallingChatWrapper, generateWithTools } from "../engine/tools.js";
import { unsupported } from "../errors.js";
import { chatLogprobs } from "../logprobs.js";
import { newId, type Server } from "../Server.js";
import { type ChatRequest, chatRequestSchema } from "../schemas/chat.js";

/** `POST /v1/chat/completions` */
export function chatCompletions(server: Server): RequestHandler {
    return (request, response) =>
        answerRequest(server, chatRequestSchema, request, response, async (answering) => {
            const completion = await answerChat(server, answering);
            if (answering.stream === undefined) response.json(completion);
            else answering.stream.end(true);
        });
}

type Call = { id: string; type: "function"; function: { name: string; arguments: string } };

async function answerChat(server: Server, answering: Answering<ChatRequest>) {
    const { engine } = server;
    const { body, signal, stream, memory, onFirstToken, onUsage } = answering;
    checkCombinations(body);
    const messages = messagesOf(body.messages);
    const tools = toolsOf(body);
    // node-llama-cpp's function calling brings the sequence to hold the chat alone
    if (tools !== undefined && memory !== undefined)
        throw unsupported("armt.memory", "`armt.memory` is not supported beside `tools`");
    const grammar = await grammarOf(engine, body.response_format);
    const sampling = samplingOf(server, body);
    const wrapper = engine.chatWrapper;
    const chatWrapper = tools?.required && wrapper !== undefined ? new CallingChatWrapper(wrapper) : wrapper;
    const chat = await renderChat(engine, messages, tools?.functions, memory !== undefined, chatWrapper);
    const n = body.n ?? 1;
    const stop = stopStrings(body.stop);
    const wantsLogprobs = body.logprobs === true;

    const head = {
        id: newId("chatcmpl-"),
        created: Math.floor(Date.now() / 1000),
        model: engine.modelId,
        system_fingerprint: engine.fingerprint
    };
    // all of OpenAI's chunks have the key if usage was requested
    const noUsage = body.stream_options?.include_usage === true ? { usage: null } : {};
    const send = async (choices: object[], more: object = noUsage) =>
        await stream?.send({ ...head, object: "chat.completion.chunk", choices, ...more });

    answering.begin();
    const usage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
    const choices: object[] = [];

    const writeChoice = async (read: ReadPrompt, index: number) => {
        let text = "";
        const logprobs: ReturnType<typeof chatLogprobs> = [];
        const calls: Call[] = [];
        await send([{ index, delta: { role: "assistant", content: "", refusal: null }, finish_reason: null }]);
        const onPiece = async (piece: Piece) => {
            onFirstToken();
            text += piece.text;
            const raw = wantsLogprobs ? chatLogprobs(engine.model, piece.logprobs) : [];
            logprobs.push(...raw);
            await send([
                {
                    index,
                    delta: { content: piece.text },
                    logprobs: wantsLogprobs ? { content: raw, refusal: null } : null,
                    finish_reason: null
                }
            ]);
        };
        const maxTokens = tokensToWrite(server, body.max_completion_tokens ?? body.max_tokens, read.promptTokens);
        const common = { choice: index, maxTokens, sampling, signal, onPiece };
        let finishReason: string;
        if (tools === undefined) {
            const { stopTokens } = chat;
            const written = await generate(read.sequence, read.last, engine.collector, {
                ...common,
                stop: [...stop, ...chat.stop],
                stopTokens,
                grammar,
                logprobs: wantsLogprobs ? (body.top_logprobs ?? 0) : undefined
            });
            usage.completionTokens += written.tokens.length;
            finishReason = written.finishReason;
        } else {
            const written = await generateWithTools(read, {
                ...common,
                stop,
                history: chat.history,
                functions: tools.functions,
                parallel: tools.parallel,
                chatWrapper: chatWrapper!,
                onCall: async ({ index: number, ...called }) => {
                    onFirstToken();
                    const call: Call = { id: newId("call_"), type: "function", function: called };
                    calls.push(call);
                    await send([{ index, delta: { tool_calls: [{ index: number, ...call }] }, finish_reason: null }]);
                }
            });
            usage.completionTokens += written.completionTokens;
            finishReason = written.finishReason;
        }
        await send([{ index, delta: {}, logprobs: null, finish_reason: finishReason }]);
        const hasCalls = calls.length > 0;
        choices.push({
            index,
            message: {
                role: "assistant",
                content: hasCalls && text === "" ? null : text,
                refusal: null,
                ...(hasCalls ? { tool_calls: calls } : {})
            },
            logprobs: wantsLogprobs ? { content: logprobs, refusal: null } : null,
            finish_reason: finishReason
        });
    };

    await engine.withPrompt(
        afterMemory(memory, chat.tokens),
        {
            param: "messages",
            memory: memory?.snapshot,
            signal,
            willRewind: n > 1,
            onProgress:
                body.return_progress === true
                    ? (progress) =>
                          void send([{ index: 0, delta: {}, finish_reason: null }], {
                              ...noUsage,
                              prompt_progress: progressOf(progress)
                          })
                    : undefined
        },
        async (read) => {
            usage.promptTokens = read.promptTokens;
            usage.cachedTokens = read.cachedTokens;
            for (let index = 0; index < n; index++) {
                if (index > 0) await read.rewind();
                await writeChoice(read, index);
            }
        }
    );
    onUsage(usage);
    if (body.stream_options?.include_usage === true) await send([], { usage: usageOf(usage) });
    return { ...head, object: "chat.completion", choices, usage: usageOf(usage) };
}
