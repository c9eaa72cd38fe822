import type { Message } from "../../generation/chat-template/messages.js";
import type { Format } from "../engine/grammar.js";
import type { Sampling } from "../engine/sampling.js";
import type { ToolChoice } from "../engine/tools.js";

/** A chat to answer. Each protocol translates its requests to this form. */
export interface ChatQuery {
    readonly messages: readonly Message[];
    /** Default: the model may call nothing. */
    readonly tools?: ToolChoice;
    /** Default: any text. */
    readonly format?: Format;
    /** Parameter of the request with the format, for errors. Default: `response_format`. */
    readonly formatParam?: string;
    readonly sampling: Sampling;
    /** Strings that end the answer. Default: none. */
    readonly stop?: readonly string[];
    /** Unit: tokens, from 0. Default: the server's `defaultMaxTokens`. */
    readonly maxTokens?: number;
    /** Variables for the chat template. Default: none. */
    readonly variables?: Readonly<Record<string, unknown>>;
    /** Numbers of messages after which the store keeps a checkpoint. Default: only where the store chooses to. */
    readonly keepAfter?: readonly number[];
    /** Whether the question about a memory starts a new segment. Default: what suits the model. */
    readonly closeBeforeQuestion?: boolean;
    /** Whether what is already read may be used again. Default: `true`. */
    readonly reusesPrompt?: boolean;
    /** Number of most probable tokens to return with each token. Default: no log-probabilities. */
    readonly logprobs?: number;
    /** Parameter of the request with the messages, for errors. */
    readonly param: string;
}
