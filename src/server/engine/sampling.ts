import { randomInt } from "node:crypto";
import type { LlamaModel, SequenceEvaluateOptions, Token } from "../../../plugin/index.js";
import { biasOf } from "../../generation/token-bias.js";

/** How tokens are drawn, in the API's words. */
export interface Sampling {
    /** 0 takes the most probable token. */
    temperature: number;
    topP: number;
    /** 0: all tokens. */
    topK: number;
    minP: number;
    seed?: number;
    /** Divides the logits of tokens that the answer has; 1: no penalty. */
    repeatPenalty: number;
    presencePenalty: number;
    frequencyPenalty: number;
    /** Last tokens of the answer that penalties count. Default: 2,048, which is the maximum. */
    penaltyTokens?: number;
    /** Added to the logits of tokens. */
    logitBias: ReadonlyMap<Token, number>;
}

/**
 * Last tokens of an answer that penalties count: with each token, they are copied and compared. llama-server counts 64
 * of them by default (`repeat_last_n`).
 */
export const maxCountedTokens = 2048;

/**
 * Options of node-llama-cpp for one answer. Penalties count the tokens of the answer alone, as OpenAI's do, and of
 * those the last 2,048.
 */
export function samplingOptions(
    model: LlamaModel,
    sampling: Sampling,
    { choice, written, maxTokens }: { choice: number; written: readonly Token[]; maxTokens: number }
): Pick<SequenceEvaluateOptions, "temperature" | "topP" | "topK" | "minP" | "seed" | "repeatPenalty" | "tokenBias"> {
    const { temperature, topP, topK, minP, seed, repeatPenalty, presencePenalty, frequencyPenalty, logitBias } =
        sampling;
    const counted = Math.min(sampling.penaltyTokens ?? maxCountedTokens, maxCountedTokens);
    const counts = repeatPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0;
    const hasPenalty = counts && counted > 0;
    return {
        temperature,
        topP,
        topK,
        minP,
        // each choice of a request is another draw, and the same one in the next request with this seed
        seed: seed === undefined ? randomInt(2 ** 32) : (seed + choice) % 2 ** 32,
        repeatPenalty: hasPenalty
            ? {
                  punishTokens: () => written.slice(-counted),
                  maxPunishTokens: Math.min(maxTokens, counted),
                  penalty: repeatPenalty,
                  presencePenalty,
                  frequencyPenalty
              }
            : undefined,
        tokenBias: logitBias.size > 0 ? biasOf(model, logitBias) : undefined
    };
}
