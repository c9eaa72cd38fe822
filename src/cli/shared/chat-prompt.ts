import type { LlamaModel } from "../../../plugin/index.js";
import { beginTokens } from "../../../plugin/memory/feed.js";
import { ChatTemplate, type RenderedChat } from "../../generation/chat-template/ChatTemplate.js";
import type { Message } from "../../generation/chat-template/messages.js";
import { needTokenizer } from "./prompt.js";

/** A chat as the tokens that a sequence evaluates, and the tokens that end the answer. */
export type ChatPrompt = Pick<RenderedChat, "tokens" | "stopTokens">;

/**
 * Opens the chat template of a model file.
 * @throws {ArmtError} if the model has no tokenizer
 */
export function openChatTemplate(model: LlamaModel): ChatTemplate {
    needTokenizer(model);
    return new ChatTemplate(model);
}

/**
 * Renders a chat up to the start of the model's answer.
 * @param follows whether the chat follows a text that has been read
 * @throws {ChatRefusedError} if the template refuses the chat
 */
export async function renderChat(
    template: ChatTemplate,
    model: LlamaModel,
    messages: readonly Message[],
    follows: boolean
): Promise<ChatPrompt> {
    const { tokens, stopTokens } = await template.render(messages, { follows });
    return { tokens: follows ? tokens : [...beginTokens(model, tokens), ...tokens], stopTokens };
}

/** The first messages of a chat. */
export function openingMessages(system: string | undefined): Message[] {
    return system === undefined ? [] : [{ role: "system", text: system }];
}
