import { randomInt } from "node:crypto";
import { parseKeepingNumbers, putNumbers } from "./lossless.js";
import type { Markers, Stretch } from "./Markers.js";
import type { TemplateMessage } from "./messages.js";

/** A chat in the template's form. All of it is plain data, for a worker. */
export interface ChatToRender {
    readonly messages: readonly TemplateMessage[];
    /** Variables besides the messages and tools. */
    readonly variables: Readonly<Record<string, unknown>>;
    /** Tools that the template describes. Their parameters are JSON. */
    readonly tools?: readonly TemplateTool[];
    /** Whether the template takes the arguments of calls as objects. They come as JSON. */
    readonly parsesArguments: boolean;
    /** Text that follows the rendered chat. */
    readonly suffix: string;
}

export interface TemplateTool {
    readonly name: string;
    readonly description: string;
    readonly parameters: string;
}

/** A message contains the name of a special token in a place where the template looks for it. */
export class MarkedNamesError extends Error {
    override name = "MarkedNamesError";
}

type Render = (variables: Readonly<Record<string, unknown>>) => string;

/**
 * Renders a chat, and splits it at the special tokens of the template. Names of special tokens in the chat are text. To
 * tell them apart, the chat is rendered again with a mark in front of each.
 * @throws {MarkedNamesError} if the template processes names in the chat as its own
 */
export function renderChat(render: Render, chat: ChatToRender, markers: Markers): Stretch[] {
    const { variables, suffix } = chat;
    const sign = newSign(chat);
    const { messages, tools } = withNumbers(chat, sign);
    const run = (given: readonly TemplateMessage[], described: typeof tools) =>
        putNumbers(render({ ...variables, ...(described && { tools: described }), messages: given }), sign);
    const plain = run(messages, tools);
    const mark = newSign(plain, chat, sign);
    let isPlain = true;
    const escapeAll = <T>(value: T) =>
        mapStrings(value, (text, isKey) => {
            const escaped = markers.escape(text, mark, !isKey);
            isPlain &&= escaped === text;
            return escaped;
        });
    const escapeContents = (message: TemplateMessage) => ({ ...escapeAll(message), role: message.role });
    const escapedTools = escapeAll(tools);
    const escapedMessages = messages.map(escapeContents);
    if (isPlain) return markers.split(plain + suffix, undefined);
    const isSame = (text: string) => text.replaceAll(mark, "") === plain;
    const escaped = run(escapedMessages, escapedTools);
    if (isSame(escaped)) return markers.split(escaped + suffix, mark);
    // a template may search an assistant's text for special tokens, such as the end of its reasoning
    const others = messages.map((message) => (message.role === "assistant" ? message : escapeContents(message)));
    const byOthers = run(others, escapedTools);
    if (isSame(byOthers)) return markers.split(byOthers + suffix, mark);
    throw new MarkedNamesError(
        "the messages contain names of special tokens, and the model's chat template processes them as its own; " +
            "remove them"
    );
}

/** The chat with its JSON parsed. The digits of its numbers stay as they are. */
function withNumbers({ messages, tools, parsesArguments }: ChatToRender, sign: string) {
    return {
        messages: parsesArguments ? messages.map((message) => withArguments(message, sign)) : messages,
        tools: tools?.map(({ parameters, ...tool }) => ({
            type: "function",
            function: { ...tool, parameters: parseKeepingNumbers(parameters, sign) }
        }))
    };
}

function withArguments(message: TemplateMessage, sign: string): TemplateMessage {
    if (message.tool_calls === undefined) return message;
    return {
        ...message,
        tool_calls: message.tool_calls.map((call) => ({
            ...call,
            function: { ...call.function, arguments: parseArguments(String(call.function.arguments), sign) }
        }))
    };
}

/** Arguments that another server cut off are no JSON, and remain a text. */
function parseArguments(json: string, sign: string): unknown {
    try {
        return parseKeepingNumbers(json, sign);
    } catch (error) {
        if (error instanceof SyntaxError) return json;
        throw error;
    }
}

/** A random private-use character that does not occur in any of the values. Authors of messages cannot predict it. */
function newSign(...values: readonly unknown[]): string {
    for (;;) {
        const sign = String.fromCodePoint(randomInt(0xf0000, 0xffffe));
        if (!contains(values, sign)) return sign;
    }
}

function contains(value: unknown, sign: string): boolean {
    if (typeof value === "string") return value.includes(sign);
    if (typeof value !== "object" || value === null) return false;
    return Object.entries(value).some(([key, inside]) => key.includes(sign) || contains(inside, sign));
}

function mapStrings<T>(value: T, change: (text: string, isKey: boolean) => string): T {
    const map = (item: unknown): unknown => {
        if (typeof item === "string") return change(item, false);
        if (Array.isArray(item)) return item.map(map);
        if (item instanceof Map) return new Map([...item].map(([key, inner]) => [change(key, true), map(inner)]));
        if (typeof item !== "object" || item === null) return item;
        return Object.fromEntries(Object.entries(item).map(([key, inner]) => [change(key, true), map(inner)]));
    };
    return map(value) as T;
}
