import {
    type ChatHistoryItem,
    type ChatModelFunctions,
    ChatWrapper,
    type ChatWrapperGenerateContextStateOptions,
    type ChatWrapperGeneratedContextState,
    LlamaChat,
    LlamaText
} from "../../../plugin/index.js";
import { ApiError } from "../errors.js";
import type { ReadPrompt } from "./Engine.js";
import type { GenerateOptions } from "./generate.js";
import { samplingOptions } from "./sampling.js";

/** What a client lets the model do with its tools. */
export type ToolChoice = "auto" | "required";

/** A chat wrapper with which the model's turn begins with a call. */
export class CallingChatWrapper extends ChatWrapper {
    override readonly wrapperName: string;
    override readonly settings: ChatWrapper["settings"];

    constructor(private readonly wrapped: ChatWrapper) {
        super();
        this.wrapperName = wrapped.wrapperName;
        this.settings = wrapped.settings;
    }

    override generateContextState(options: ChatWrapperGenerateContextStateOptions): ChatWrapperGeneratedContextState {
        const { contextText, stopGenerationTriggers } = this.wrapped.generateContextState(options);
        return {
            contextText,
            stopGenerationTriggers,
            noPrefixTrigger: { type: "functionCall", inject: LlamaText([]) }
        };
    }
}

export interface ToolAnswer {
    readonly finishReason: "stop" | "length" | "tool_calls";
    readonly completionTokens: number;
}

export interface ToolOptions
    extends Pick<GenerateOptions, "choice" | "maxTokens" | "sampling" | "stop" | "signal" | "onPiece"> {
    history: ChatHistoryItem[];
    functions: ChatModelFunctions;
    chatWrapper: ChatWrapper;
    /** Calls in one turn. */
    parallel: boolean;
    onCall: (call: { index: number; name: string; arguments: string }) => void | Promise<void>;
}

/** Forgetting the beginning of a chat without a word is not an answer to it. */
function refuseShift(): never {
    throw new ApiError(400, "the chat and its answer do not fit into the model's context", {
        param: "messages",
        code: "context_length_exceeded"
    });
}

/** Lets the model answer with text or calls, through node-llama-cpp's function calling. */
export async function generateWithTools(
    { sequence }: ReadPrompt,
    {
        history,
        functions,
        chatWrapper,
        parallel,
        sampling,
        choice,
        maxTokens,
        stop,
        signal,
        onPiece,
        onCall
    }: ToolOptions
): Promise<ToolAnswer> {
    const chat = new LlamaChat({ contextSequence: sequence, chatWrapper });
    const before = sequence.tokenMeter.usedOutputTokens;
    const { repeatPenalty, ...options } = samplingOptions(sequence.model, sampling, { choice, written: [], maxTokens });
    let shown: Promise<void> | undefined;
    try {
        const { functionCalls, metadata } = await chat.generateResponse(history, {
            ...options,
            functions,
            maxParallelFunctionCalls: parallel ? undefined : 1,
            maxTokens,
            signal,
            customStopTriggers: stop,
            contextShift: { size: 1, strategy: refuseShift },
            repeatPenalty: repeatPenalty && {
                lastTokens: maxTokens,
                penalty: 1,
                penalizeNewLine: true,
                frequencyPenalty: repeatPenalty.frequencyPenalty,
                presencePenalty: repeatPenalty.presencePenalty
            },
            onTextChunk: (text) => {
                shown = Promise.resolve(onPiece({ text, logprobs: [] }));
            }
        });
        await shown;
        for (const [index, { functionName, params }] of (functionCalls ?? []).entries())
            await onCall({ index, name: functionName, arguments: JSON.stringify(params ?? {}) });
        const calls = functionCalls?.length ?? 0;
        const finishReason = calls > 0 ? "tool_calls" : metadata.stopReason === "maxTokens" ? "length" : "stop";
        return { finishReason, completionTokens: sequence.tokenMeter.usedOutputTokens - before };
    } finally {
        chat.dispose({ disposeSequence: false });
    }
}
