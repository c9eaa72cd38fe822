import { type LlamaModel, type Token, TokenBias } from "../../plugin/index.js";

/** Biases of tokens, end-of-text tokens included. */
export function biasOf(model: LlamaModel, logitBias: ReadonlyMap<Token, number>): TokenBias {
    const bias = TokenBias.for(model);
    // `set` leaves end-of-text tokens out without a word, and banning those is what many use a bias for
    const { _biases } = bias as unknown as { _biases: Map<Token, number> };
    for (const [token, logit] of logitBias) _biases.set(token, logit);
    return bias;
}
