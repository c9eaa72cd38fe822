import type { RequestHandler } from "express";
import type { Message, ToolCall } from "../../../generation/chat-template/messages.js";
import { type Answering, answerRequest, samplingOf } from "../../answer.js";
import { PreparedChat } from "../../chat/PreparedChat.js";
import { type ApiError, badParameter, unsupported } from "../../errors.js";
import type { EventStream } from "../../event-stream.js";
import { sendJson } from "../../JsonText.js";
import { chatLogprobs } from "../../logprobs.js";
import { newId, type Server } from "../../Server.js";
import { type ResponseBody, type ResponseRequest, responseRequestSchema } from "../../schemas/responses.js";
import { messagesOf } from "./input.js";
import { OutputWriter } from "./OutputWriter.js";
import { describeTools, formatOf, toolsOf } from "./tools.js";

/** `POST /v1/responses`: answers with text or calls, and conversations that the server remembers. */
export function createResponse(server: Server): RequestHandler {
    return (request, response) =>
        answerRequest(
            server,
            responseRequestSchema,
            request,
            response,
            async (answering) => {
                const id = newId("resp_");
                const body = await server.responses.whileWriting(id, () => answerResponse(answering, id));
                if (answering.stream === undefined) sendJson(response, body);
                else answering.stream.end();
            },
            {
                endWithError,
                memoryOf: ({ previous_response_id: id }) =>
                    id === undefined ? undefined : server.responses.memoryOf(id)
            }
        );
}

/** `GET /v1/responses/{id}` */
export function getResponse({ responses }: Server): RequestHandler {
    return (request, response) => {
        sendJson(response, responses.get(String(request.params.id)).body);
    };
}

/** `DELETE /v1/responses/{id}` */
export function deleteResponse({ responses }: Server): RequestHandler {
    return (request, response) => {
        const id = String(request.params.id);
        responses.delete(id);
        response.json({ id, object: "response", deleted: true });
    };
}

/** Clients look for the failure in the event itself or in its `error`. */
function endWithError(stream: EventStream, { body: { error } }: ApiError): void {
    stream.end({ ...error, type: "error", error }, "error");
}

async function answerResponse(answering: Answering<ResponseRequest>, id: string): Promise<ResponseBody> {
    const { server, body, signal, stream, onFirstToken, onUsage } = answering;
    const { engine, responses, registry } = server;
    const previous =
        body.previous_response_id === undefined
            ? undefined
            : responses.get(body.previous_response_id, "previous_response_id");
    if (previous?.memory !== undefined && answering.memory !== undefined && previous.memory !== answering.memory.id)
        throw badParameter("armt.memory", "the conversation continues another memory");
    const memory =
        answering.memory ??
        (previous?.memory === undefined ? undefined : registry.get(previous.memory, "previous_response_id"));
    const notes: string[] = [];
    const note = (text: string) => notes.push(text);
    const messages = messagesOf(body.input, {
        previous: previous?.messages ?? [],
        itemOf: (id, param) => responses.item(id, param),
        note
    });
    const sampling = samplingOf(server, body);
    const tools = toolsOf(body, note);
    const logprobs = logprobsOf(body, tools !== undefined);
    // as in OpenAI's API, instructions are for this response alone
    const instructions: Message[] =
        body.instructions === undefined ? [] : [{ role: "system", text: body.instructions }];
    const chat = await PreparedChat.create(
        server,
        {
            messages: [...instructions, ...messages],
            tools,
            format: formatOf(body),
            formatParam: "text.format",
            sampling,
            maxTokens: body.max_output_tokens,
            variables: body.chat_template_kwargs,
            closeBeforeQuestion: body.armt?.closeBeforeQuestion,
            logprobs,
            param: "input"
        },
        { memory, signal }
    );
    const store = body.store ?? true;
    const response: ResponseBody = {
        id,
        object: "response",
        created_at: Math.floor(Date.now() / 1000),
        status: "in_progress",
        background: false,
        error: null,
        incomplete_details: null,
        instructions: body.instructions ?? null,
        max_output_tokens: body.max_output_tokens ?? null,
        model: engine.modelId,
        output: [],
        parallel_tool_calls: body.parallel_tool_calls ?? true,
        previous_response_id: body.previous_response_id ?? null,
        reasoning: { effort: null, summary: null },
        service_tier: "default",
        store,
        temperature: sampling.temperature,
        text: { format: body.text?.format ?? { type: "text" } },
        tool_choice: body.tool_choice ?? "auto",
        tools: describeTools(body),
        top_logprobs: logprobs ?? 0,
        top_p: sampling.topP,
        truncation: "disabled",
        usage: null,
        metadata: body.metadata ?? {},
        ...(notes.length === 0 ? {} : { armt: { notes } })
    };
    let number = 0;
    const send = async (type: string, data: object) =>
        await stream?.send({ type, sequence_number: number++, ...data }, type);

    answering.begin();
    await send("response.created", { response });
    await send("response.in_progress", { response });
    const output = new OutputWriter(response.output, send);
    const calls: ToolCall[] = [];
    const text = await chat.run({ signal }, async (read) => {
        const { text, tokens, finishReason } = await read.write(0, {
            onPiece: async (piece) => {
                onFirstToken();
                await output.addText(
                    piece.text,
                    logprobs === undefined ? [] : chatLogprobs(engine.model, piece.tokens)
                );
            },
            onCall: async (call) => {
                onFirstToken();
                calls.push({ id: await output.addCall(call), name: call.name, arguments: call.arguments });
            }
        });
        const isWhole = finishReason !== "length";
        response.status = isWhole ? "completed" : "incomplete";
        response.incomplete_details = isWhole ? null : { reason: "max_output_tokens" };
        const { promptTokens, cachedTokens } = read;
        response.usage = {
            input_tokens: promptTokens,
            input_tokens_details: { cached_tokens: cachedTokens },
            output_tokens: tokens.length,
            output_tokens_details: { reasoning_tokens: 0 },
            total_tokens: promptTokens + tokens.length
        };
        onUsage({ promptTokens, cachedTokens, completionTokens: tokens.length });
        return text;
    });
    await output.end(response.status === "completed" ? "completed" : "incomplete");
    if (store) {
        const answer: Message = { role: "assistant", text, calls };
        await responses.add({ body: response, messages: [...messages, answer], memory: memory?.id });
    }
    await send(`response.${response.status}`, { response });
    return response;
}

/**
 * Number of most probable tokens to return with each token; undefined for no log-probabilities.
 * @throws {ApiError} if they were not included, or cannot be
 */
function logprobsOf({ include, top_logprobs }: ResponseRequest, hasTools: boolean): number | undefined {
    const wanted = include?.includes("message.output_text.logprobs") === true;
    if (!wanted && (top_logprobs ?? 0) > 0)
        throw badParameter("top_logprobs", '`top_logprobs` needs `include: ["message.output_text.logprobs"]`');
    if (wanted && hasTools) throw unsupported("include", "log-probabilities are not supported beside `tools`");
    return wanted ? (top_logprobs ?? 0) : undefined;
}
