import { toJson } from "../../../generation/chat-template/lossless.js";
import type { Message } from "../../../generation/chat-template/messages.js";
import { chooseTools, type GivenTool } from "../../chat/choose-tools.js";
import { OpenCalls } from "../../chat/OpenCalls.js";
import type { Format } from "../../engine/grammar.js";
import type { ToolChoice } from "../../engine/tools.js";
import { badParameter } from "../../errors.js";
import type { CountTokensRequest } from "../../schemas/messages.js";

/** A chat, and the numbers of messages after which a snapshot is kept. */
export interface TranslatedChat {
    readonly messages: readonly Message[];
    readonly keepAfter: readonly number[];
}

type Given = CountTokensRequest["messages"][number];

/**
 * A line of the system text that a client changes with each request. Its value is replaced with a fixed one, so that
 * the prompt keeps its beginning.
 */
const changingLine = /^(x-anthropic-[a-z-]+):.*$/gm;

/**
 * The messages in the common form.
 * @throws {ApiError} if a result has no call, or a call has no result
 */
export function messagesOf({ system, messages, tools, cache_control }: CountTokensRequest): TranslatedChat {
    const chat: Message[] = [];
    const keepAfter = new Set<number>();
    const mark = (blocks: string | readonly object[]) => {
        const isMarked = (block: object) => "cache_control" in block && block.cache_control !== undefined;
        if (typeof blocks !== "string" && blocks.some(isMarked)) keepAfter.add(chat.length);
    };
    if (system !== undefined) {
        const text = typeof system === "string" ? system : system.map((block) => block.text).join("\n\n");
        chat.push({ role: "system", text: pin(text) });
        mark(system);
    }
    mark(tools ?? []);
    const turns: Turns = { open: new OpenCalls(), held: [] };
    for (const [i, message] of messages.entries()) {
        addMessage(chat, message, `messages.${i}`, turns);
        mark(message.content);
    }
    checkClosed(turns.open, `messages.${messages.length - 1}`);
    if (chat.at(-1)!.role === "assistant")
        throw badParameter(
            `messages.${messages.length - 1}`,
            "the last message must be the user's; this server does not continue a message of the assistant"
        );
    if (cache_control !== undefined) keepAfter.add(chat.length);
    return { messages: chat, keepAfter: [...keepAfter].filter((count) => count > 0) };
}

function pin(text: string): string {
    return text.replace(changingLine, "$1: pinned");
}

/** Messages of the same role that follow each other are one turn, so results may come in several. */
interface Turns {
    readonly open: OpenCalls;
    /** Texts of the user between results; they follow the results. */
    held: string[];
}

/** @throws {ApiError} if a call has no result */
function checkClosed(open: OpenCalls, at: string): void {
    if (open.first !== undefined) throw badParameter(at, "the calls before this message have no tool_result");
}

function addMessage(chat: Message[], message: Given, at: string, turns: Turns): void {
    const { open } = turns;
    const blocks =
        typeof message.content === "string" ? [{ type: "text" as const, text: message.content }] : message.content;
    if (message.role === "system") {
        checkClosed(open, at);
        chat.push({ role: "system", text: pin(textOf(message.content)) });
        return;
    }
    if (message.role === "assistant") {
        addAnswer(chat, blocks as AnswerBlocks, at, open);
        return;
    }
    for (const [i, block] of blocks.entries()) {
        if (block.type !== "tool_result") {
            turns.held.push(textOf([block as TextBlock]));
            continue;
        }
        if (!open.answer(block.tool_use_id))
            throw badParameter(
                `${at}.content.${i}.tool_use_id`,
                "the message before has no tool_use of this id that this result may answer"
            );
        const result = textOf(block.content ?? "");
        const failed = block.is_error === true && result === "" ? "the tool failed" : result;
        chat.push({ role: "tool", callId: block.tool_use_id, text: failed });
    }
    if (open.first !== undefined) return;
    if (turns.held.length > 0) chat.push({ role: "user", text: turns.held.join("\n") });
    turns.held = [];
}

