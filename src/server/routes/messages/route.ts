import type { RequestHandler } from "express";
import { type Answering, answerRequest, samplingOf } from "../../answer.js";
import { PreparedChat, type WrittenAnswer } from "../../chat/PreparedChat.js";
import type { ApiError } from "../../errors.js";
import type { EventStream } from "../../event-stream.js";
import { sendJson } from "../../JsonText.js";
import { readJsonBody } from "../../json-body.js";
import { modelOf, withModel } from "../../models/with-model.js";
import { newId, type Server } from "../../Server.js";
import {
    countTokensRequestSchema,
    type MessageRequest,
    type MessageResponse,
    messageRequestSchema
} from "../../schemas/messages.js";
import { validate } from "../../validate.js";
import { withSignal } from "../../with-signal.js";
import { ContentWriter } from "./ContentWriter.js";
import { errorBody } from "./error-body.js";
import { formatOf, messagesOf, toolsOf } from "./translate.js";

/** `POST /v1/messages`, as Anthropic's clients use it. */
export function createMessage(server: Server): RequestHandler {
    return (request, response) =>
        answerRequest(
            server,
            messageRequestSchema,
            request,
            response,
            async (answering) => {
                const message = await answerMessage(answering);
                if (answering.stream === undefined) sendJson(response, message);
                else answering.stream.end();
            },
            { endWithError: (stream: EventStream, error: ApiError) => stream.end(errorBody(error), "error") }
        );
}

/** `POST /v1/messages/count_tokens` */
export function countTokens(server: Server): RequestHandler {
    return withSignal(server, async (request, response, signal) => {
        const body = validate(countTokensRequestSchema, await readJsonBody(request, server));
        const id = body.armt?.memory;
        const memory = id === undefined ? undefined : server.registry.get(id, "armt.memory");
        const { messages } = messagesOf(body);
        const tools = toolsOf(body);
        const { promptTokens } = await withModel(server, modelOf(server, { ...body, memory }), signal, (server) =>
            PreparedChat.create(
                server,
                { messages, tools, sampling: samplingOf(server, {}), param: "messages" },
                { memory, signal }
            )
        );
        response.json({ input_tokens: promptTokens });
    });
}

async function answerMessage(answering: Answering<MessageRequest>): Promise<MessageResponse> {
    const { server, body, signal, stream, memory, onFirstToken, onUsage } = answering;
    const chat = await PreparedChat.create(
        server,
        {
            ...messagesOf(body),
            tools: toolsOf(body),
            format: formatOf(body),
            formatParam: "output_config.format",
            sampling: samplingOf(server, body),
            stop: body.stop_sequences,
            maxTokens: body.max_tokens,
            closeBeforeQuestion: body.armt?.closeBeforeQuestion,
            param: "messages"
        },
        { memory, signal }
    );
    const send = async (type: string, data: object) => await stream?.send({ type, ...data }, type);
    answering.begin();
    return await chat.run({ signal }, async (read) => {
        const { promptTokens, cachedTokens, keptTokens } = read;
        const message: MessageResponse = {
            id: newId("msg_"),
            type: "message",
            role: "assistant",
            model: server.engine.modelId,
            content: [],
            stop_reason: null,
            stop_sequence: null,
            usage: {
                input_tokens: promptTokens - cachedTokens - keptTokens,
                cache_creation_input_tokens: keptTokens,
                cache_read_input_tokens: cachedTokens,
                output_tokens: 0
            }
        };
        // the counts are known once the prompt is read
        await send("message_start", { message });
        const content = new ContentWriter(message.content, send);
        const answer = await read.write(0, {
            onPiece: async (piece) => {
                onFirstToken();
                await content.addText(piece.text);
            },
            onCall: async (call) => {
                onFirstToken();
                await content.addCall(call);
            }
        });
        await content.end();
        const { stop_reason, stop_sequence } = stopOf(answer);
        const completionTokens = answer.tokens.length;
        Object.assign(message, { stop_reason, stop_sequence });
        message.usage.output_tokens = completionTokens;
        onUsage({ promptTokens, cachedTokens, completionTokens });
        await send("message_delta", { delta: { stop_reason, stop_sequence }, usage: message.usage });
        await send("message_stop", {});
        return message;
    });
}

function stopOf({ finishReason, stopString }: WrittenAnswer): Pick<MessageResponse, "stop_reason" | "stop_sequence"> {
    if (stopString !== undefined) return { stop_reason: "stop_sequence", stop_sequence: stopString };
    const reasons = { stop: "end_turn", length: "max_tokens", tool_calls: "tool_use" } as const;
    return { stop_reason: reasons[finishReason], stop_sequence: null };
}
