import type { LlamaGrammar } from "../../plugin/index.js";
import type { Message, Tool, ToolCall } from "../generation/chat-template/messages.js";
import { BodyScan } from "./BodyScan.js";
import type { Engine } from "./engine/Engine.js";
import { checkEnds, grammarForObject, grammarForSchema } from "./engine/grammar.js";
import { sizeOf } from "./engine/json-schema/size-of.js";
import type { ToolChoice } from "./engine/tools.js";
import { ApiError, badParameter, unsupported } from "./errors.js";
import type { ChatRequest } from "./schemas/chat.js";

/** Size of all tools, which is that of a prompt of a quarter of a million tokens. Unit: UTF-16 code units. */
const maxToolsSize = 2 ** 20;

/** Size of the arguments of all calls in a chat. It takes 50 ms to check them. Unit: UTF-16 code units. */
const maxArgumentsSize = 2 ** 22;

/**
 * Checks combinations of parameters. Parameters that exclude each other are refused, since one of them would be
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

/** @throws {ApiError} if two tools have the same name, or if the chosen tool is missing */
export function toolsOf({
    tools,
    tool_choice: choice = "auto",
    parallel_tool_calls: parallel = true
}: ChatRequest): ToolChoice | undefined {
    if (tools === undefined || tools.length === 0 || choice === "none") return undefined;
    const names = new Set<string>();
    const all = tools.map(({ function: { name, description, parameters } }, i): Tool => {
        if (names.has(name)) throw badParameter(`tools.${i}.function.name`, "two tools have the same name");
        names.add(name);
        return { name, description, parameters };
    });
    if (sizeOf(all, maxToolsSize) > maxToolsSize)
        throw badParameter("tools", `\`tools\` has more than ${maxToolsSize} characters, which every prompt repeats`);
    const params = all.map((_, i) => `tools.${i}.function.parameters`);
    if (typeof choice === "string") return { tools: all, params, required: choice === "required", parallel };
    const index = all.findIndex(({ name }) => name === choice.function.name);
    if (index < 0) throw badParameter("tool_choice.function.name", "`tools` has no function of this name");
    return { tools: [all[index]!], params: [params[index]!], required: true, parallel: false };
}

/** The grammar for the requested format; undefined for plain text. */
export async function grammarOf(
    { model }: Engine,
    format: ChatRequest["response_format"]
): Promise<LlamaGrammar | undefined> {
    if (format === undefined || format.type === "text") return undefined;
    checkEnds(model, "response_format");
    if (format.type === "json_object") return await grammarForObject(model.llama);
    const { schema = {} } = format.json_schema;
    return await grammarForSchema(model.llama, schema, "response_format.json_schema.schema");
}

/** @throws {ApiError} if a result has no call, or a call has no result */
export function messagesOf(messages: ChatRequest["messages"]): Message[] {
    const open = new Set<string>();
    const calls = messages.flatMap((message) => (message.role === "assistant" ? (message.tool_calls ?? []) : []));
    const written = calls.reduce((sum, call) => sum + (call.function.arguments?.length ?? 0), 0);
    if (written > maxArgumentsSize)
        throw badParameter("messages", `the arguments of all calls have more than ${maxArgumentsSize} characters`);
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
                text: textOf(message.content),
                name: message.name
            };
        case "assistant": {
            const calls = (message.tool_calls ?? []).map(({ id, function: call }, j): ToolCall => {
                // clients keep a call without arguments in this form
                const json = call.arguments ? call.arguments : "{}";
                checkJson(json, `${at}.tool_calls.${j}.function.arguments`);
                open.add(id);
                return { id, name: call.name, arguments: json };
            });
            const { content, refusal, reasoning_content: thought, reasoning, name } = message;
            if (content == null && refusal == null && calls.length === 0)
                throw badParameter(`${at}.content`, "an assistant's message needs `content` or `tool_calls`");
            const text = content == null ? (refusal ?? "") : textOf(content);
            return { role: "assistant", text, calls, name, reasoning: thought ?? reasoning };
        }
    }
}

type Part = { readonly text: string } | { readonly refusal: string };

function textOf(content: string | readonly Part[]): string {
    if (typeof content === "string") return content;
    return content.map((part) => ("text" in part ? part.text : part.refusal)).join("\n");
}

function checkJson(json: string, param: string): void {
    try {
        new BodyScan().push(Buffer.from(json));
        JSON.parse(json);
    } catch (error) {
        const reason = error instanceof ApiError ? `; ${error.message}` : "";
        throw badParameter(param, `the arguments of a call must be JSON${reason}`);
    }
}
