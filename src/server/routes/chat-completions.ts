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
import type { ReadPrompt } from "../engine/Engine.js";
import { generate, type Piece } from "../engine/generate.js";
import { checkEnds } from "../engine/grammar.js";
import { CallGrammar, forcedStart, generateWithTools } from "../engine/tools.js";
import { lastEvent } from "../event-stream.js";
import { chatLogprobs } from "../logprobs.js";
import { newId, type Server } from "../Server.js";
import { type ChatRequest, chatRequestSchema } from "../schemas/chat.js";

/** `POST /v1/chat/completions` */
export function chatCompletions(server: Server): RequestHandler {
    return (request, response) =>
        answerRequest(server, chatRequestSchema, request, response, async (answering) => {
            const completion = await answerChat(server, answering);
            if (answering.stream === undefined) response.json(completion);
            else answering.stream.end(lastEvent);
        });
}

type Call = { id: string; type: "function"; function: { name: string; arguments: string } };

async function answerChat(server: Server, answering: Answering<ChatRequest>) {
    const { engine } = server;
    const { body, signal, stream, memory, onFirstToken, onUsage } = answering;
    checkCombinations(body);
    const messages = messagesOf(body.messages);
    const tools = toolsOf(body);
    if (tools !== undefined) checkEnds(engine.model, "tools");
    const grammar = await grammarOf(engine, body.response_format);
    const sampling = samplingOf(server, body);
    const chat = await engine.renderChat(messages, {
        continues: memory !== undefined,
        tools: tools?.tools,
        answer: (syntax) => (tools === undefined ? "" : forcedStart(tools, syntax)),
        variables: body.chat_template_kwargs,
        signal
    });
    const calls = tools && (await CallGrammar.create(engine.model, tools, chat.syntax));
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
    const chunk = (choices: object[], more: object = noUsage) => ({
        ...head,
        object: "chat.completion.chunk",
        choices,
        ...more
    });
    const send = async (...args: Parameters<typeof chunk>) => await stream?.send(chunk(...args));

    answering.begin();
    const usage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
    const choices: object[] = [];

    const writeChoice = async (read: ReadPrompt, index: number) => {
        let text = "";
        const logprobs: ReturnType<typeof chatLogprobs> = [];
        const written: Call[] = [];
        await send([{ index, delta: { role: "assistant", content: "", refusal: null }, finish_reason: null }]);
        const onPiece = async (piece: Piece) => {
            onFirstToken();
            text += piece.text;
            const raw = wantsLogprobs ? chatLogprobs(engine.model, piece.tokens) : [];
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
        const { stopTokens } = chat;
        const common = { choice: index, maxTokens, sampling, signal, stop, stopTokens, onPiece };
        const { sequence, last } = read;
        const { finishReason, tokens } =
            calls === undefined
                ? await generate(sequence, last, engine.collector, {
                      ...common,
                      grammar,
                      logprobs: wantsLogprobs ? (body.top_logprobs ?? 0) : undefined
                  })
                : await generateWithTools(sequence, last, engine.collector, {
                      ...common,
                      grammar: calls,
                      onCall: async ({ index: number, ...called }) => {
                          onFirstToken();
                          const call: Call = { id: newId("call_"), type: "function", function: called };
                          written.push(call);
                          const delta = { tool_calls: [{ index: number, ...call }] };
                          await send([{ index, delta, finish_reason: null }]);
                      }
                  });
        usage.completionTokens += tokens.length;
        await send([{ index, delta: {}, logprobs: null, finish_reason: finishReason }]);
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

    await engine.withPrompt(
        afterMemory(memory, chat.tokens),
        {
            param: "messages",
            memory: memory?.snapshot,
            questionAt: memory?.unread.length,
            closeBeforeQuestion: body.armt?.closeBeforeQuestion,
            signal,
            willRewind: n > 1,
            onProgress:
                body.return_progress === true
                    ? (progress) =>
                          stream?.offer({
                              ...chunk([{ index: 0, delta: {}, finish_reason: null }]),
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
