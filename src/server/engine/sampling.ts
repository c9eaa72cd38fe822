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
    /** Added to the logits of tokens. */
    logitBias: ReadonlyMap<Token, number>;
}

/** Tokens that penalties have room for at first; a longer answer makes more. */
const maxCountedTokens = 2 ** 16;

/** Options of node-llama-cpp for one answer. Penalties count the tokens of the answer alone, as OpenAI's do. */
export function samplingOptions(
    model: LlamaModel,
    sampling: Sampling,
    { choice, written, maxTokens }: { choice: number; written: readonly Token[]; maxTokens: number }
): Pick<SequenceEvaluateOptions, "temperature" | "topP" | "topK" | "minP" | "seed" | "repeatPenalty" | "tokenBias"> {
    const { temperature, topP, topK, minP, seed, repeatPenalty, presencePenalty, frequencyPenalty, logitBias } =
        sampling;
    const hasPenalty = repeatPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0;
    return {
        temperature,
        topP,
        topK,
        minP,
        // each choice of a request is another draw, and the same one in the next request with this seed
        seed: seed === undefined ? randomInt(2 ** 32) : (seed + choice) % 2 ** 32,
        repeatPenalty: hasPenalty
            ? {
                  punishTokens: () => [...written],
                  maxPunishTokens: Math.min(maxTokens, maxCountedTokens),
                  penalty: repeatPenalty,
                  presencePenalty,
                  frequencyPenalty
              }
            : undefined,
        tokenBias: logitBias.size > 0 ? biasOf(model, logitBias) : undefined
    };
}
