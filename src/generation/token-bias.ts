import { type LlamaModel, type Token, TokenBias } from "../../plugin/index.js";

/** Makes token biases that include end-of-text tokens. */
export function biasOf(model: LlamaModel, logitBias: ReadonlyMap<Token, number>): TokenBias {
    const bias = TokenBias.for(model);
    // `set` silently skips end-of-text tokens, and many users set a bias to ban exactly those
    const { _biases } = bias as unknown as { _biases: Map<Token, number> };
    for (const [token, logit] of logitBias) _biases.set(token, logit);
    return bias;
}
