import { randomInt } from "node:crypto";
import type { ArmtSamplingDefaults } from "../../../plugin/context/sampling-defaults.js";
import type { SequenceEvaluateOptions, Token } from "../../../plugin/index.js";
import { checkNumber } from "./numbers.js";

/** How tokens are drawn. */
export interface SamplingOptions {
    /** Default: as the model file says, or 0, which picks the most probable token. */
    temperature?: number;
    /** 0: all tokens. Default: as the model file says, or node-llama-cpp's. */
    topK?: number;
    /** Default: as the model file says, or node-llama-cpp's. */
    topP?: number;
    /** Default: as the model file says, or node-llama-cpp's. */
    minP?: number;
    /** -1: a new one each time. Default: -1. */
    seed?: number;
    /** Default: as the model file says, or 1, no penalty. */
    repeatPenalty?: number;
    /**
     * Number of recent tokens that penalties count; -1: as many as they can, 65,536. Default: as the model file says,
     * or 64. Unit: tokens.
     */
    repeatLastN?: number;
    /** Default: 0. */
    presencePenalty?: number;
    /** Default: 0. */
    frequencyPenalty?: number;
}

/** llama.cpp's default of `--repeat-last-n`. Unit: tokens. */
const defaultRepeatLastN = 64;

/** Tokens that penalties can count: with each token, they are copied and compared. */
const maxCountedTokens = 2 ** 16;

/** Seeds are 32-bit numbers. */
const maxSeed = 2 ** 32 - 1;

/** @throws {UsageError} if a number is invalid */
export function checkSamplingOptions(options: SamplingOptions): void {
    checkNumber("temp", options.temperature, { min: 0, integer: false });
    checkNumber("top-k", options.topK, { min: 0 });
    checkNumber("top-p", options.topP, { min: 0, max: 1, integer: false });
    checkNumber("min-p", options.minP, { min: 0, max: 1, integer: false });
    checkNumber("seed", options.seed, { min: -1, max: maxSeed });
    checkNumber("repeat-penalty", options.repeatPenalty, { min: 0.01, integer: false });
    checkNumber("repeat-last-n", options.repeatLastN, { min: -1 });
    checkNumber("presence-penalty", options.presencePenalty, { min: -100, max: 100, integer: false });
    checkNumber("frequency-penalty", options.frequencyPenalty, { min: -100, max: 100, integer: false });
}

/**
 * The options of node-llama-cpp for one answer.
 * @param tokens the prompt, then the answer as far as it is written; penalties count the last of them, as in llama.cpp
 * @param defaults what the model file says
 */
export function evaluateOptions(
    options: SamplingOptions,
    tokens: readonly Token[],
    defaults: ArmtSamplingDefaults = {}
): Pick<SequenceEvaluateOptions, "temperature" | "topK" | "topP" | "minP" | "seed" | "repeatPenalty"> {
    const { seed = -1, presencePenalty = 0, frequencyPenalty = 0 } = options;
    const repeatPenalty = options.repeatPenalty ?? defaults.repeatPenalty ?? 1;
    const repeatLastN = options.repeatLastN ?? defaults.repeatLastN ?? defaultRepeatLastN;
    const hasPenalty = repeatLastN !== 0 && (repeatPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0);
    const count = Math.min(repeatLastN < 0 ? Number.POSITIVE_INFINITY : repeatLastN, maxCountedTokens);
    return {
        temperature: options.temperature ?? defaults.temperature ?? 0,
        topK: options.topK ?? defaults.topK,
        topP: options.topP ?? defaults.topP,
        minP: options.minP ?? defaults.minP,
        seed: seed < 0 ? randomInt(maxSeed) : seed,
        repeatPenalty: hasPenalty
            ? {
                  punishTokens: () => tokens.slice(Math.max(0, tokens.length - count)),
                  maxPunishTokens: count,
                  penalty: repeatPenalty,
                  presencePenalty,
                  frequencyPenalty
              }
            : undefined
    };
}
