/** One layer's memory. */
export type AssociativeMemory = {
    /** [h, K/h, D/h] */
    a: Float64Array;
    /** [h, K/h]; zero if the model has no denominator. */
    z: Float64Array;
};

export type MemoryVariant = {
    nHeads: number;
    /** Size of W_mk x, over all heads. */
    dMem: number;
    hidden: number;
    normalizeKeys: boolean;
    useDenom: boolean;
    correction: boolean;
    gating: boolean;
    /** Added to q·z, k·z and ‖k‖² before they divide. */
    memoryEpsilon: number;
};

const DPFP_ORDER = 3;
const NORM_FLOOR = 1e-12;

export function keySize({ dMem, nHeads }: MemoryVariant): number {
    return (2 * DPFP_ORDER * dMem) / nHeads;
}

export function emptyMemory(variant: MemoryVariant): AssociativeMemory {
    const keys = keySize(variant) * variant.nHeads;
    return { a: new Float64Array((keys * variant.hidden) / variant.nHeads), z: new Float64Array(keys) };
}

/** φ of each head: [d_mem] => [h, K/h] */
export function features(x: Float64Array, variant: MemoryVariant): Float64Array {
    const { nHeads, normalizeKeys } = variant;
    const size = x.length / nHeads;
    const width = 2 * size;
    const result = new Float64Array(nHeads * DPFP_ORDER * width);
    for (let head = 0; head < nHeads; head++) {
        const y = new Float64Array(width);
        for (let i = 0; i < size; i++) {
            y[i] = Math.max(x[head * size + i]!, 0);
            y[size + i] = Math.max(-x[head * size + i]!, 0);
        }
        const out = result.subarray(head * DPFP_ORDER * width, (head + 1) * DPFP_ORDER * width);
        for (let roll = 1; roll <= DPFP_ORDER; roll++)
            for (let i = 0; i < width; i++) out[(roll - 1) * width + i] = y[i]! * y[(i - roll + width) % width]!;
        if (normalizeKeys) {
            const norm = Math.max(Math.sqrt(squaredNorm(out)), NORM_FLOOR);
            for (let i = 0; i < out.length; i++) out[i]! /= norm;
        }
    }
    return result;
}

/** The value stored for a key: [h, K/h] => [D] */
export function recall(memory: AssociativeMemory, key: Float64Array, variant: MemoryVariant): Float64Array {
    const { hidden, nHeads, useDenom } = variant;
    const size = keySize(variant);
    const channels = hidden / nHeads;
    const result = new Float64Array(hidden);
    for (let head = 0; head < nHeads; head++) {
        const denominator = useDenom ? overlap(memory, key, head, variant) : 1;
        for (let i = head * size; i < (head + 1) * size; i++)
            for (let c = 0; c < channels; c++) result[head * channels + c]! += key[i]! * memory.a[i * channels + c]!;
        for (let c = 0; c < channels; c++) result[head * channels + c]! /= denominator;
    }
    return result;
}

/** One memory row to write. */
export type MemoryWrite = {
    /** φ(W_mk m), [h, K/h] */
    key: Float64Array;
    /** W_mv m, [D] */
    value: Float64Array;
    /** sigmoid(W_mb m + b): [1], [h], or [D] with gating */
    strength: Float64Array;
};

/** Writes a segment's rows. All of them read the memory before the write, so the sums go into a copy. */
export function write(
    memory: AssociativeMemory,
    rows: readonly MemoryWrite[],
    isFirst: boolean,
    variant: MemoryVariant
): AssociativeMemory {
    const { hidden, nHeads, useDenom, gating } = variant;
    const size = keySize(variant);
    const channels = hidden / nHeads;
    const next = { a: memory.a.slice(), z: memory.z.slice() };
    for (const { key, value, strength } of rows) {
        const old = isFirst ? new Float64Array(hidden) : recall(memory, key, variant);
        for (let head = 0; head < nHeads; head++) {
            const gamma = isFirst ? 1 : newness(memory, key, head, variant);
            for (let i = head * size; i < (head + 1) * size; i++) {
                for (let c = 0; c < channels; c++) {
                    const channel = head * channels + c;
                    const beta = strength[gating ? channel : head]!;
                    next.a[i * channels + c]! += beta * key[i]! * (value[channel]! - old[channel]!);
                }
                if (useDenom) next.z[i]! += gamma * key[i]!;
            }
        }
    }
    return next;
}

/** γ: the part of the key that the normalizer has not seen yet. */
function newness(memory: AssociativeMemory, key: Float64Array, head: number, variant: MemoryVariant): number {
    if (!variant.correction) return 1;
    const size = keySize(variant);
    const squares = squaredNorm(key.subarray(head * size, (head + 1) * size));
    const ratio =
        overlap(memory, key, head, variant) / (variant.normalizeKeys ? squares : squares + variant.memoryEpsilon);
    return Math.min(Math.max(1 - ratio, 0), 1);
}

function overlap({ z }: AssociativeMemory, key: Float64Array, head: number, variant: MemoryVariant): number {
    const size = keySize(variant);
    let sum = variant.memoryEpsilon;
    for (let i = head * size; i < (head + 1) * size; i++) sum += key[i]! * z[i]!;
    return sum;
}

function squaredNorm(x: Float64Array): number {
    let sum = 0;
    for (const value of x) sum += value * value;
    return sum;
}
