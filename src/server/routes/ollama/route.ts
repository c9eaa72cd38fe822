import type { RequestHandler } from "express";
import { type Answering, answerRequest, samplingOf, stopStrings } from "../../answer.js";
import { PreparedChat } from "../../chat/PreparedChat.js";
import type { ChatQuery } from "../../chat/query.js";
import type { ShownToken } from "../../engine/generate.js";
import { ApiError, badParameter, unsupported } from "../../errors.js";
import { jsonText, sendJson } from "../../JsonText.js";
import { readJsonBody } from "../../json-body.js";
import { chatLogprobs } from "../../logprobs.js";
import { modelOf } from "../../models/with-model.js";
import type { Server } from "../../Server.js";
import {
    type OllamaChatRequest,
    type OllamaGenerateRequest,
    ollamaChatRequestSchema,
    ollamaEmbedRequestSchema,
    ollamaGenerateRequestSchema
} from "../../schemas/ollama.js";
import { AnswerClock } from "../../timings.js";
import { validate } from "../../validate.js";
import { errorBody } from "./error-body.js";
import { formatOf, messagesOf, toolsOf } from "./translate.js";

type Part = { text: string } | { call: { name: string; arguments: Record<string, unknown> } };
type Answer = { text: string; calls: { function: { name: string; arguments: Record<string, unknown> } }[] };

const form = {
    encoding: "ndjson",
    endWithError: (stream: { end: (last: object) => void }, error: ApiError) => stream.end(errorBody(error))
} as const;

/** `POST /api/chat`, as Ollama's clients use it. */
export function ollamaChat(server: Server): RequestHandler {
    return (request, response) =>
        answerRequest(
            server,
            ollamaChatRequestSchema,
            request,
            response,
            async (answering) => {
                const { body, stream } = answering;
                const query =
                    body.messages.length === 0
                        ? undefined
                        : { messages: messagesOf(body.messages), tools: toolsOf(body), param: "messages" };
                const message = (part: Answer) => ({
                    message: {
                        role: "assistant",
                        content: part.text,
                        ...(part.calls.length === 0 ? {} : { tool_calls: part.calls })
                    }
                });
                const answer = await answerOllama(answering, query, message);
                if (stream === undefined) sendJson(response, answer);
                else stream.end(answer);
            },
            form
        );
}

/** `POST /api/generate` */
export function ollamaGenerate(server: Server): RequestHandler {
    return (request, response) =>
        answerRequest(
            server,
            ollamaGenerateRequestSchema,
            request,
            response,
            async (answering) => {
                const { body, stream } = answering;
                const system = body.system === undefined ? [] : [{ role: "system" as const, text: body.system }];
                const query =
                    body.prompt === undefined
                        ? undefined
                        : { messages: [...system, { role: "user" as const, text: body.prompt }], param: "prompt" };
                const answer = await answerOllama(answering, query, ({ text }) => ({ response: text }));
                if (stream === undefined) sendJson(response, answer);
                else stream.end(answer);
            },
            form
        );
}

/** `POST /api/embed` and `/api/embeddings` */
export function ollamaEmbed(server: Server): RequestHandler {
    return async (request) => {
        const id = modelOf(server, validate(ollamaEmbedRequestSchema, await readJsonBody(request, server)));
        throw new ApiError(501, `${id} is a language model and makes no embeddings`);
    };
}

/** @returns the last object of a stream, or the whole answer */
async function answerOllama(
    answering: Answering<OllamaChatRequest | OllamaGenerateRequest>,
    query: Pick<ChatQuery, "messages" | "tools" | "param"> | undefined,
    shape: (answer: Answer) => object
): Promise<object> {
    const { server, body, signal, stream, onFirstToken, onUsage } = answering;
    const started = performance.now();
    const head = () => ({ model: server.engine.modelId, created_at: new Date().toISOString() });
    if (query === undefined) {
        // a request without a text only asks for the model to be loaded
        answering.begin();
        return { ...head(), ...shape({ text: "", calls: [] }), done: true, done_reason: "load" };
    }
    const { options } = body;
    const limit = options?.num_predict;
    const logprobs = body.logprobs === true ? (body.top_logprobs ?? 0) : undefined;
    if (logprobs === undefined && (body.top_logprobs ?? 0) > 0)
        throw badParameter("top_logprobs", "`top_logprobs` is for requests with `logprobs: true`");
    if (logprobs !== undefined && query.tools !== undefined)
        throw unsupported("logprobs", "`logprobs` is not supported beside `tools`");
    const chat = await PreparedChat.create(
        server,
        {
            ...query,
            format: formatOf(body),
            formatParam: "format",
            sampling: samplingOf(server, options ?? {}),
            stop: stopStrings(options?.stop),
            maxTokens: limit === undefined || limit < 0 ? undefined : limit,
            logprobs
        },
        { signal }
    );
    answering.begin();
    return await chat.run({ signal }, async (read) => {
        const calls: Answer["calls"] = [];
        const shown: ShownToken[] = [];
        const probabilities = (tokens: readonly ShownToken[]) =>
            logprobs === undefined || tokens.length === 0
                ? {}
                : { logprobs: chatLogprobs(server.engine.model, tokens) };
        const send = async (part: Part, tokens: readonly ShownToken[] = []) => {
            onFirstToken();
            const isText = "text" in part;
            const called = isText ? [] : [{ function: part.call }];
            calls.push(...called);
            shown.push(...tokens);
            const shaped = shape({ text: isText ? part.text : "", calls: called });
            await stream?.send({ ...head(), ...shaped, ...probabilities(tokens), done: false });
        };
        const clock = new AnswerClock(read.readMs);
        const { text, finishReason, tokens } = await read.write(0, {
            clock,
            onPiece: async (piece) => await send({ text: piece.text }, piece.tokens),
            onCall: async ({ name, arguments: json }) => await send({ call: { name, arguments: jsonText(json) } })
        });
        const { promptTokens, cachedTokens } = read;
        onUsage({ promptTokens, cachedTokens, completionTokens: tokens.length });
        return {
            ...head(),
            ...shape(stream === undefined ? { text, calls } : { text: "", calls: [] }),
            ...(stream === undefined ? probabilities(shown) : {}),
            done: true,
            done_reason: finishReason === "length" ? "length" : "stop",
            total_duration: nanoseconds(performance.now() - started),
            load_duration: 0,
            prompt_eval_count: promptTokens,
            prompt_eval_duration: nanoseconds(clock.readMs),
            eval_count: tokens.length,
            eval_duration: nanoseconds(clock.writeMs)
        };
    });
}

function nanoseconds(milliseconds: number): number {
    return Math.round(milliseconds * 1e6);
}
