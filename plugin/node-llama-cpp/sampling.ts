import type { LlamaContext, LlamaModel } from "node-llama-cpp";
import { contextInternals, llamaInternals, modelInternals, type NativeSampler } from "./internals.js";

export type { NativeSampler } from "./internals.js";

/** A sampler that takes the most probable token and does not change the logits. */
export function createGreedySampler(model: LlamaModel): NativeSampler {
    const { _model, _llama } = modelInternals(model);
    const sampler = new (llamaInternals(_llama)._bindings.AddonSampler)(_model);
    sampler.applyConfig({ temperature: 0 });
    return sampler;
}

/** All logits of a token of the current batch, most probable first: [id, logit, id, logit, …]. */
export async function readLogits(
    context: LlamaContext,
    logitIndex: number,
    sampler: NativeSampler
): Promise<ArrayLike<number>> {
    const sampled = await contextInternals(context)._ctx.sampleToken(logitIndex, sampler, false, false, true);
    return (sampled[3] as ArrayLike<number> | undefined) ?? [];
}
