import type { ChatModelFunctions, LlamaGrammar } from "../../plugin/index.js";
import type { Message, ToolCall } from "./engine/chat-prompt.js";
import type { Engine } from "./engine/Engine.js";
import { grammarForSchema, toGbnfSchema } from "./engine/json-grammar.js";
import { badParameter, unsupported } from "./errors.js";
import type { ChatRequest } from "./schemas/chat.js";

/** Tools of a request as node-llama-cpp wants them. */
export interface Tools {
    readonly functions: ChatModelFunctions;
    /** Whether the answer has to be a call. */
    readonly required: boolean;
    readonly parallel: boolean;
}

/**
 * What a chat request asks for together: parameters that exclude each other are refused, since one of them would be
 * ignored.
 * @throws {ApiError}
 */
export function checkCombinations(body: ChatRequest): void {
    const { logprobs, top_logprobs, max_tokens, max_completion_tokens, tools, tool_choice } = body;
    if (top_logprobs !== undefined && logprobs !== true)
        throw badParameter("top_logprobs", "`top_logprobs` is for requests with `logprobs: true`");
    if (max_tokens !== undefined && max_completion_tokens !== undefined && max_tokens !== max_completion_tokens)
        throw badParameter("max_tokens", "`max_tokens` and `max_completion_tokens` are the same and differ");
    const hasTools = tools !== undefined && tools.length > 0;
    if (!hasTools) {
        for (const param of ["tool_choice", "parallel_tool_calls"] as const)
            if (body[param] !== undefined && body[param] !== "none")
                throw badParameter(param, `\`${param}\` is for requests with \`tools\``);
        return;
    }
    if (tool_choice === "none") return;
    if (logprobs === true) throw unsupported("logprobs", "`logprobs` is not supported beside `tools`");
    if (body.response_format !== undefined && body.response_format.type !== "text")
        throw unsupported("response_format", "`response_format` is not supported beside `tools`");
}

/** @throws {ApiError} for a tool whose parameters a grammar cannot hold an answer to */
export function toolsOf({ tools, tool_choice: choice = "auto", parallel_tool_calls }: ChatRequest): Tools | undefined {
    if (tools === undefined || tools.length === 0 || choice === "none") return undefined;
    const functions: Record<string, ChatModelFunctions[string]> = {};
    for (const [i, { function: tool }] of tools.entries()) {
        if (Object.hasOwn(functions, tool.name))
            throw badParameter(`tools.${i}.function.name`, "two tools have the same name");
        functions[tool.name] = {
            description: tool.description,
            params: tool.parameters && toGbnfSchema(tool.parameters, `tools.${i}.function.parameters`)
        };
    }
    const parallel = parallel_tool_calls ?? true;
    if (typeof choice === "string") return { functions, required: choice === "required", parallel };
    const { name } = choice.function;
    const chosen = functions[name];
    if (chosen === undefined) throw badParameter("tool_choice.function.name", "`tools` has no function of this name");
    return { functions: { [name]: chosen }, required: true, parallel: false };
}

/** The grammar that holds an answer to a format; undefined for plain text. */
export async function grammarOf(
    { model }: Engine,
    format: ChatRequest["response_format"]
): Promise<LlamaGrammar | undefined> {
    switch (format?.type) {
        case undefined:
        case "text":
            return undefined;
        case "json_object":
            return await model.llama.getGrammarFor("json");
        case "json_schema":
            return await grammarForSchema(model.llama, format.json_schema.schema, "response_format.json_schema.schema");
    }
}

/** @throws {ApiError} for results of calls that nobody made, and for calls without a result */
export function messagesOf(messages: ChatRequest["messages"]): Message[] {
    const open = new Set<string>();
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
            return { role: "system", text: textOf(message.content) };
        case "user":
            return { role: "user", text: textOf(message.content) };
        case "tool":
            if (!open.delete(message.tool_call_id))
                throw badParameter(`${at}.tool_call_id`, "the message before has no call of this id");
            return { role: "tool", callId: message.tool_call_id, text: textOf(message.content) };
        case "assistant": {
            const calls = (message.tool_calls ?? []).map(({ id, function: call }, j): ToolCall => {
                checkJson(call.arguments, `${at}.tool_calls.${j}.function.arguments`);
                open.add(id);
                return { id, name: call.name, arguments: call.arguments };
            });
            if (message.content == null && calls.length === 0)
                throw badParameter(`${at}.content`, "an assistant's message needs `content` or `tool_calls`");
            return { role: "assistant", text: message.content == null ? "" : textOf(message.content), calls };
        }
    }
}

function textOf(content: string | readonly { readonly text: string }[]): string {
    return typeof content === "string" ? content : content.map(({ text }) => text).join("\n");
}

function checkJson(json: string, param: string): void {
    try {
        JSON.parse(json);
    } catch {
        throw badParameter(param, "the arguments of a call have to be JSON");
    }
}
