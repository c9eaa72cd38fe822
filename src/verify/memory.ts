import type { ArmtConfig } from "../convert/armt-config.js";

/** Sizes and variant of the memory. */
export type MemoryKind = Pick<
    ArmtConfig,
    "headCount" | "normalizeKeys" | "useDenom" | "correction" | "gating" | "memoryEpsilon"
> & {
    /** D */
    width: number;
    /** d_mem */
    keyLength: number;
};

/** One layer's memory as in the paper (arXiv 2407.04841): a matrix and a normalizer for each head. */
export class PlainMemory {
    /** [h, K / h, D / h] */
    public readonly a: Float64Array;
    /** [h, K / h]; zeros if the model has no normalizer. */
    public readonly z: Float64Array;
    private isEmpty = true;

    public constructor(private readonly kind: MemoryKind) {
        const { width, keyLength, headCount } = kind;
        this.a = new Float64Array((6 * keyLength * width) / headCount);
        this.z = new Float64Array(6 * keyLength);
    }

    /** Whether the memory is empty. An empty memory is not read. */
    public get empty(): boolean {
        return this.isEmpty;
    }

    /** Looks up a row's key: [d_mem] → [D] */
    public read(projected: Float64Array): Float64Array {
        const { headCount, width } = this.kind;
        const found = new Float64Array(width);
        for (let head = 0; head < headCount; head++)
            found.set(this.find(head, this.features(projected, head)), (head * width) / headCount);
        return found;
    }

    /**
     * Writes a segment's memory rows. All of them see the memory as it was before the segment.
     * @param keys [M, d_mem] @param values [M, D] @param betas [M, 1 | h | D], before the sigmoid
     */
    public write(rows: number, keys: Float64Array, values: Float64Array, betas: Float64Array): void {
        const { headCount, width, keyLength, useDenom, gating } = this.kind;
        const [channels, perRow] = [width / headCount, betas.length / rows];
        const size = (6 * keyLength) / headCount;
        const [deltaA, deltaZ] = [new Float64Array(this.a.length), new Float64Array(this.z.length)];
        for (let row = 0; row < rows; row++) {
            for (let head = 0; head < headCount; head++) {
                const key = this.features(keys.subarray(row * keyLength, (row + 1) * keyLength), head);
                const known = this.isEmpty ? new Float64Array(channels) : this.find(head, key);
                const newness = this.isEmpty ? 1 : this.newness(head, key);
                for (let c = 0; c < channels; c++) {
                    const channel = head * channels + c;
                    const beta = 1 / (1 + Math.exp(-betas[row * perRow + (gating ? channel : head)]!));
                    const change = beta * (values[row * width + channel]! - known[c]!);
                    for (let k = 0; k < size; k++) deltaA[(head * size + k) * channels + c]! += change * key[k]!;
                }
                if (useDenom) for (let k = 0; k < size; k++) deltaZ[head * size + k]! += newness * key[k]!;
            }
        }
        for (let i = 0; i < deltaA.length; i++) this.a[i]! += deltaA[i]!;
        for (let i = 0; i < deltaZ.length; i++) this.z[i]! += deltaZ[i]!;
        this.isEmpty = false;
    }

    /** φ of one head's part: y = [relu(x), relu(-x)], then the products of y with y rolled by 1, 2 and 3. */
    private features(projected: Float64Array, head: number): Float64Array {
        const { headCount, normalizeKeys } = this.kind;
        const size = projected.length / headCount;
        const x = [...projected.subarray(head * size, (head + 1) * size)];
        const y = [...x.map((value) => Math.max(value, 0)), ...x.map((value) => Math.max(-value, 0))];
        const features = [1, 2, 3].flatMap((roll) => y.map((value, i) => value * y.at(i - roll)!));
        const norm = normalizeKeys ? Math.max(Math.hypot(...features), 1e-12) : 1;
        return Float64Array.from(features, (value) => value / norm);
    }

    private find(head: number, key: Float64Array): Float64Array {
        const { headCount, width, useDenom } = this.kind;
        const channels = width / headCount;
        const found = new Float64Array(channels);
        for (let k = 0; k < key.length; k++) {
            const start = (head * key.length + k) * channels;
            for (let c = 0; c < channels; c++) found[c]! += key[k]! * this.a[start + c]!;
        }
        const denominator = useDenom ? this.overlap(head, key) : 1;
        return found.map((value) => value / denominator);
    }

    private overlap(head: number, key: Float64Array): number {
        return key.reduce((sum, value, k) => sum + value * this.z[head * key.length + k]!, this.kind.memoryEpsilon);
    }

    /** γ: the share of a key that the normalizer does not include yet. */
    private newness(head: number, key: Float64Array): number {
        const { correction, useDenom, normalizeKeys, memoryEpsilon } = this.kind;
        if (!correction || !useDenom) return 1;
        const squares = key.reduce((sum, value) => sum + value * value, normalizeKeys ? 0 : memoryEpsilon);
        return Math.min(Math.max(1 - this.overlap(head, key) / squares, 0), 1);
    }
}
