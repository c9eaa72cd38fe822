import type { LlamaContext, LlamaContextSequence, Token } from "../../../plugin/index.js";
import { type DecodeRequest, decodeOf, replaceDecode, sequenceIdOf } from "../../../plugin/node-llama-cpp/decode.js";
import { createGreedySampler, type NativeSampler, readLogits } from "../../../plugin/node-llama-cpp/sampling.js";

/** Log-probability of tokens as the model gave it, before temperature, penalties, biases and grammar. */
export interface RawLogprobs {
    /** The token that was sampled. */
    readonly token: Token;
    readonly logprob: number;
    /** The most probable tokens, most probable first. */
    readonly top: readonly { readonly token: Token; readonly logprob: number }[];
}

type Listener = { readonly top: number; readonly sampler: NativeSampler; last?: RawLogprobs };

/**
 * Reads the logits of a step next to node-llama-cpp's sampler, which reports only those that its options kept.
 */
export class RawLogprobsCollector {
    private readonly listeners = new Map<number, Listener>();

    constructor(private readonly context: LlamaContext) {
        const decode = decodeOf(context);
        type Mapper = (logitIndex: number, tokenIndex: number) => unknown;
        replaceDecode(context, async (request: DecodeRequest, mapper: unknown) => {
            let failure: { readonly error: unknown } | undefined;
            const decoded = await decode(request, async (logitIndex: number, tokenIndex: number) => {
                try {
                    const value = await (mapper as Mapper)(logitIndex, tokenIndex);
                    const listener = this.listeners.get(request.sequenceId);
                    const sampled = Array.isArray(value) ? value[0] : value;
                    if (listener !== undefined && typeof sampled === "number" && sampled >= 0)
                        listener.last = await readLogprobs(context, listener, logitIndex, sampled as Token);
                    return value;
                } catch (error) {
                    // an error thrown from here would stop the whole batch, and this request would never end
                    failure = { error };
                    return undefined;
                }
            });
            if (failure !== undefined) throw failure.error;
            return decoded;
        });
    }

    /** Runs `work` while it listens to a sequence; `last` returns the log-probabilities of the last sampled token. */
    async listen<T>(
        sequence: LlamaContextSequence,
        top: number,
        work: (last: () => RawLogprobs | undefined) => Promise<T>
    ): Promise<T> {
        const id = sequenceIdOf(sequence);
        const sampler = createGreedySampler(this.context.model);
        const listener: Listener = { top, sampler };
        this.listeners.set(id, listener);
        try {
            return await work(() => listener.last);
        } finally {
            this.listeners.delete(id);
            sampler.dispose();
        }
    }
}

async function readLogprobs(
    context: LlamaContext,
    { top, sampler }: Listener,
    logitIndex: number,
    token: Token
): Promise<RawLogprobs> {
    const logits = await readLogits(context, logitIndex, sampler);
    let max = Number.NEGATIVE_INFINITY;
    for (let i = 1; i < logits.length; i += 2) max = Math.max(max, logits[i]!);
    let sum = 0;
    let own = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < logits.length; i += 2) {
        sum += Math.exp(logits[i + 1]! - max);
        if (logits[i] === token) own = logits[i + 1]!;
    }
    const total = max + Math.log(sum);
    const best = Array.from({ length: Math.min(top, logits.length / 2) }, (_, i) => ({
        token: logits[2 * i] as Token,
        logprob: logits[2 * i + 1]! - total
    }));
    return { token, logprob: own - total, top: best };
}
