import type { LlamaModel, Token } from "../../../plugin/index.js";
import { TimeSlice } from "../../util/TimeSlice.js";
import { TokenBytes } from "../TokenBytes.js";
import { tokenizeText } from "../tokenize-text.js";
import { ChatRefusedError } from "./ChatRefusedError.js";
import { findAddedSystem, probeTemplate, type TemplateCapabilities } from "./capabilities.js";
import { toJson } from "./lossless.js";
import { Markers, type Stretch } from "./Markers.js";
import type { Message, TemplateMessage, Tool, ToolCall } from "./messages.js";
import type { ChatToRender, TemplateTool } from "./render-chat.js";
import {
    MarkedTextError,
    TemplateError,
    TemplateLimitError,
    TemplateRenderer,
    UnparsedTemplateError
} from "./TemplateRenderer.js";
import { plainSyntax, type ToolSyntax } from "./tool-syntax.js";

/** The template for model files without one, in the form of node-llama-cpp's `GeneralChatWrapper`. */
const defaultTemplate =
    "{{ bos_token }}{% for message in messages %}" +
    "{% if message.role == 'user' %}{{ '### Human\\n' }}" +
    "{% elif message.role == 'assistant' %}{{ '### Assistant\\n' }}{% endif %}" +
    "{{ message.content + '\\n\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '### Assistant\\n' }}{% endif %}";

/** Time that one rendering may take. Unit: milliseconds. */
const defaultTimeoutMs = 5000;

export interface ChatTemplateOptions {
    /** Default: the template in the model file. */
    source?: string;
    /** Time that one rendering may take. Unit: milliseconds. Default: 5000. */
    timeoutMs?: number;
}

/** Options for rendering a chat. */
export interface RenderOptions {
    tools?: readonly Tool[];
    /** The beginning of the model's turn, which the model continues. Default: none. */
    answer?: (syntax: ToolSyntax) => string;
    /** Variables for the template, such as `enable_thinking`. Default: none. */
    variables?: Readonly<Record<string, unknown>>;
    /**
     * Whether the chat follows a text that has been read. It then has no begin token, and no system message that only
     * the template adds: between a text and a question about it, such words do harm. Default: `false`.
     */
    follows?: boolean;
    /** Ends the rendering. */
    signal?: AbortSignal;
}

/** A chat as a prompt. */
export interface RenderedChat {
    readonly tokens: Token[];
    /** How the model writes calls. */
    readonly syntax: ToolSyntax;
    /** Tokens that end the model's turn, besides the vocabulary's end-of-generation tokens. */
    readonly stopTokens: ReadonlySet<Token>;
}

/**
 * The chat template of a model file. Special tokens that the template writes are special tokens of the prompt. The
 * contents of messages are always text, even if they contain the name of a special token.
 */
export class ChatTemplate {
    private readonly source: string;
    private readonly renderer: TemplateRenderer;
    private readonly markers: Markers;
    private probed: Promise<TemplateCapabilities> | undefined;
    /** The file's own template for chats with tools. */
    private readonly withTools: ChatTemplate | undefined;

    constructor(
        private readonly model: LlamaModel,
        { source, timeoutMs = defaultTimeoutMs }: ChatTemplateOptions = {}
    ) {
        const { tokenizer } = model.fileInfo.metadata;
        this.source = source ?? tokenizer?.chat_template ?? defaultTemplate;
        const forTools = (tokenizer as Readonly<Record<string, unknown>> | undefined)?.["chat_template.tool_use"];
        if (source === undefined && typeof forTools === "string")
            this.withTools = new ChatTemplate(model, { source: forTools, timeoutMs });
        const stripsOf = (token: Token) => {
            const { lstrip, rstrip } = model.getTokenAttributes(token);
            return { before: lstrip, after: rstrip };
        };
        const special = TokenBytes.of(model).specialTokens;
        this.markers = new Markers(special, stripsOf);
        const tokens = [...special].map(([name, token]) => ({ name, token, strips: stripsOf(token) }));
        this.renderer = new TemplateRenderer(timeoutMs, { tokens });
    }

