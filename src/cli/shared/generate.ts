import { samplingDefaults } from "../../../plugin/context/sampling-defaults.js";
import type { LlamaContextSequence, Token } from "../../../plugin/index.js";
import { InterruptedError } from "./interrupt.js";
import { checkNumber } from "./numbers.js";
import { checkSamplingOptions, evaluateOptions, type SamplingOptions } from "./sampling.js";

/** Length and sampling of an answer. */
export interface GenerationOptions extends SamplingOptions {
    /** -1: no limit. Unit: tokens. */
    maxTokens: number;
    ignoreEos: boolean;
}

/** @throws {UsageError} if a number is invalid */
export function checkGenerationOptions(options: GenerationOptions): void {
    checkNumber("predict", options.maxTokens, { min: -1 });
    checkSamplingOptions(options);
}

export interface GenerateSettings {
    /** An abort with an {@link InterruptedError} ends the generation without an error. */
    signal: AbortSignal;
    /** Tokens that end the answer, besides the vocabulary's end-of-generation tokens. Default: none. */
    stopTokens?: ReadonlySet<Token>;
}

/** Generates the tokens that follow a prompt. */
export async function* generate(
    sequence: LlamaContextSequence,
    promptTokens: readonly Token[],
    options: GenerationOptions,
    { signal, stopTokens }: GenerateSettings
): AsyncGenerator<Token, void, void> {
    const { maxTokens, ignoreEos } = options;
    const cancel = () => sequence.armt?.cancelEvaluation(signal.reason);
    signal.addEventListener("abort", cancel);
    try {
        if (maxTokens === 0) {
            await sequence.evaluateWithoutGeneratingNewTokens([...promptTokens]);
            return;
        }
        const tokens = [...promptTokens];
        const settings = {
            ...evaluateOptions(options, tokens, samplingDefaults(sequence.model)),
            yieldEogToken: ignoreEos
        };
        let left = maxTokens < 0 ? Number.POSITIVE_INFINITY : maxTokens;
        for await (const token of sequence.evaluate([...promptTokens], settings)) {
            if (!ignoreEos && stopTokens?.has(token)) return;
            tokens.push(token);
            yield token;
            left--;
            if (left <= 0 || signal.aborted) return;
        }
    } catch (error) {
        if (!(error instanceof InterruptedError)) throw error;
    } finally {
        signal.removeEventListener("abort", cancel);
    }
}
