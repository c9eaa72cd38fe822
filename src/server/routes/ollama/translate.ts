import { toJson } from "../../../generation/chat-template/lossless.js";
import type { Message } from "../../../generation/chat-template/messages.js";
import { chooseTools } from "../../chat/choose-tools.js";
import type { Format } from "../../engine/grammar.js";
import type { ToolChoice } from "../../engine/tools.js";
import { badParameter } from "../../errors.js";
import type { OllamaChatRequest } from "../../schemas/ollama.js";

/**
 * The messages in the common form. Ollama's calls have no ids, so results answer calls in their order.
 * @throws {ApiError} if a result has no call, or a call has no result
 */
export function messagesOf(messages: OllamaChatRequest["messages"]): Message[] {
    let open: string[] = [];
    let count = 0;
    const chat = messages.map(({ role, content: text = "", thinking, tool_calls = [] }, i): Message => {
        const at = `messages.${i}`;
        if (open.length > 0 && role !== "tool") throw badParameter(at, "the calls before this message have no result");
        switch (role) {
            case "tool": {
                const [callId, ...rest] = open;
                if (callId === undefined) throw badParameter(at, "no call before this result is without one");
                open = rest;
                return { role, callId, text };
            }
            case "assistant": {
                const calls = tool_calls.map(({ function: { name, arguments: input = {} } }) => {
                    const id = `call_${count++}`;
                    open.push(id);
                    return { id, name, arguments: toJson(input) };
                });
                return { role, text, calls, ...(thinking === undefined ? {} : { reasoning: thinking }) };
            }
            default:
                return { role, text };
        }
    });
    if (open.length > 0) throw badParameter("messages", "the last calls have no result; add `tool` messages");
    return chat;
}

export function toolsOf({ tools = [] }: OllamaChatRequest): ToolChoice | undefined {
    const given = tools.map(({ function: { name, description, parameters } }, i) => ({
        tool: { name, description, parameters },
        param: `tools.${i}.function`
    }));
    return chooseTools(given, { choiceParam: "tools", schema: "parameters" });
}

/** The form that an answer's text must have; undefined for any text. */
export function formatOf({ format }: Pick<OllamaChatRequest, "format">): Format | undefined {
    if (format === undefined) return undefined;
    return format === "json" ? { type: "json_object" } : { type: "json_schema", schema: format, param: "format" };
}