    /**
     * @throws {ChatRefusedError} if the template refuses the chat
     * @throws {TemplateLimitError} if the template takes too much time or memory
     */
    async render(messages: readonly Message[], options: RenderOptions = {}): Promise<RenderedChat> {
        if (this.withTools !== undefined && (options.tools ?? []).length > 0)
            return await this.withTools.render(messages, options);
        const capabilities = await this.capabilities();
        const { tools = [], answer, follows = false, signal } = options;
        const variables = { ...this.names, ...options.variables };
        const hasTools = tools.length > 0;
        const isNative = !hasTools || (capabilities.tools && capabilities.syntax !== undefined);
        const syntax = (isNative ? capabilities.syntax : undefined) ?? plainSyntax;
        const form = isNative ? capabilities.calls : undefined;
        const render = async (chat: readonly Message[]) => {
            const { plainResults } = capabilities;
            const given = toTemplate(chat, { form, plainResults, describe: isNative ? [] : tools });
            return await this.renderOrRefuse(
                {
                    messages: capabilities.system ? given : withoutSystem(given),
                    variables: { ...variables, add_generation_prompt: true },
                    tools: isNative && hasTools ? tools.map(toTemplateTool) : undefined,
                    parsesArguments: form === "object",
                    suffix: answer?.(syntax) ?? ""
                },
                signal
            );
        };
        const stretches = await render(messages).catch(async (error) => {
            const short = withShortIds(messages);
            if (short === undefined || !(error instanceof ChatRefusedError)) throw error;
            // some templates require ids of nine characters; other errors should name the original ids
            return await render(short).catch(() => {
                throw error;
            });
        });
        let tokens = await this.tokenize(stretches, signal);
        if (follows) {
            const hasOwn = hasTools || messages[0]?.role === "system" || !capabilities.system;
            const added = hasOwn ? [] : await this.addedSystem(signal);
            const isAdded = added.length > 0 && added.every((token, i) => tokens[i] === token);
            tokens = isAdded ? tokens.slice(added.length) : this.withoutBegin(tokens, capabilities);
        }
        return { tokens, syntax, stopTokens: this.stopTokens(capabilities) };
    }

    /**
     * The system message that the template adds to chats without one, and what stands before it; empty if it adds none.
     * What variables of a request add is not part of it, since the request wants it.
     */
    private async addedSystem(signal: AbortSignal | undefined): Promise<Token[]> {
        const text = await findAddedSystem(async (messages, more) => {
            signal?.throwIfAborted();
            return await this.run(messages, more);
        });
        return await this.tokenize(this.markers.split(text, undefined), signal);
    }

    /** Where each turn begins with the begin token, it remains. */
    private withoutBegin(tokens: Token[], { twoTurns }: TemplateCapabilities): Token[] {
        const { bos } = this.model.tokens;
        const begins = this.markers.split(twoTurns, undefined).filter((part) => "token" in part && part.token === bos);
        return bos !== null && tokens[0] === bos && begins.length < 2 ? tokens.slice(1) : tokens;
    }

    async dispose(): Promise<void> {
        await Promise.all([this.renderer.dispose(), this.withTools?.dispose()]);
    }

    private async renderOrRefuse(chat: ChatToRender, signal: AbortSignal | undefined): Promise<readonly Stretch[]> {
        try {
            return await this.renderer.renderChat(this.source, chat, signal);
        } catch (error) {
            if (!(error instanceof TemplateError) || error instanceof TemplateLimitError) throw error;
            if (error instanceof MarkedTextError) throw new ChatRefusedError(error.message, "invalid_value");
            if (error instanceof UnparsedTemplateError)
                throw new ChatRefusedError(`the model's chat template cannot be parsed: ${error.message}`);
            throw new ChatRefusedError(`the model's chat template refuses these messages: ${error.message}`);
        }
    }

    private async run(messages: unknown, variables: Record<string, unknown>): Promise<string> {
        return await this.renderer.render(this.source, { ...this.names, ...variables, messages });
    }

    private get names() {
        const { bosString, eosString } = this.model.tokens;
        return { bos_token: bosString ?? "", eos_token: eosString ?? "" };
    }

    /** The text between two special tokens is tokenized as a whole. */
    private async tokenize(stretches: readonly Stretch[], signal: AbortSignal | undefined): Promise<Token[]> {
        const tokens: Token[] = [];
        const slice = new TimeSlice(signal);
        for (const stretch of stretches) {
            if (slice.isOver) await slice.pause();
            if ("token" in stretch) tokens.push(stretch.token);
            else
                for (const id of await tokenizeText((part) => this.model.tokenize(part), stretch.text, signal))
                    tokens.push(id);
        }
        return tokens;
    }

    private capabilities(): Promise<TemplateCapabilities> {
        this.probed ??= probeTemplate((messages, more) => this.run(messages, more)).catch((error) => {
            this.probed = undefined;
            throw error;
        });
        return this.probed;
    }

    /** A special token right after an assistant's text ends its turn. */
    private stopTokens({ afterText }: TemplateCapabilities): ReadonlySet<Token> {
        const [first] = this.markers.split(afterText.trimStart(), undefined);
        return new Set(first !== undefined && "token" in first ? [first.token] : []);
    }
}

interface MessageForm {
    /** How the template accepts calls and their results; undefined if it does not. */
    form: TemplateCapabilities["calls"];
    plainResults: boolean;
    /** Tools that the template does not describe to the model. */
    describe: readonly Tool[];
}

