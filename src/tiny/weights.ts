import type { TinyConfig } from "./options.js";
import { normalValues, seededRandom } from "./random.js";

export type TinyTensor = {
    /** Name in the authors' state dict. */
    name: string;
    /** Slowest dimension first. */
    shape: number[];
    /** Of the normal distribution that the values are drawn from. */
    mean: number;
    deviation: number;
    values: () => Float32Array;
};

/** Deviation of token and memory embeddings; large enough that keys depend on the text (0.02 would hide it). */
const EMBEDDING_DEVIATION = 0.5;
/** Deviation of the logits of a normalized row. */
const LOGIT_DEVIATION = 2;

/** All tensors of a checkpoint. Each draws its values from its own seed, so no option changes the others' values. */
export function listTensors(config: TinyConfig): TinyTensor[] {
    const { hidden, vocab, memTokens, layers, tied, names } = config;
    const outputDeviation = LOGIT_DEVIATION / Math.sqrt(hidden);
    const output = draw(config, "memory_cell.model.lm_head.weight", [vocab, hidden], outputDeviation);
    const embeddingName = "memory_cell.model.model.embed_tokens.weight";
    const embedding = tied
        ? { ...output, name: embeddingName }
        : draw(config, embeddingName, [vocab, hidden], EMBEDDING_DEVIATION);
    return [
        draw(config, "memory_cell.memory", [memTokens, hidden], EMBEDDING_DEVIATION),
        ...(tied && names === "short" ? [] : [embedding]),
        ...Array.from({ length: layers }, (_, il) => listLayer(config, il)).flat(),
        draw(config, "memory_cell.model.model.norm.weight", [hidden], 0.1, 1),
        ...(tied && names === "long" ? [] : [output])
    ];
}

function listLayer(config: TinyConfig, il: number): TinyTensor[] {
    const { hidden, heads, kvHeads, headDim, ffn, dMem, nHeads, gating, biases, names } = config;
    const prefix = names === "long" ? `memory_cell.model.model.layers.${il}` : `memory_cell.layers.${il}`;
    const seedName = `layers.${il}`;
    const tensor = (name: string, shape: number[], deviation: number, mean = 0) =>
        draw(config, `${prefix}.${name}`, shape, deviation, mean, `${seedName}.${name}`);
    const matrix = (name: string, outputs: number, inputs: number, scale = 1) =>
        tensor(`${name}.weight`, [outputs, inputs], scale / Math.sqrt(inputs));
    const linear = (name: string, outputs: number, inputs: number) => [
        matrix(`layer.${name}`, outputs, inputs),
        ...(biases ? [tensor(`layer.${name}.bias`, [outputs], 0.1)] : [])
    ];
    const strengths = gating ? hidden : nHeads;
    const { keyScale, strengthMean } = memoryScale(config);
    return [
        tensor("layer.input_layernorm.weight", [hidden], 0.1, 1),
        ...linear("self_attn.q_proj", heads * headDim, hidden),
        ...linear("self_attn.k_proj", kvHeads * headDim, hidden),
        ...linear("self_attn.v_proj", kvHeads * headDim, hidden),
        ...linear("self_attn.o_proj", hidden, heads * headDim),
        tensor("layer.post_attention_layernorm.weight", [hidden], 0.1, 1),
        ...linear("mlp.gate_proj", ffn, hidden),
        ...linear("mlp.up_proj", ffn, hidden),
        ...linear("mlp.down_proj", hidden, ffn),
        matrix("W_mq", dMem, hidden, keyScale),
        matrix("W_mk", dMem, hidden, keyScale),
        matrix("W_mv", hidden, hidden, 0.5),
        matrix("W_mb", strengths, hidden, 0.5),
        tensor("W_mb.bias", [strengths], 0.5, strengthMean)
    ];
}

/**
 * Scales at which rounding does not grow over segments. β is small on average: M similar keys of one segment each correct the same value, and from
 * about β = 1/2 on they overshoot more with every segment. Without a denominator M · β · ‖k‖² has to stay below 2, so there β falls with M, and
 * keys that aren't normalized are short (‖φ‖² grows with the 4th power of the scale).
 */
function memoryScale({ useDenom, normalizeKeys, memTokens, dMem }: TinyConfig) {
    if (useDenom) return { keyScale: 0.5, strengthMean: -2 };
    return { keyScale: normalizeKeys ? 0.5 : (16 * dMem) ** -0.25, strengthMean: -Math.log(2 * memTokens) };
}

function draw(
    { seed }: TinyConfig,
    name: string,
    shape: number[],
    deviation: number,
    mean = 0,
    seedName = name
): TinyTensor {
    const count = shape.reduce((product, n) => product * n, 1);
    const values = () => normalValues(seededRandom(seed, seedName), count, mean, deviation);
    return { name, shape, mean, deviation, values };
}
