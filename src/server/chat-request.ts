import type { Message, ToolCall } from "../generation/chat-template/messages.js";
import { BodyScan } from "./BodyScan.js";
import { allowedTools, chooseTools } from "./chat/choose-tools.js";
import { OpenCalls } from "./chat/OpenCalls.js";
import type { Format } from "./engine/grammar.js";
import { ApiError, badParameter, unsupported } from "./errors.js";
import type { ChatRequest } from "./schemas/chat.js";

/** Size of the arguments of all calls in a chat. It takes 50 ms to check them. Unit: UTF-16 code units. */
const maxArgumentsSize = 2 ** 22;

/**
 * Checks combinations of parameters. Parameters that exclude each other are refused, since one of them would be
 * ignored.
 * @throws {ApiError}
 */
export function checkCombinations(body: ChatRequest): void {
    const { logprobs, top_logprobs, tools, tool_choice } = body;
    if ((top_logprobs ?? 0) > 0 && logprobs !== true)
        throw badParameter("top_logprobs", "`top_logprobs` is for requests with `logprobs: true`");
    const needsTools = tool_choice !== undefined && tool_choice !== "auto" && tool_choice !== "none";
    if (tools === undefined && needsTools)
        throw badParameter("tool_choice", "`tool_choice` asks for a call, and the request has no `tools`");
    if (tools !== undefined && tool_choice !== "none" && logprobs === true)
        throw unsupported("logprobs", "`logprobs` is not supported beside `tools`");
}

/** The tools that a chat's answer may call. */
export function toolsOf({ tools = [], tool_choice: choice, parallel_tool_calls: parallel }: ChatRequest) {
    const functions = tools.map(({ function: { name, description, parameters } }, i) => ({
        tool: { name, description, parameters },
        param: `tools.${i}.function`
    }));
    const options = { choiceParam: "tool_choice.function.name", parallel, schema: "parameters" };
    if (typeof choice !== "object") return chooseTools(functions, { ...options, choice });
    if (choice.type === "function")
        return chooseTools(functions, { ...options, choice: { name: choice.function.name } });
    const { mode, tools: chosen } = choice.allowed_tools;
    const names = chosen.map((tool) => tool.function.name);
    const allowed = allowedTools(functions, names, (i) => `tool_choice.allowed_tools.tools.${i}.function.name`);
    return chooseTools(allowed, { ...options, choice: mode });
}

/** Variables for the chat template. */
export function variablesOf({ reasoning_effort, chat_template_kwargs }: ChatRequest) {
    return reasoning_effort === undefined ? chat_template_kwargs : { reasoning_effort, ...chat_template_kwargs };
}

/** The form that a chat's answer must have; undefined for any text. */
export function formatOf(format: ChatRequest["response_format"]): Format | undefined {
    if (format === undefined || format.type === "text") return undefined;
    if (format.type === "json_object")
        return format.schema === undefined
            ? { type: "json_object" }
            : { type: "json_schema", schema: format.schema, param: "response_format.schema" };
    return {
        type: "json_schema",
        schema: format.json_schema.schema ?? {},
        param: "response_format.json_schema.schema"
    };
}

/** @throws {ApiError} if a result has no call, or a call has no result */
export function messagesOf(messages: ChatRequest["messages"]): Message[] {
    const open = new OpenCalls();
    const calls = messages.flatMap((message) => (message.role === "assistant" ? (message.tool_calls ?? []) : []));
    checkArgumentsSize(
        calls.map((call) => call.function.arguments),
        "messages"
    );
    const result = messages.map((message, i) => messageOf(message, `messages.${i}`, open));
    if (open.first !== undefined)
        throw badParameter(`messages.${messages.length - 1}`, "the last calls have no result; add `tool` messages");
    return result;
}

/** @param open ids of calls that have no result yet */
function messageOf(message: ChatRequest["messages"][number], at: string, open: OpenCalls): Message {
    if (message.role !== "tool") {
        if (open.first !== undefined)
            throw badParameter(
                at,
                "the calls before this message have no result; it takes one `tool` message for each"
            );
        open.clear();
    }
    switch (message.role) {
        case "system":
        case "developer":
            return { role: "system", text: textOf(message.content), name: message.name };
        case "user":
            return { role: "user", text: textOf(message.content), name: message.name };
        case "tool":
            if (!open.answer(message.tool_call_id))
                throw badParameter(
                    `${at}.tool_call_id`,
                    "the messages before have no call of this id that this result may answer"
                );
            return {
                role: "tool",
                callId: message.tool_call_id,
                text: textOf(message.content ?? ""),
                name: message.name
            };
        case "assistant": {
            const calls = (message.tool_calls ?? []).map(({ id, function: call }, j) => {
                open.add(id);
                return checkCall({ id, ...call }, `${at}.tool_calls.${j}.function.arguments`);
            });
            const { content, refusal, name } = message;
            const parts = Array.isArray(content) ? content : [];
            const thoughts = parts.flatMap((part) => (isThought(part) ? [thoughtOf(part)] : []));
            const thought = thoughts.length === 0 ? undefined : thoughts.join("\n");
            const reasoning = message.reasoning_content ?? message.reasoning ?? message.thinking ?? thought;
            // an answer that has nothing in it comes back, too
            const text = content == null ? (refusal ?? "") : textOf(content);
            return { role: "assistant", text, calls, name, reasoning };
        }
    }
}

type Part = { readonly type: TextType; readonly text: string } | { readonly type: "refusal"; readonly refusal: string };
type TextType = "text" | "input_text" | "output_text";
type Thought = { readonly type: "thinking" | "reasoning"; thinking?: string | readonly Part[]; text?: string };

function textOf(content: string | readonly (Part | Thought)[]): string {
    if (typeof content === "string") return content;
    const texts = content.flatMap((part) => {
        if (isThought(part)) return [];
        return [part.type === "refusal" ? part.refusal : part.text];
    });
    return texts.join("\n");
}

function isThought(part: Part | Thought): part is Thought {
    return part.type === "thinking" || part.type === "reasoning";
}

function thoughtOf({ thinking, text = "" }: Thought): string {
    return thinking === undefined ? text : textOf(thinking);
}

/** A call as clients send it back. */
export type GivenCall = Pick<ToolCall, "id" | "name"> & { arguments?: string | null };

/** @throws {ApiError} if the arguments of all calls in a chat are too long to check */
export function checkArgumentsSize(all: readonly (string | null | undefined)[], param: string): void {
    const size = all.reduce((sum, json) => sum + (json?.length ?? 0), 0);
    if (size > maxArgumentsSize)
        throw badParameter(param, `the arguments of all calls have more than ${maxArgumentsSize} characters`);
}

/**
 * Arguments that are not JSON are kept: another server may have cut them off, and the result says so to the model.
 * @throws {ApiError} if the arguments are too costly to parse
 */
export function checkCall({ id, name, arguments: json }: GivenCall, param: string): ToolCall {
    // clients keep a call without arguments in these forms
    if (json === undefined || json === null || json.trim() === "") return { id, name, arguments: "{}" };
    try {
        new BodyScan().push(Buffer.from(json));
    } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        throw badParameter(param, `the arguments of a call are too large; ${error.message}`);
    }
    return { id, name, arguments: json };
}
