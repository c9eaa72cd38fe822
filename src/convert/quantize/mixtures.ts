import type { GgmlType } from "../../formats/gguf/types.js";

/** Mixtures that `armt quantize` writes, by their llama.cpp names. */
export const mixtures = ["q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0"] as const;
export type Mixture = (typeof mixtures)[number];

/** Further types that `armt quantize` writes: 16 bits per weight. */
export const wideTypes = ["f16", "bf16"] as const;
export type WideType = (typeof wideTypes)[number];
export type QuantizeTarget = Mixture | WideType;

/** Types for the memory's projections. */
export const memoryTypes = ["f16", "bf16", "f32", "q8_0", "q6_k", "q5_k", "q4_k", "q4_0"] as const;
export type MemoryType = (typeof memoryTypes)[number];

/** Types of the tensors in a quantized file. */
export type QuantizedType = Extract<GgmlType, "Q8_0" | "Q6_K" | "Q5_K" | "Q4_K" | "Q4_0" | "Q5_0" | "Q5_1">;

/** llama.cpp's `llama_ftype` for each target. */
export const fileTypes: Readonly<Record<QuantizeTarget, number>> = {
    f16: 1,
    bf16: 32,
    q8_0: 7,
    q6_k: 18,
    q5_k_m: 17,
    q4_k_m: 15,
    q4_0: 2
};

const mostTensors: Readonly<Record<Mixture, QuantizedType>> = {
    q8_0: "Q8_0",
    q6_k: "Q6_K",
    q5_k_m: "Q5_K",
    q4_k_m: "Q4_K",
    q4_0: "Q4_0"
};

/** llama.cpp's substitute if a row's length is not a multiple of 256, the block size. */
const fallbacks: Readonly<Partial<Record<QuantizedType, QuantizedType>>> = { Q4_K: "Q5_0", Q5_K: "Q5_1", Q6_K: "Q8_0" };

/**
 * The type that llama.cpp's quantizer gives a matrix of a model with fused Q, K, V and without experts.
 * @param kind a tensor's name without `blk.N.` and `.weight`
 * @param layer its layer; ignored for tensors outside the layers
 * @param rowLength number of elements in a row
 */
export function typeOf(
    mixture: Mixture,
    kind: string,
    { layer, layerCount, tied, rowLength }: { layer: number; layerCount: number; tied: boolean; rowLength: number }
): QuantizedType {
    const wanted = wantedType(mixture, kind, layer, layerCount, tied);
    return fitting(wanted, rowLength);
}

/** The type itself, or its substitute if the row length is not a multiple of its block size. */
export function fitting(type: QuantizedType, rowLength: number): QuantizedType {
    return rowLength % 256 === 0 ? type : (fallbacks[type] ?? type);
}

function wantedType(mixture: Mixture, kind: string, layer: number, layerCount: number, tied: boolean): QuantizedType {
    const usual = mostTensors[mixture];
    if (kind === "output" || (kind === "token_embd" && tied)) return usual === "Q8_0" ? usual : "Q6_K";
    if (kind === "attn_qkv") return mixture === "q4_k_m" ? "Q5_K" : mixture === "q5_k_m" ? "Q6_K" : usual;
    const mixed = mixture === "q4_k_m" || mixture === "q5_k_m";
    return kind === "ffn_down" && mixed && needsMoreBits(layer, layerCount) ? "Q6_K" : usual;
}

/** First and last eighth of the layers, and every third layer between: llama.cpp's `use_more_bits`. */
function needsMoreBits(layer: number, layerCount: number): boolean {
    const eighth = Math.floor(layerCount / 8);
    return layer < eighth || layer >= Math.floor((7 * layerCount) / 8) || (layer - eighth) % 3 === 2;
}

export function isWideType(target: QuantizeTarget): target is WideType {
    return wideTypes.some((type) => type === target);
}
