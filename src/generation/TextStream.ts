import type { LlamaModel, Token } from "../../plugin/index.js";

/** Tokens that one character may be spread over; a character that is still broken after them is shown as it is. */
const maxTokensOfCharacter = 4;

/** What the tokenizer gives for a character of which bytes are missing. */
const replacement = "\ufffd";

/** Turns tokens into text as they come, and never splits a character of several bytes. */
export class TextStream {
    private readonly done: Token[] = [];
    private pending: Token[] = [];

    constructor(private readonly model: Pick<LlamaModel, "detokenize">) {}

    /** @returns the text that is complete now; often one word, sometimes empty */
    push(token: Token): string {
        this.pending.push(token);
        const text = this.detokenizePending();
        if (text.endsWith(replacement) && this.pending.length < maxTokensOfCharacter) return "";
        return this.take(text);
    }

    /** @returns the text that was held back */
    end(): string {
        return this.take(this.detokenizePending());
    }

    private detokenizePending(): string {
        return this.model.detokenize(this.pending, false, this.done);
    }

    private take(text: string): string {
        // the tokenizer only looks at the last few tokens before the new ones
        this.done.push(...this.pending);
        this.done.splice(0, this.done.length - 2 * maxTokensOfCharacter);
        this.pending = [];
        return text;
    }
}
