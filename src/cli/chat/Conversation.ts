import type { ArmtSnapshot, LlamaContextSequence, Token } from "../../../plugin/index.js";
import { AnswerText } from "../../generation/AnswerText.js";
import type { ChatTemplate } from "../../generation/chat-template/ChatTemplate.js";
import type { Message } from "../../generation/chat-template/messages.js";
import { ArmtError } from "../../util/errors.js";
import { openChatTemplate, openingMessages, renderChat } from "../shared/chat-prompt.js";
import { type GenerationOptions, generate } from "../shared/generate.js";

export interface ConversationOptions extends GenerationOptions {
    systemPrompt?: string;
}

/**
 * A chat in a sequence, on top of a memory or of nothing. Each turn evaluates only the tokens that are new. If the
 * template changes earlier ones, as some do with a model's reasoning, the whole chat is evaluated again.
 */
export class Conversation {
    private messages: Message[];
    /** Tokens after the memory; the sequence holds the first {@link held} of them. */
    private tokens: readonly Token[] = [];
    private readonly template: ChatTemplate;
    private readonly base: number;

    /** @param memory what the sequence holds now; undefined if it is empty. The caller disposes it. */
    constructor(
        private readonly sequence: LlamaContextSequence,
        private readonly options: ConversationOptions,
        private readonly memory?: ArmtSnapshot
    ) {
        this.template = openChatTemplate(sequence.model);
        this.messages = openingMessages(options.systemPrompt);
        this.base = sequence.nextTokenIndex;
    }

    /** Forgets all messages, but not the memory. */
    reset(): void {
        this.messages = openingMessages(this.options.systemPrompt);
    }

    /**
     * Answers a message. An abort with an `InterruptedError` ends the answer, and what is written so far stays in the
     * chat.
     * @throws {ChatRefusedError} if the template refuses the chat; the message is then not part of it
     * @throws {ArmtError} if the chat no longer fits into a plain model's context; the message is then not part of it
     */
    async *answer(text: string, signal: AbortSignal): AsyncGenerator<string, void, void> {
        const messages: Message[] = [...this.messages, { role: "user", text }];
        const { model } = this.sequence;
        const { tokens, stopTokens } = await renderChat(this.template, model, messages, this.memory !== undefined);
        this.checkLength(tokens.length);
        const rest = await this.keepPrefix(tokens);
        await this.startQuestion(rest);
        const reader = new AnswerText(model, { usesOwnStops: !this.options.ignoreEos });
        const written: Token[] = [];
        let answer = "";
        try {
            const options = { ...this.options, maxTokens: this.maxTokens(tokens.length) };
            for await (const token of generate(this.sequence, rest, options, { signal, stopTokens })) {
                written.push(token);
                const { text: piece, stopped } = reader.push(token);
                answer += piece;
                if (piece !== "") yield piece;
                if (stopped !== undefined) break;
            }
            const { text: last } = reader.end();
            answer += last;
            if (last !== "") yield last;
        } finally {
            this.tokens = [...tokens, ...written];
            this.messages = [...messages, { role: "assistant", text: answer, calls: [] }];
        }
    }

    async dispose(): Promise<void> {
        await this.template.dispose();
    }

    /** Number of {@link tokens} that the sequence holds. The last one of an answer is not evaluated. */
    private get held(): number {
        return this.sequence.nextTokenIndex - this.base;
    }

    /**
     * Makes the sequence hold only tokens that a chat begins with, and at least one less than all.
     * @returns the tokens to evaluate
     */
    private async keepPrefix(tokens: readonly Token[]): Promise<readonly Token[]> {
        const { sequence, held } = this;
        // a cancelled read can leave less than the chat began with
        const isPrefix =
            held >= 0 && held < tokens.length && this.tokens.slice(0, held).every((token, i) => tokens[i] === token);
        if (isPrefix) return tokens.slice(held);
        if (this.memory !== undefined) {
            await sequence.armt!.restore(this.memory);
            return tokens;
        }
        await sequence.adaptStateToTokens(tokens.slice(0, -1), false);
        return tokens.slice(this.held);
    }

    /**
     * Prepares for a question as the model was trained. After an answer, the tokens to read begin with the end of that
     * answer, and the read closes the segment where the question starts if the model file says how questions do.
     */
    private async startQuestion(rest: readonly Token[]): Promise<void> {
        const { armt, model, nextTokenIndex } = this.sequence;
        if (armt === undefined || nextTokenIndex === 0) return;
        const { close, start, before } = model.armt?.ask ?? {};
        const isFoundInside = close === true && (start ?? before) !== undefined;
        if (this.held === 0 || !isFoundInside) await armt.startQuestion(rest);
    }

    /** A plain model's answer ends where its context does. */
    private maxTokens(prompt: number): number {
        const { maxTokens } = this.options;
        const { model, context } = this.sequence;
        if (model.armt !== undefined) return maxTokens;
        const room = context.contextSize - prompt;
        return maxTokens < 0 ? room : Math.min(maxTokens, room);
    }

    private checkLength(tokens: number): void {
        const { model, context } = this.sequence;
        if (model.armt !== undefined || tokens < context.contextSize) return;
        throw new ArmtError(
            `the chat has ${tokens} tokens, and the context of this model holds ${context.contextSize}; ` +
                "/reset starts a new chat"
        );
    }
}