/**
 * Converts messages to the template's form. If the template does not support tools, their descriptions, calls and
 * results become text.
 */
function toTemplate(messages: readonly Message[], { form, plainResults, describe }: MessageForm): TemplateMessage[] {
    const chat: TemplateMessage[] = [];
    const called = new Map<string, string>();
    for (const message of messages) {
        const named = message.name === undefined ? {} : { name: message.name };
        switch (message.role) {
            case "system":
            case "user":
                chat.push({ role: message.role, content: message.text, ...named });
                break;
            case "assistant":
                for (const call of message.calls) called.set(call.id, call.name);
                chat.push({ ...assistantMessage(message, form), ...named });
                break;
            case "tool": {
                const { callId, text } = message;
                const name = message.name ?? called.get(callId);
                if (form === undefined && plainResults)
                    // it stays in the model's turn: a user's message would begin a question, in a segment of its own
                    chat.push({ role: "tool", content: `\n||result: ${text}`, tool_call_id: callId });
                else if (form === undefined) appendResult(chat, text);
                else chat.push({ role: "tool", content: text, tool_call_id: callId, ...(name && { name }) });
            }
        }
    }
    if (describe.length === 0) return chat;
    const description = describeTools(describe);
    const first = chat.find(({ role }) => role === "system");
    if (first === undefined) chat.unshift({ role: "system", content: description });
    else first.content += `\n\n${description}`;
    return chat;
}

function assistantMessage(
    { text, calls, reasoning }: Extract<Message, { role: "assistant" }>,
    form: TemplateCapabilities["calls"]
): TemplateMessage {
    const thought = reasoning === undefined || reasoning === "" ? {} : { reasoning_content: reasoning };
    if (calls.length === 0) return { role: "assistant", content: text, ...thought };
    if (form === undefined) {
        const written = calls.map(writeCall).join("\n");
        return { role: "assistant", content: text === "" ? written : `${text}\n${written}`, ...thought };
    }
    return {
        role: "assistant",
        content: text,
        ...thought,
        tool_calls: calls.map(({ id, name, arguments: json }) => ({
            id,
            type: "function",
            function: { name, arguments: json }
        }))
    };
}

/** The chat with call ids of nine characters; undefined if it has no calls. */
function withShortIds(messages: readonly Message[]): Message[] | undefined {
    const ids = new Map<string, string>();
    const shorten = (id: string) => {
        const short = ids.get(id) ?? `call${String(ids.size).padStart(5, "0")}`;
        ids.set(id, short);
        return short;
    };
    const chat = messages.map((message): Message => {
        if (message.role === "tool") return { ...message, callId: shorten(message.callId) };
        if (message.role !== "assistant") return message;
        return { ...message, calls: message.calls.map((call) => ({ ...call, id: shorten(call.id) })) };
    });
    return ids.size === 0 ? undefined : chat;
}

function writeCall({ name, arguments: json }: ToolCall): string {
    return `${plainSyntax.begin}${name}${plainSyntax.middle}${json}${plainSyntax.end}`;
}

/** Appends a result as a user's text; results of the same turn share a message. */
function appendResult(chat: TemplateMessage[], text: string): void {
    const written = `||result: ${text}`;
    const last = chat.at(-1);
    if (last?.role === "user" && last.content.startsWith("||result: ")) last.content += `\n${written}`;
    else chat.push({ role: "user", content: written });
}

function describeTools(tools: readonly Tool[]): string {
    return [
        "You can call functions. To call one, write its name and its arguments as JSON, and nothing after it:",
        `${plainSyntax.begin}name${plainSyntax.middle}{"argument": "value"}${plainSyntax.end}`,
        "The result comes back behind ||result: and is not shown to the user. These are the functions:",
        ...tools.map(({ name, description, parameters }) => toJson({ name, description, parameters }))
    ].join("\n");
}

/** For templates without system messages: their text is prepended to the next user message. */
function withoutSystem(chat: readonly TemplateMessage[]): TemplateMessage[] {
    const result: TemplateMessage[] = [];
    let rules: string[] = [];
    for (const message of chat) {
        if (message.role === "system") {
            rules.push(message.content);
            continue;
        }
        if (rules.length > 0 && message.role !== "user") result.push({ role: "user", content: rules.join("\n\n") });
        const isUser = message.role === "user" && rules.length > 0;
        result.push(isUser ? { ...message, content: [...rules, message.content].join("\n\n") } : message);
        rules = [];
    }
    if (rules.length > 0) result.push({ role: "user", content: rules.join("\n\n") });
    return result;
}

function toTemplateTool({ name, description, parameters }: Tool): TemplateTool {
    return {
        name,
        description: description ?? "",
        parameters: toJson(parameters ?? { type: "object", properties: {} })
    };
}
