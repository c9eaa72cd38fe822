import type { TemplateMessage } from "./messages.js";
import { TemplateError, TemplateLimitError } from "./TemplateRenderer.js";
import { probeCalls, probeIds, readToolSyntax, type ToolSyntax } from "./tool-syntax.js";

/** The features that a template supports. */
export interface TemplateCapabilities {
    /** Whether it renders system messages. */
    readonly system: boolean;
    /** Whether it describes tools to the model. */
    readonly tools: boolean;
    /** In which form it accepts the arguments of calls; undefined if it does not render calls and results. */
    readonly calls: "object" | "text" | undefined;
    /** Whether it writes the content of a `tool` message as it is, right after the assistant's message. */
    readonly plainResults: boolean;
    /** How the model writes calls, if the template shows it. */
    readonly syntax: ToolSyntax | undefined;
    /** The text after an assistant's message, such as the end of its turn. */
    readonly afterText: string;
    /** A chat with two messages of a user; empty if the template refuses it. */
    readonly twoTurns: string;
}

type Render = (
    messages: TemplateMessage[],
    more: { tools?: unknown; add_generation_prompt?: boolean }
) => Promise<string>;

const user: TemplateMessage = { role: "user", content: "armt probe of a user" };
const answer = "armt probe of an answer";

const rule = "armt probe of a rule";

/** Renders a chat; undefined if the template refuses it. */
async function attemptTo(render: Render, ...args: Parameters<Render>): Promise<string | undefined> {
    try {
        return await render(...args);
    } catch (error) {
        if (error instanceof TemplateError && !(error instanceof TemplateLimitError)) return undefined;
        throw error;
    }
}

/** The text that a template puts before the first message of a chat without a system message, in place of one. */
export async function findAddedSystem(render: Render): Promise<string> {
    const own: TemplateMessage = { role: "system", content: rule };
    const alone = await attemptTo(render, [own], { add_generation_prompt: false });
    // the beginning of the next turn could pass for the end of this one
    if (alone === (await attemptTo(render, [own], { add_generation_prompt: true }))) return "";
    const both = await attemptTo(render, [own, user], {});
    const without = await attemptTo(render, [user], {});
    if (alone === undefined || both === undefined || without === undefined) return "";
    if (!alone.includes(rule) || !both.startsWith(alone)) return "";
    const rest = both.slice(alone.length);
    return rest.includes(user.content) && without.endsWith(rest) ? without.slice(0, -rest.length) : "";
}

/** Detects the features of a template by rendering small chats. */
export async function probeTemplate(render: Render): Promise<TemplateCapabilities> {
    const attempt = (...args: Parameters<Render>) => attemptTo(render, ...args);
    const system = await attempt([{ role: "system", content: rule }, user], {});
    const tool = { name: "armt_probe_tool", description: "", parameters: { type: "object", properties: {} } };
    const told = await attempt([user], { tools: [{ type: "function", function: tool }] });
    const plain = await attempt([user, { role: "assistant", content: answer }], { add_generation_prompt: false });
    const twoTurns = await attempt([user, { role: "assistant", content: answer }, user], {
        add_generation_prompt: false
    });
    const [beforeText, afterText = ""] = plain?.includes(answer) ? cutAtLast(plain, answer) : [];
    const called = (count: number, asText: boolean): TemplateMessage => ({
        role: "assistant",
        content: "",
        tool_calls: probeCalls(count, asText)
    });
    const result = "armt probe of a result";
    const results: TemplateMessage[] = [
        { role: "tool", content: result, tool_call_id: probeIds[0], name: probeCalls(1, false)[0]!.function.name }
    ];
    const followed = await attempt([user, { role: "assistant", content: answer }, ...results], {
        add_generation_prompt: false
    });
    let calls: TemplateCapabilities["calls"];
    const { name } = probeCalls(1, false)[0]!.function;
    // the last form is that of templates which write each argument in their own way, such as in a tag
    for (const [form, quote] of [
        ["object", '"'],
        ["text", '"'],
        ["object", ""]
    ] as const) {
        if (calls !== undefined) break;
        const chat = await attempt([user, called(1, form === "text"), ...results], {});
        const parts = [name, `${quote}${name}_key${quote}`, `${quote}${name}_value${quote}`, result];
        if (parts.every((part) => chat?.includes(part))) calls = form;
    }
    let syntax: ToolSyntax | undefined;
    if (calls !== undefined) {
        const asText = calls === "text";
        const begin = await attempt([user], { add_generation_prompt: true });
        const one = await attempt([user, called(1, asText)], { add_generation_prompt: false });
        const two = await attempt([user, called(2, asText)], { add_generation_prompt: false });
        if (begin !== undefined && one !== undefined)
            syntax = readToolSyntax({ begin, beforeText, one, two, afterText });
    }
    return {
        system: system?.includes(rule) ?? false,
        tools: told?.includes(tool.name) ?? false,
        calls,
        plainResults: plain !== undefined && followed === plain + result,
        syntax,
        afterText,
        twoTurns: twoTurns ?? ""
    };
}

function cutAtLast(text: string, part: string): [before: string, after: string] {
    const at = text.lastIndexOf(part);
    return [text.slice(0, at), text.slice(at + part.length)];
}
