import type { WrittenCall } from "../../engine/tools.js";
import { newId } from "../../Server.js";
import type { ResponseBody, ResponseItem } from "../../schemas/responses.js";

type MessageItem = Extract<ResponseItem, { type: "message" }>;
type Logprobs = MessageItem["content"][number]["logprobs"];
type Send = (type: string, data: object) => Promise<void>;

/** Writes the items of a response, with OpenAI's events in OpenAI's order. */
export class OutputWriter {
    private message: MessageItem | undefined;
    private isOpen = false;
    private text = "";
    private readonly logprobs: Logprobs = [];

    /** @param send sends an event, if the response is streamed */
    constructor(
        private readonly output: ResponseBody["output"],
        private readonly send: Send
    ) {}

    async addText(delta: string, logprobs: Logprobs = []): Promise<void> {
        const message = await this.begin();
        this.text += delta;
        this.logprobs.push(...logprobs);
        await this.send("response.output_text.delta", { ...this.at(message), delta, logprobs });
    }

    /** @returns the id of the call */
    async addCall({ name, arguments: json }: WrittenCall): Promise<string> {
        await this.endMessage("completed");
        const id = newId("call_");
        const item: ResponseItem = {
            type: "function_call",
            id: newId("fc_"),
            status: "in_progress",
            call_id: id,
            name,
            arguments: ""
        };
        const at = { item_id: item.id, output_index: this.output.length };
        this.output.push(item);
        await this.send("response.output_item.added", { output_index: at.output_index, item });
        await this.send("response.function_call_arguments.delta", { ...at, delta: json });
        await this.send("response.function_call_arguments.done", { ...at, name, arguments: json });
        item.arguments = json;
        item.status = "completed";
        await this.send("response.output_item.done", { output_index: at.output_index, item });
        return id;
    }

    /** Ends the text. An answer without items gets an empty message. */
    async end(status: "completed" | "incomplete"): Promise<void> {
        if (this.output.length === 0) await this.begin();
        await this.endMessage(status);
    }

    private async begin(): Promise<MessageItem> {
        if (this.message !== undefined) return this.message;
        const message: MessageItem = {
            type: "message",
            id: newId("msg_"),
            status: "in_progress",
            role: "assistant",
            content: []
        };
        this.output.push(message);
        this.message = message;
        this.isOpen = true;
        await this.send("response.output_item.added", { output_index: this.output.indexOf(message), item: message });
        await this.send("response.content_part.added", { ...this.at(message), part: outputText("", []) });
        return message;
    }

    private async endMessage(status: "completed" | "incomplete"): Promise<void> {
        const { message, text, logprobs } = this;
        if (message === undefined || !this.isOpen) return;
        this.isOpen = false;
        const part = outputText(text, logprobs);
        message.content = [part];
        message.status = status;
        await this.send("response.output_text.done", { ...this.at(message), text, logprobs });
        await this.send("response.content_part.done", { ...this.at(message), part });
        await this.send("response.output_item.done", { output_index: this.output.indexOf(message), item: message });
    }

    private at(message: MessageItem) {
        return { item_id: message.id, output_index: this.output.indexOf(message), content_index: 0 };
    }
}

function outputText(text: string, logprobs: Logprobs): MessageItem["content"][number] {
    return { type: "output_text", text, annotations: [], logprobs };
}
