import type { LlamaContext, LlamaContextSequence, LlamaModel, Token } from "../../../plugin/index.js";
import { contextInternals, type DecodeRequest, sequenceInternals } from "../../../plugin/internals.js";

/** Log-probability of tokens as the model gave it, before temperature, penalties, biases and grammar. */
export interface RawLogprobs {
    /** The token that was sampled. */
    readonly token: Token;
    readonly logprob: number;
    /** The most probable tokens, most probable first. */
    readonly top: readonly { readonly token: Token; readonly logprob: number }[];
}

type Sampler = { applyConfig(config: object): unknown; dispose(): void };
type Sampled = [Token, unknown, unknown, ArrayLike<number> | undefined, number | undefined];
interface NativeSampling {
    sampleToken(logitIndex: number, sampler: Sampler, ...options: unknown[]): Promise<Sampled>;
}
interface ModelInternals {
    readonly _model: object;
    readonly _llama: { readonly _bindings: { readonly AddonSampler: new (model: object) => Sampler } };
}

type Listener = { readonly top: number; readonly sampler: Sampler; last?: RawLogprobs };

/**
 * Looks at the logits of a step beside node-llama-cpp's sampler, which only tells of those that its options left. What is used of its private members are the
 * place that all evaluations of a context pass, and the native sampler.
 */
export class RawLogprobsCollector {
    private readonly listeners = new Map<number, Listener>();

    constructor(private readonly context: LlamaContext) {
        const internals = contextInternals(context);
        const decodeTokens = internals._decodeTokens.bind(context);
        const native = internals._ctx as unknown as NativeSampling;
        type Mapper = (logitIndex: number, tokenIndex: number) => unknown;
        Object.defineProperty(context, "_decodeTokens", {
            value: (request: DecodeRequest, mapper: Mapper) => {
                const listener = this.listeners.get(request.sequenceId);
                if (listener === undefined) return decodeTokens(request, mapper);
                return decodeTokens(request, async (logitIndex: number, tokenIndex: number) => {
                    const value = await mapper(logitIndex, tokenIndex);
                    const sampled = Array.isArray(value) ? value[0] : value;
                    if (typeof sampled === "number" && sampled >= 0)
                        listener.last = await readLogprobs(native, listener, logitIndex, sampled as Token);
                    return value;
                });
            }
        });
    }

    /** Runs `work` while a sequence is looked at; `last` gives what belongs to the token that was sampled last. */
    async listen<T>(
        sequence: LlamaContextSequence,
        top: number,
        work: (last: () => RawLogprobs | undefined) => Promise<T>
    ): Promise<T> {
        const { _sequenceId } = sequenceInternals(sequence);
        const { _model, _llama } = this.context.model as LlamaModel & ModelInternals;
        const sampler = new _llama._bindings.AddonSampler(_model);
        sampler.applyConfig({ temperature: 0 });
        const listener: Listener = { top, sampler };
        this.listeners.set(_sequenceId, listener);
        try {
            return await work(() => listener.last);
        } finally {
            this.listeners.delete(_sequenceId);
            sampler.dispose();
        }
    }
}

async function readLogprobs(
    native: NativeSampling,
    { top, sampler }: Listener,
    logitIndex: number,
    token: Token
): Promise<RawLogprobs> {
    // all logits, most probable first, as [id, logit, id, logit, …]
    const [, , , pairs] = await native.sampleToken(logitIndex, sampler, false, false, true);
    const logits = pairs ?? [];
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
