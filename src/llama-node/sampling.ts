import type { LlamaModel, SequenceEvaluateOptions, Token } from "../../plugin/index.js";
import { biasOf } from "../generation/token-bias.js";
import type { Generate } from "./types.js";
import { warnOnce } from "./warn-once.js";

/** Defaults of `@llama-node/llama-cpp` 0.1.6. */
const defaults = {
    topK: 40,
    topP: 0.95,
    temp: 0.8,
    repeatPenalty: 1.1,
    repeatLastN: 64,
    frequencyPenalty: 0,
    presencePenalty: 0,
    penalizeNl: true
} as const;

/** Tokens that penalties can count: with each token, they are copied and compared. */
const maxCountedTokens = 2 ** 16;

/** Samplers that node-llama-cpp does not support, each with the values that turn it off. */
const missingSamplers: readonly [option: keyof Generate, off: readonly unknown[]][] = [
    ["tfsZ", [undefined, 1]],
    ["typicalP", [undefined, 1]],
    ["mirostat", [undefined, 0]]
];

/**
 * Returns node-llama-cpp's options for one completion.
 * @param history tokens of the prompt, followed by those of the answer as they are generated
 */
export function samplingOptions(
    model: LlamaModel,
    params: Generate,
    seed: number | undefined,
    history: readonly Token[]
): SequenceEvaluateOptions {
    for (const [option, off] of missingSamplers)
        if (!off.includes(params[option])) warnOnce(option, "node-llama-cpp has no such sampler");
    const { topK, topP, temp, repeatPenalty, repeatLastN, frequencyPenalty, presencePenalty, penalizeNl } = {
        ...defaults,
        ...withoutUndefined(params)
    };
    const hasPenalty = repeatPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
    const lineBreak = model.tokens.nl;
    const count = repeatLastN < 0 ? maxCountedTokens : Math.min(repeatLastN, maxCountedTokens);
    const counted = (): Token[] => {
        const last = history.slice(Math.max(0, history.length - count));
        return penalizeNl ? last : last.filter((token) => token !== lineBreak);
    };
    return {
        temperature: Math.max(0, temp),
        topK: Math.max(0, topK),
        topP,
        minP: 0,
        seed,
        repeatPenalty:
            hasPenalty && repeatLastN !== 0
                ? {
                      punishTokens: counted,
                      maxPunishTokens: count,
                      penalty: repeatPenalty,
                      frequencyPenalty,
                      presencePenalty
                  }
                : undefined,
        tokenBias:
            params.logitBias === undefined || params.logitBias.length === 0
                ? undefined
                : biasOf(model, new Map(params.logitBias.map(({ token, bias }) => [token as Token, bias])))
    };
}

function withoutUndefined<T extends object>(values: T): T {
    return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}
