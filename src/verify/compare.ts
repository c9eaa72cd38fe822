import type { GgufFile } from "../formats/gguf/reader.js";

/** Difference between the engine's and the plain model's logits for one segment. */
export type SegmentDifference = {
    /** Number of text tokens. */
    tokens: number;
    /** Largest absolute difference between two logits. */
    maxAbs: number;
    /** Root mean square of the differences, divided by that of the logits after subtracting each row's mean. */
    relative: number;
    /** Mean Kullback-Leibler divergence of the engine's next-token distributions from the plain model's. Unit: nats. */
    kl: number;
    /** Share of tokens for which both models have the same likeliest next token. */
    top1: number;
};

/** @param expected [tokens, V] @param actual [tokens, V] */
export function compareLogits(expected: Float64Array, actual: ArrayLike<number>, vocabSize: number): SegmentDifference {
    const tokens = expected.length / vocabSize;
    let [maxAbs, squares, spread, kl, agreed] = [0, 0, 0, 0, 0];
    for (let row = 0; row < tokens; row++) {
        const start = row * vocabSize;
        const own = expected.subarray(start, start + vocabSize);
        const other = Float64Array.from({ length: vocabSize }, (_, i) => actual[start + i]!);
        const mean = own.reduce((sum, value) => sum + value, 0) / vocabSize;
        for (let i = 0; i < vocabSize; i++) {
            const difference = Math.abs(other[i]! - own[i]!);
            // treats NaN as larger than any number
            if (!(difference <= maxAbs)) maxAbs = difference;
            squares += difference ** 2;
            spread += (own[i]! - mean) ** 2;
        }
        const [p, q] = [logProbabilities(own), logProbabilities(other)];
        for (let i = 0; i < vocabSize; i++) kl += Math.exp(p[i]!) * (p[i]! - q[i]!);
        if (indexOfLargest(own) === indexOfLargest(other)) agreed++;
    }
    return {
        tokens,
        maxAbs,
        relative: Math.sqrt(squares / Math.max(spread, Number.MIN_VALUE)),
        // rounding can make it negative
        kl: Number.isNaN(kl) ? kl : Math.max(kl / tokens, 0),
        top1: agreed / tokens
    };
}

/** Root mean square of the differences, divided by that of the expected values. */
export function relativeError(expected: Float64Array, actual: ArrayLike<number>): number {
    let [squares, size] = [0, 0];
    for (let i = 0; i < expected.length; i++) {
        squares += (actual[i]! - expected[i]!) ** 2;
        size += expected[i]! ** 2;
    }
    return Math.sqrt(squares / Math.max(size, Number.MIN_VALUE));
}

function logProbabilities(logits: Float64Array): Float64Array {
    const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    const total = Math.log(logits.reduce((sum, value) => sum + Math.exp(value - largest), 0));
    return logits.map((value) => value - largest - total);
}

function indexOfLargest(values: Float64Array): number {
    let best = 0;
    for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
    return best;
}

/**
 * Largest relative difference of logits that each type's rounding may cause. It is two to five times (float32: more,
 * for deep models) the largest measured with random weights, which suffer more from rounding than trained ones.
 * docs/convert.md has the measurements. A wrong tensor or variant causes differences of the order of 1.
 */
const tolerances: Readonly<Record<string, number>> = {
    F32: 0.0001,
    F16: 0.01,
    BF16: 0.05,
    Q8_0: 0.15,
    Q6_K: 0.3,
    Q5_K: 0.5,
    Q5_1: 0.5,
    Q5_0: 0.5
};

/** Tolerance for types with fewer bits. */
const COARSE_TOLERANCE = 0.8;

/** Tolerance of the memory relative to that of logits: the memory sums over segments, and each adds rounding errors. */
export const MEMORY_FACTOR = 2;

/**
 * Returns the least precise type among a file's large matrices, and its tolerance.
 */
export function toleranceOf({ tensors }: GgufFile): { type: string; tolerance: number } {
    let worst = { type: "F32", tolerance: tolerances.F32! };
    for (const { type, shape } of tensors.values()) {
        if (shape.length < 2) continue;
        const tolerance = tolerances[type.name] ?? COARSE_TOLERANCE;
        if (tolerance > worst.tolerance) worst = { type: type.name, tolerance };
    }
    return worst;
}