type AnswerBlocks = readonly Exclude<Extract<Given, { role: "assistant" }>["content"], string>[number][];

function addAnswer(chat: Message[], blocks: AnswerBlocks, at: string, open: OpenCalls): void {
    const last = chat.at(-1);
    // calls of one turn may come in several messages, too
    const begun = open.first !== undefined && last?.role === "assistant" ? last : undefined;
    if (begun === undefined) {
        checkClosed(open, at);
        open.clear();
    }
    const text: string[] = begun === undefined || begun.text === "" ? [] : [begun.text];
    const thoughts: string[] = begun?.reasoning === undefined ? [] : [begun.reasoning];
    const calls = blocks.flatMap((block) => {
        if (block.type === "text") text.push(block.text);
        if (block.type === "thinking") thoughts.push(block.thinking);
        if (block.type !== "tool_use") return [];
        open.add(block.id);
        return [{ id: block.id, name: block.name, arguments: toJson(block.input) }];
    });
    const reasoning = thoughts.length === 0 ? {} : { reasoning: thoughts.join("\n") };
    if (begun !== undefined) chat.pop();
    chat.push({ role: "assistant", text: text.join("\n"), calls: [...(begun?.calls ?? []), ...calls], ...reasoning });
}

type UserBlock = Exclude<Extract<Given, { role: "user" }>["content"], string>[number];
type ResultBlock = Exclude<Extract<UserBlock, { type: "tool_result" }>["content"], string | undefined>[number];
type TextBlock = Exclude<UserBlock, { type: "tool_result" }> | ResultBlock;

function textOf(content: string | readonly TextBlock[]): string {
    if (typeof content === "string") return content;
    return content.map((block) => linesOf(block).join("\n")).join("\n");
}

function linesOf(block: TextBlock): string[] {
    switch (block.type) {
        case "text":
            return [block.text];
        case "search_result":
            return [block.title, block.source, textOf(block.content)];
        case "tool_reference":
            return [block.tool_name];
        case "document": {
            const { title, context, source } = block;
            const text = source.type === "text" ? source.data : textOf(source.content);
            return [title, context, text].filter((part) => part !== undefined);
        }
    }
}

/** The tools that an answer may call. Tools that Anthropic's servers run are left out. */
export function toolsOf({ tools = [], tool_choice: choice }: CountTokensRequest): ToolChoice | undefined {
    const given = tools.flatMap((tool, i): GivenTool[] => {
        if (!isOwn(tool)) return [];
        const { name, description, input_schema: parameters } = tool;
        return [{ tool: { name, description, parameters }, param: `tools.${i}` }];
    });
    if (choice !== undefined && (choice.type === "any" || choice.type === "tool") && given.length === 0)
        throw badParameter("tool_choice", "`tool_choice` asks for a call, and the request has no own `tools`");
    const parallel =
        choice === undefined || !("disable_parallel_tool_use" in choice) || choice.disable_parallel_tool_use !== true;
    const options = { choiceParam: "tool_choice.name", parallel, schema: "input_schema" };
    switch (choice?.type) {
        case "any":
            return chooseTools(given, { ...options, choice: "required" });
        case "tool":
            return chooseTools(given, { ...options, choice: { name: choice.name } });
        default:
            return chooseTools(given, { ...options, choice: choice?.type });
    }
}

type GivenAnyTool = NonNullable<CountTokensRequest["tools"]>[number];
type OwnTool = Extract<GivenAnyTool, { input_schema: Record<string, unknown> }>;

function isOwn(tool: GivenAnyTool): tool is OwnTool {
    return tool.type === undefined || tool.type === "custom";
}

/** The form that an answer's text must have; undefined for any text. */
export function formatOf({ output_config, output_format }: CountTokensRequest): Format | undefined {
    const format = output_config?.format ?? output_format;
    if (format === undefined) return undefined;
    const param = output_config?.format === undefined ? "output_format.schema" : "output_config.format.schema";
    return { type: "json_schema", schema: format.schema, param };
}
