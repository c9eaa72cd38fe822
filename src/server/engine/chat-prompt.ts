import type {
    ChatHistoryItem,
    ChatModelFunctionCall,
    ChatModelFunctions,
    ChatWrapper,
    Token
} from "../../../plugin/index.js";
import { ApiError } from "../errors.js";
import type { Engine } from "./Engine.js";
import { tokenizeLlamaText } from "./tokenize-text.js";

/** A message as all of the API's endpoints have it once it is checked. */
export type Message =
    | { readonly role: "system" | "user"; readonly text: string }
    | { readonly role: "assistant"; readonly text: string; readonly calls: readonly ToolCall[] }
    | { readonly role: "tool"; readonly callId: string; readonly text: string };

export interface ToolCall {
    readonly id: string;
    readonly name: string;
    /** JSON. */
    readonly arguments: string;
}

/** A chat as the model wants it. */
export interface ChatPrompt {
    readonly history: ChatHistoryItem[];
    readonly tokens: Token[];
    /** Texts and tokens that end the model's turn, besides its end-of-text token. */
    readonly stop: readonly string[];
    readonly stopTokens: ReadonlySet<Token>;
}

/**
 * Renders a chat with the template of the model file.
 * @param continues whether it continues a memory, which has the begin token already
 * @throws {ApiError} where the template does not take it
 */
export async function renderChat(
    engine: Engine,
    messages: readonly Message[],
    functions: ChatModelFunctions | undefined,
    continues: boolean,
    chatWrapper: ChatWrapper | undefined = engine.chatWrapper
): Promise<ChatPrompt> {
    if (chatWrapper === undefined)
        throw new ApiError(501, "this model has no tokenizer, so it cannot chat; use /v1/completions with token ids");
    const history = toHistory(messages);
    // the model's turn, which is open
    if (history.at(-1)?.type !== "model") history.push({ type: "model", response: [] });
    const { contextText, stopGenerationTriggers } = generateState(chatWrapper, history, functions);
    const { tokenizer, tokens } = engine.model;
    let ids = await tokenizeLlamaText(contextText, tokenizer);
    if (!continues && tokens.shouldPrependBosToken && tokens.bos !== null && ids[0] !== tokens.bos)
        ids = [tokens.bos, ...ids];
    if (continues && ids[0] === tokens.bos) ids = ids.slice(1);
    const stop: string[] = [];
    const stopTokens = new Set<Token>();
    for (const trigger of stopGenerationTriggers) {
        const isText = trigger.values.every((value) => typeof value === "string");
        if (isText) {
            const text = String(trigger);
            if (text !== "") stop.push(text);
            continue;
        }
        const ended = trigger.tokenize(tokenizer);
        if (ended.length === 1) stopTokens.add(ended[0]!);
    }
    return { history, tokens: ids, stop, stopTokens };
}

function generateState(
    chatWrapper: ChatWrapper,
    chatHistory: ChatHistoryItem[],
    availableFunctions: ChatModelFunctions | undefined
) {
    try {
        return chatWrapper.generateContextState({ chatHistory, availableFunctions });
    } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new ApiError(400, `the model's chat template does not take these messages: ${reason}`, {
            param: "messages"
        });
    }
}

/** Messages in node-llama-cpp's form: what an assistant said and called, with the tools' results, is one response. */
function toHistory(messages: readonly Message[]): ChatHistoryItem[] {
    const history: ChatHistoryItem[] = [];
    const calls = new Map<string, ChatModelFunctionCall>();
    const append = (part: string | ChatModelFunctionCall) => {
        const last = history.at(-1);
        if (last?.type === "model") last.response.push(part);
        else history.push({ type: "model", response: [part] });
    };
    for (const message of messages) {
        switch (message.role) {
            case "system":
                history.push({ type: "system", text: message.text });
                break;
            case "user":
                history.push({ type: "user", text: message.text });
                break;
            case "assistant": {
                if (message.text !== "" || message.calls.length === 0) append(message.text);
                for (const [i, { id, name, arguments: json }] of message.calls.entries()) {
                    const call: ChatModelFunctionCall = {
                        type: "functionCall",
                        name,
                        params: JSON.parse(json),
                        result: undefined,
                        ...(i === 0 ? { startsNewChunk: true } : {})
                    };
                    calls.set(id, call);
                    append(call);
                }
                break;
            }
            case "tool":
                calls.get(message.callId)!.result = parseResult(message.text);
        }
    }
    return history;
}

/** Most tools give JSON, and a template would quote it again. */
function parseResult(text: string): unknown {
    try {
        return JSON.parse(text);
    } catch {
        return text;
    }
}
