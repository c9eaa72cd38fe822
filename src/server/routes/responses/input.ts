import type { Message } from "../../../generation/chat-template/messages.js";
import { OpenCalls } from "../../chat/OpenCalls.js";
import { checkArgumentsSize, checkCall } from "../../chat-request.js";
import { badParameter } from "../../errors.js";
import type { ResponseInputItem, ResponseItem, ResponseRequest } from "../../schemas/responses.js";

export interface InputContext {
    /** Conversation that the input continues. */
    previous: readonly Message[];
    /** Finds an item of a stored response. */
    itemOf: (id: string, param: string) => ResponseItem;
    /** Gets a line for each item that is left out. */
    note: (text: string) => void;
}

/**
 * The conversation with a request's input.
 * @throws {ApiError} if a result has no call, or a call has no result
 */
export function messagesOf(input: ResponseRequest["input"], context: InputContext): Message[] {
    const chat = new Conversation(context.previous);
    if (typeof input === "string") chat.add({ role: "user", text: input }, "input");
    else for (const [i, item] of input.entries()) addItem(chat, item, `input.${i}`, context);
    chat.end("input");
    return chat.messages;
}

function addItem(chat: Conversation, item: ResponseInputItem | ResponseItem, at: string, context: InputContext): void {
    if (item.type === undefined || item.type === "message") {
        const text = textOf(item.content);
        if (item.role === "assistant") chat.addAnswer(text, at);
        else chat.add({ role: item.role === "user" ? "user" : "system", text }, at);
        return;
    }
    switch (item.type) {
        case "function_call":
            chat.addCall({ id: item.call_id, name: item.name, arguments: item.arguments }, at);
            break;
        case "function_call_output":
            chat.addResult(item.call_id, textOf(item.output), at);
            break;
        case "item_reference":
            addItem(chat, context.itemOf(item.id, `${at}.id`), at, context);
            break;
        case "reasoning":
            chat.addReasoning(textOf([...(item.content ?? item.summary ?? [])]));
            break;
        default:
            context.note(`${at}, of type ${item.type}, was left out: this server has no such tool`);
    }
}

type Part = { readonly text: string } | { readonly refusal: string };

function textOf(content: string | readonly Part[]): string {
    if (typeof content === "string") return content;
    return content.map((part) => ("text" in part ? part.text : part.refusal)).join("\n");
}

type Answer = Extract<Message, { role: "assistant" }>;

/** Joins items to messages: a text and the calls after it are one message of the assistant. */
class Conversation {
    readonly messages: Message[];
    /** Calls of the last message that has any. */
    private readonly open = new OpenCalls();
    /** Arguments of all calls. */
    private readonly written: string[] = [];
    private reasoning: string | undefined;

    constructor(previous: readonly Message[]) {
        this.messages = [...previous];
        const last = previous.at(-1);
        if (last?.role === "assistant") for (const { id } of last.calls) this.open.add(id);
    }

    add(message: Message, at: string): void {
        this.close(at);
        this.reasoning = undefined;
        this.messages.push(message);
    }

    addReasoning(text: string): void {
        if (text !== "") this.reasoning = text;
    }

    addAnswer(text: string, at: string): void {
        const last = this.messages.at(-1);
        // a text that was written after a call belongs to the same message, before the call's result
        if (this.open.first !== undefined && last?.role === "assistant") {
            this.messages[this.messages.length - 1] = {
                ...last,
                text: last.text === "" ? text : `${last.text}\n${text}`
            };
            return;
        }
        this.close(at);
        this.messages.push(this.answer(text));
    }

    addCall(call: Answer["calls"][number], at: string): void {
        this.written.push(call.arguments);
        checkArgumentsSize(this.written, "input");
        const checked = checkCall(call, `${at}.arguments`);
        const last = this.messages.at(-1);
        const answer = last?.role === "assistant" ? last : this.answer("");
        if (last !== answer) {
            this.close(at);
            this.messages.push(answer);
        }
        this.messages[this.messages.length - 1] = { ...answer, calls: [...answer.calls, checked] };
        this.open.add(call.id);
    }

    addResult(callId: string, text: string, at: string): void {
        if (!this.open.answer(callId)) throw badParameter(`${at}.call_id`, "no call of this id is open before it");
        this.messages.push({ role: "tool", callId, text });
    }

    end(at: string): void {
        const { first } = this.open;
        if (first !== undefined)
            throw badParameter(at, `the call ${first} has no result; add its function_call_output`);
    }

    private answer(text: string): Answer {
        const { reasoning } = this;
        this.reasoning = undefined;
        return { role: "assistant", text, calls: [], ...(reasoning === undefined ? {} : { reasoning }) };
    }

    /** Ends the turn of the calls so far. */
    private close(at: string): void {
        const { first } = this.open;
        if (first !== undefined)
            throw badParameter(at, `the call ${first} before this item has no function_call_output`);
        this.open.clear();
    }
}
