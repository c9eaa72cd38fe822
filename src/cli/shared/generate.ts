import { samplingDefaults } from "../../../plugin/context/sampling-defaults.js";
import type { LlamaContextSequence, Token } from "../../../plugin/index.js";
import { InterruptedError } from "./interrupt.js";
import { checkNumber } from "./numbers.js";

/** Length and sampling of an answer. */
export interface GenerationOptions {
    maxTokens: number;
    /** Default: as the model file says, or 0. */
    temperature?: number;
    seed?: number;
    ignoreEos: boolean;
}

/** @throws {UsageError | RangeError} if a number is invalid */
export function checkGenerationOptions(options: GenerationOptions): void {
    checkNumber("max-tokens", options.maxTokens, { min: 0 });
    checkNumber("temperature", options.temperature, { min: 0, integer: false });
    checkNumber("seed", options.seed, { min: 0 });
}

/** Generates the tokens that follow a prompt. An interrupt ends the generation without an error. */
export async function* generate(
    sequence: LlamaContextSequence,
    promptTokens: Token[],
    { maxTokens, temperature, seed, ignoreEos }: GenerationOptions,
    signal: AbortSignal
): AsyncGenerator<Token, void, void> {
    const cancel = () => sequence.armt?.cancelEvaluation(signal.reason);
    signal.addEventListener("abort", cancel);
    try {
        if (maxTokens === 0) {
            await sequence.evaluateWithoutGeneratingNewTokens(promptTokens);
            return;
        }
        let left = maxTokens;
        const { temperature: usual = 0, topK, topP, minP } = samplingDefaults(sequence.model);
        const sampling = { temperature: temperature ?? usual, topK, topP, minP, seed };
        for await (const token of sequence.evaluate(promptTokens, { ...sampling, yieldEogToken: ignoreEos })) {
            yield token;
            left--;
            if (left === 0 || signal.aborted) return;
        }
    } catch (error) {
        if (!(error instanceof InterruptedError)) throw error;
    } finally {
        signal.removeEventListener("abort", cancel);
    }
}
