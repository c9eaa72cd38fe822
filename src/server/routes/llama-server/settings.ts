import { stopStrings } from "../../answer.js";
import type { Sampling } from "../../engine/sampling.js";
import type { Server } from "../../Server.js";
import type { LlamaCompletionRequest } from "../../schemas/llama-server.js";
import { samplerOrder } from "../../schemas/sampling.js";

interface SettingsOptions {
    body: Partial<LlamaCompletionRequest>;
    sampling: Sampling;
    maxTokens: number | undefined;
}

/** llama-server's `generation_settings`: what an answer was written with. Samplers that are missing here are off. */
export function settingsOf({ limits }: Server, { body, sampling, maxTokens }: SettingsOptions) {
    const limit = maxTokens === undefined || maxTokens < 0 ? limits.defaultMaxTokens : maxTokens;
    return {
        // llama-server's number for a random seed
        seed: sampling.seed ?? 2 ** 32 - 1,
        temperature: sampling.temperature,
        dynatemp_range: 0,
        top_k: sampling.topK,
        top_p: sampling.topP,
        min_p: sampling.minP,
        top_n_sigma: -1,
        xtc_probability: 0,
        typical_p: 1,
        repeat_last_n: sampling.penaltyTokens ?? -1,
        repeat_penalty: sampling.repeatPenalty,
        presence_penalty: sampling.presencePenalty,
        frequency_penalty: sampling.frequencyPenalty,
        dry_multiplier: 0,
        mirostat: 0,
        stop: stopStrings(body.stop),
        max_tokens: limit,
        n_predict: limit,
        ignore_eos: body.ignore_eos ?? false,
        stream: body.stream ?? false,
        n_probs: body.n_probs ?? 0,
        min_keep: 0,
        samplers: body.samplers ?? samplerOrder,
        timings_per_token: body.timings_per_token ?? false,
        post_sampling_probs: false,
        lora: []
    };
}
