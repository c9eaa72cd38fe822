import type { WrittenCall } from "../../engine/tools.js";
import { jsonText } from "../../JsonText.js";
import { newId } from "../../Server.js";
import type { MessageResponse } from "../../schemas/messages.js";

type Send = (type: string, data: object) => Promise<void>;

/** Writes the blocks of a message, with Anthropic's events in Anthropic's order. */
export class ContentWriter {
    private text: { type: "text"; text: string } | undefined;

    /** @param send sends an event, if the message is streamed */
    constructor(
        private readonly content: MessageResponse["content"],
        private readonly send: Send
    ) {}

    async addText(text: string): Promise<void> {
        if (this.text === undefined) {
            this.text = { type: "text", text: "" };
            this.content.push(this.text);
            await this.send("content_block_start", { index: this.index, content_block: { type: "text", text: "" } });
        }
        this.text.text += text;
        await this.send("content_block_delta", { index: this.index, delta: { type: "text_delta", text } });
    }

    async addCall({ name, arguments: json }: WrittenCall): Promise<void> {
        await this.end();
        const id = newId("toolu_");
        this.content.push({ type: "tool_use", id, name, input: jsonText(json) });
        const { index } = this;
        await this.send("content_block_start", { index, content_block: { type: "tool_use", id, name, input: {} } });
        await this.send("content_block_delta", { index, delta: { type: "input_json_delta", partial_json: json } });
        await this.send("content_block_stop", { index });
    }

    /** Ends a text that is open. */
    async end(): Promise<void> {
        if (this.text === undefined) return;
        this.text = undefined;
        await this.send("content_block_stop", { index: this.index });
    }

    private get index(): number {
        return this.content.length - 1;
    }
}
