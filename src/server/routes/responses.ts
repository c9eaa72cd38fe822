import type { RequestHandler } from "express";
import type { Message } from "../../generation/chat-template/messages.js";
import { type Answering, afterMemory, answerRequest, samplingOf, tokensToWrite } from "../answer.js";
import { generate } from "../engine/generate.js";
import type { StoredResponse } from "../engine/ResponseStore.js";
import { badParameter } from "../errors.js";
import { newId, type Server } from "../Server.js";
import { type ResponseBody, type ResponseRequest, responseRequestSchema } from "../schemas/responses.js";

/** `POST /v1/responses`: text in, text out, and conversations that the server remembers. */
export function createResponse(server: Server): RequestHandler {
    return (request, response) =>
        answerRequest(server, responseRequestSchema, request, response, async (answering) => {
            const body = await answerResponse(server, answering);
            if (answering.stream === undefined) response.json(body);
            else answering.stream.end();
        });
}

/** `GET /v1/responses/{id}` */
export function getResponse({ responses }: Server): RequestHandler {
    return (request, response) => {
        response.json(responses.get(String(request.params.id)).body);
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

async function answerResponse(server: Server, answering: Answering<ResponseRequest>): Promise<ResponseBody> {
    const { engine, responses, registry } = server;
    const { body, signal, stream, onFirstToken, onUsage } = answering;
    const previous =
        body.previous_response_id === undefined
            ? undefined
            : responses.get(body.previous_response_id, "previous_response_id");
    if (previous?.memory !== undefined && answering.memory !== undefined && previous.memory !== answering.memory.id)
        throw badParameter("armt.memory", "the conversation continues another memory");
    const memory =
        answering.memory ??
        (previous?.memory === undefined ? undefined : registry.get(previous.memory, "previous_response_id"));
    const messages = [...(previous?.messages ?? []), ...messagesOf(body.input)];
    const sampling = samplingOf(server, body);
    // as in OpenAI's API, instructions are for this response alone
    const instructions: Message[] =
        body.instructions === undefined ? [] : [{ role: "system", text: body.instructions }];
    const chat = await engine.renderChat([...instructions, ...messages], {
        continues: memory !== undefined,
        signal
    });

    const store = body.store ?? true;
    const response: ResponseBody = {
        id: newId("resp_"),
        object: "response",
        created_at: Math.floor(Date.now() / 1000),
        status: "in_progress",
        error: null,
        incomplete_details: null,
        instructions: body.instructions ?? null,
        max_output_tokens: body.max_output_tokens ?? null,
        model: engine.modelId,
        output: [],
        parallel_tool_calls: body.parallel_tool_calls ?? true,
        previous_response_id: body.previous_response_id ?? null,
        store,
        temperature: sampling.temperature,
        text: { format: { type: "text" } },
        tool_choice: "auto",
        tools: [],
        top_p: sampling.topP,
        truncation: "disabled",
        usage: null,
        metadata: body.metadata ?? {}
    };
    const item: ResponseBody["output"][number] = {
        type: "message",
        id: newId("msg_"),
        status: "in_progress",
        role: "assistant",
        content: []
    };
    let number = 0;
    const send = async (type: string, data: object) =>
        await stream?.send({ type, sequence_number: number++, ...data }, type);
    const at = { item_id: item.id, output_index: 0, content_index: 0 };

    answering.begin();
    await send("response.created", { response });
    await send("response.in_progress", { response });
    await engine.withPrompt(
        afterMemory(memory, chat.tokens),
        {
            param: "input",
            memory: memory?.snapshot,
            questionAt: memory?.unread.length,
            closeBeforeQuestion: body.armt?.closeBeforeQuestion,
            signal
        },
        async ({ sequence, last, promptTokens, cachedTokens }) => {
            await send("response.output_item.added", { output_index: 0, item });
            await send("response.content_part.added", { ...at, part: outputText("") });
            let text = "";
            const { tokens, finishReason } = await generate(sequence, last, engine.collector, {
                choice: 0,
                maxTokens: tokensToWrite(server, body.max_output_tokens, promptTokens),
                sampling,
                stop: [],
                stopTokens: chat.stopTokens,
                signal,
                onPiece: async (piece) => {
                    onFirstToken();
                    text += piece.text;
                    await send("response.output_text.delta", { ...at, delta: piece.text, logprobs: [] });
                }
            });
            const isWhole = finishReason === "stop";
            item.content = [outputText(text)];
            item.status = isWhole ? "completed" : "incomplete";
            response.output = [item];
            response.status = item.status;
            response.incomplete_details = isWhole ? null : { reason: "max_output_tokens" };
            response.usage = {
                input_tokens: promptTokens,
                input_tokens_details: { cached_tokens: cachedTokens },
                output_tokens: tokens.length,
                output_tokens_details: { reasoning_tokens: 0 },
                total_tokens: promptTokens + tokens.length
            };
            onUsage({ promptTokens, cachedTokens, completionTokens: tokens.length });
        }
    );
    const [part] = item.content;
    await send("response.output_text.done", { ...at, text: part!.text, logprobs: [] });
    await send("response.content_part.done", { ...at, part });
    await send("response.output_item.done", { output_index: 0, item });
    if (store) {
        const answer: Message = { role: "assistant", text: part!.text, calls: [] };
        const stored: StoredResponse = { body: response, messages: [...messages, answer], memory: memory?.id };
        await responses.add(stored);
    }
    await send(`response.${response.status}`, { response });
    return response;
}

function outputText(text: string): ResponseBody["output"][number]["content"][number] {
    return { type: "output_text", text, annotations: [] };
}

function messagesOf(input: ResponseRequest["input"]): Message[] {
    if (typeof input === "string") return [{ role: "user", text: input }];
    return input.map(({ role, content }): Message => {
        const text = typeof content === "string" ? content : content.map((part) => part.text).join("\n");
        switch (role) {
            case "assistant":
                return { role, text, calls: [] };
            case "user":
                return { role, text };
            default:
                return { role: "system", text };
        }
    });
}
