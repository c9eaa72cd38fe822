import type { TinyOptions } from "../tiny/options.js";

type Shape = Pick<Required<TinyOptions>, "layers" | "hidden" | "heads" | "kvHeads" | "ffn" | "vocab" | "tied"> & {
    headDim?: number;
    /** Base of RoPE's frequencies. */
    ropeTheta: number;
    /** Factor of llama3's RoPE scaling. */
    ropeFactor?: number;
    memTokens?: number;
};

/** Shapes of well-known models, with the sizes from their `config.json`, and small shapes for a CPU. */
export const shapes = {
    tiny: {
        layers: 2,
        hidden: 64,
        heads: 2,
        kvHeads: 1,
        ffn: 128,
        vocab: 512,
        tied: false,
        ropeTheta: 10_000,
        memTokens: 4
    },
    "15m": { layers: 6, hidden: 288, heads: 6, kvHeads: 6, ffn: 768, vocab: 32_000, tied: true, ropeTheta: 10_000 },
    "110m": {
        layers: 12,
        hidden: 768,
        heads: 12,
        kvHeads: 12,
        ffn: 2048,
        vocab: 32_000,
        tied: true,
        ropeTheta: 10_000
    },
    "160m": {
        layers: 12,
        hidden: 768,
        heads: 12,
        kvHeads: 12,
        ffn: 3072,
        vocab: 32_000,
        tied: false,
        ropeTheta: 10_000
    },
    "llama-3.2-1b": {
        layers: 16,
        hidden: 2048,
        heads: 32,
        kvHeads: 8,
        ffn: 8192,
        vocab: 128_256,
        tied: true,
        ropeTheta: 500_000,
        ropeFactor: 32
    },
    "llama-3.2-3b": {
        layers: 28,
        hidden: 3072,
        heads: 24,
        kvHeads: 8,
        ffn: 8192,
        vocab: 128_256,
        tied: true,
        ropeTheta: 500_000,
        ropeFactor: 32
    },
    "llama-3.1-8b": {
        layers: 32,
        hidden: 4096,
        heads: 32,
        kvHeads: 8,
        ffn: 14_336,
        vocab: 128_256,
        tied: false,
        ropeTheta: 500_000,
        ropeFactor: 8
    }
} as const satisfies Record<string, Shape>;

export type ShapeName = keyof typeof shapes;

export const shapeNames = Object.keys(shapes) as ShapeName[];

/** Default sizes of the associative memory, from published checkpoints. A context can set its own segment size. */
const defaultMemory = { memTokens: 16, dMem: 64, segmentSize: 1024 };

export interface ResolvedShape extends Omit<Shape, "memTokens"> {
    memTokens: number;
    dMem: number;
    segmentSize: number;
}

export function resolveShape(
    name: ShapeName,
    overrides: { layers?: number; memTokens?: number; segmentSize?: number } = {}
): ResolvedShape {
    const given = Object.fromEntries(Object.entries(overrides).filter(([, value]) => value !== undefined));
    return { ...defaultMemory, ...shapes[name], ...given };
}
