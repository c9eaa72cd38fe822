import { toJson } from "../../../generation/chat-template/lossless.js";
import type { Message } from "../../../generation/chat-template/messages.js";
import { chooseTools } from "../../chat/choose-tools.js";
import type { Format } from "../../engine/grammar.js";
import type { ToolChoice } from "../../engine/tools.js";
import { badParameter } from "../../errors.js";
import type { OllamaChatRequest } from "../../schemas/ollama.js";

/** A call without a result: its id here, and what the client calls it. */
interface OpenCall {
    readonly id: string;
    readonly givenId: string | undefined;
    readonly name: string;
}

/**
 * The messages in the common form. A result names the id of its call, or its name; without them, it answers the first
 * call that has no result.
 * @throws {ApiError} if a result has no call, or a call has no result
 */
export function messagesOf(messages: OllamaChatRequest["messages"]): Message[] {
    const open: OpenCall[] = [];
    let count = 0;
    const chat = messages.map((message, i): Message => {
        const { role, content: text = "", thinking, tool_calls = [] } = message;
        const at = `messages.${i}`;
        if (open.length > 0 && role !== "tool") throw badParameter(at, "the calls before this message have no result");
        switch (role) {
            case "tool": {
                const answered = open.indexOf(answeredCall(open, message)!);
                const [call] = answered < 0 ? [] : open.splice(answered, 1);
                if (call === undefined)
                    throw badParameter(at, "there is no call before it that this result may answer");
                return { role, callId: call.id, text, name: message.tool_name };
            }
            case "assistant": {
                const calls = tool_calls.map(({ id: givenId, function: { name, arguments: input = {} } }) => {
                    const id = `call_${count++}`;
                    open.push({ id, givenId, name });
                    return { id, name, arguments: typeof input === "string" ? input : toJson(input) };
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

type Result = Pick<OllamaChatRequest["messages"][number], "tool_call_id" | "tool_name">;

function answeredCall(open: readonly OpenCall[], { tool_call_id: id, tool_name: name }: Result): OpenCall | undefined {
    const byId = id === undefined ? undefined : open.find(({ givenId }) => givenId === id);
    const byName = name === undefined ? undefined : open.find((call) => call.name === name);
    return byId ?? byName ?? open[0];
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
