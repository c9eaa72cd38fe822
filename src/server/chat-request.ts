import type { Message, ToolCall } from "../generation/chat-template/messages.js";
import { BodyScan } from "./BodyScan.js";
import { allowedTools, chooseTools } from "./chat/choose-tools.js";
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
    const open = new Set<string>();
    const calls = messages.flatMap((message) => (message.role === "assistant" ? (message.tool_calls ?? []) : []));
    checkArgumentsSize(
        calls.map((call) => call.function.arguments),
        "messages"
    );
    const result = messages.map((message, i) => messageOf(message, `messages.${i}`, open));
    if (open.size > 0)
        throw badParameter(`messages.${messages.length - 1}`, "the last calls have no result; add `tool` messages");
    return result;
}

/** @param open ids of calls that have no result yet */
function messageOf(message: ChatRequest["messages"][number], at: string, open: Set<string>): Message {
    if (open.size > 0 && message.role !== "tool")
        throw badParameter(at, "the calls before this message have no result; it takes one `tool` message for each");
    switch (message.role) {
        case "system":
        case "developer":
            return { role: "system", text: textOf(message.content), name: message.name };
        case "user":
            return { role: "user", text: textOf(message.content), name: message.name };
        case "tool":
            if (!open.delete(message.tool_call_id))
                throw badParameter(`${at}.tool_call_id`, "the message before has no call of this id");
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
            const reasoning = message.reasoning_content ?? message.reasoning;
            if (content == null && refusal == null && reasoning === undefined && calls.length === 0)
                throw badParameter(`${at}.content`, "an assistant's message needs `content` or `tool_calls`");
            const text = content == null ? (refusal ?? "") : textOf(content);
            return { role: "assistant", text, calls, name, reasoning };
        }
    }
}

type Part = { readonly text: string } | { readonly refusal: string };

function textOf(content: string | readonly Part[]): string {
    if (typeof content === "string") return content;
    return content.map((part) => ("text" in part ? part.text : part.refusal)).join("\n");
}

/** A call as clients send it back. */
export type GivenCall = Pick<ToolCall, "id" | "name"> & { arguments?: string | null };

/** @throws {ApiError} if the arguments of all calls in a chat are too long to check */
export function checkArgumentsSize(all: readonly (string | null | undefined)[], param: string): void {
    const size = all.reduce((sum, json) => sum + (json?.length ?? 0), 0);
    if (size > maxArgumentsSize)
        throw badParameter(param, `the arguments of all calls have more than ${maxArgumentsSize} characters`);
}

/** @throws {ApiError} if the arguments are not JSON */
export function checkCall({ id, name, arguments: json }: GivenCall, param: string): ToolCall {
    // clients keep a call without arguments in these forms
    if (json === undefined || json === null || json === "") return { id, name, arguments: "{}" };
    try {
        new BodyScan().push(Buffer.from(json));
        JSON.parse(json);
    } catch (error) {
        const reason = error instanceof ApiError ? `; ${error.message}` : "";
        throw badParameter(param, `the arguments of a call must be JSON${reason}`);
    }
    return { id, name, arguments: json };
}
