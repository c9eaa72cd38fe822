import type { BaseConfig } from "../convert/base-config.js";
import type { SegmentForm } from "../convert/dialects.js";
import type { Family } from "../convert/families.js";
import { activations, type Matrix, multiply, type Numbers } from "./numbers.js";
import type { PlainWeights } from "./weights.js";

type Linear = { matrix: Matrix; bias: Numbers | undefined };
type Norm = { weight: Numbers; bias: Numbers | undefined };

/** Layout of the rows in a segment. */
export type Rows = {
    count: number;
    /** Number of rows before the text. */
    sink: number;
    /** First row after the text; memory tokens start here. */
    textEnd: number;
    /** Whether memory tokens attend to the text before them. */
    memorySeesText: boolean;
    /** Whether attention reaches into the text of the previous segment. */
    seesPrevious: boolean;
    form: SegmentForm;
};

/** Rotated keys and values of some rows, each [rows, Hkv, head]. */
type Cache = { keys: Float64Array; values: Float64Array; count: number };

/** A layer of the base model in float64. It follows the family's description and uses the checkpoint's own matrices. */
export class PlainLayer {
    /** Keys and values of the previous segment's text. */
    private previous: Cache = { keys: new Float64Array(), values: new Float64Array(), count: 0 };
    /** Position of the next segment's first row. */
    private nextStart = 0;
    /** Rows that a row attends to, itself included. */
    private readonly window: number;

    private constructor(
        private readonly family: Family,
        private readonly base: BaseConfig,
        private readonly parts: {
            attentionNorm: Norm;
            qkv: Linear[];
            queryNorm: Numbers | undefined;
            keyNorm: Numbers | undefined;
            attentionOutput: Linear;
            attentionPostNorm: Norm | undefined;
            feedForwardNorm: Norm;
            up: Linear[];
            down: Linear;
            feedForwardPostNorm: Norm | undefined;
        },
        private readonly frequencies: Float64Array | undefined,
        layer: number
    ) {
        const { slidingWindow = Number.POSITIVE_INFINITY, rope } = base;
        this.window = rope?.local === undefined || rope.local.layers[layer] === true ? slidingWindow : Infinity;
    }

    static async read(weights: PlainWeights, family: Family, base: BaseConfig, layer: number): Promise<PlainLayer> {
        const prefix = `layers.${layer}.layer.`;
        const bias = async (name: string) =>
            weights.has(`${prefix}${name}.bias`) ? weights.numbers(`${prefix}${name}.bias`) : undefined;
        const linear = async (name: string): Promise<Linear> => ({
            matrix: await weights.matrix(`${prefix}${name}.weight`, family.transposed),
            bias: await bias(name)
        });
        const all = async (names: readonly string[]) => {
            const found: Linear[] = [];
            for (const name of names) found.push(await linear(name));
            return found;
        };
        const norm = async (name: string): Promise<Norm> => ({
            weight: await weights.numbers(`${prefix}${name}.weight`),
            bias: await bias(name)
        });
        const maybe = <T>(name: string | undefined, read: (name: string) => Promise<T>) =>
            name === undefined ? Promise.resolve(undefined) : read(name);
        const { names } = family;
        const headNorm = (name: string) => weights.numbers(`${prefix}${name}.weight`);
        return new PlainLayer(
            family,
            base,
            {
                attentionNorm: await norm(names.attentionNorm),
                qkv: await all(names.qkv),
                queryNorm: await maybe(names.queryNorm, headNorm),
                keyNorm: await maybe(names.keyNorm, headNorm),
                attentionOutput: await linear(names.attentionOutput),
                attentionPostNorm: await maybe(names.attentionPostNorm, norm),
                feedForwardNorm: await norm(names.feedForwardNorm),
                up: await all(names.up),
                down: await linear(names.down),
                feedForwardPostNorm: await maybe(names.feedForwardPostNorm, norm)
            },
            base.rope && frequenciesOf(base.rope, layer),
            layer
        );
    }

    /** Runs the rows of one segment through the layer, in place. @param x [rows, D] */
    run(x: Float64Array, rows: Rows): void {
        const { parts, family, base } = this;
        const input = base.parallel ? x.slice() : x;
        let attended = apply(parts.attentionOutput, this.attend(this.norm(parts.attentionNorm, x), rows), rows.count);
        if (parts.attentionPostNorm !== undefined) attended = this.norm(parts.attentionPostNorm, attended);
        addTo(x, attended);

        const inner = this.norm(parts.feedForwardNorm, input);
        const activate = activations[base.activation];
        const products = parts.up.map((linear) => apply(linear, inner, rows.count));
        let hidden: Float64Array;
        if (!family.gated) hidden = products[0]!.map(activate);
        else {
            const size = base.feedForwardSize;
            const width = products.length === 1 ? 2 * size : size;
            const [gate, up] = products.length === 1 ? [products[0]!, products[0]!] : [products[0]!, products[1]!];
            const shift = products.length === 1 ? size : 0;
            hidden = Float64Array.from({ length: rows.count * size }, (_, i) => {
                const at = Math.floor(i / size) * width + (i % size);
                return activate(gate[at]!) * up[at + shift]!;
            });
        }
        let output = apply(parts.down, hidden, rows.count);
        if (parts.feedForwardPostNorm !== undefined) output = this.norm(parts.feedForwardPostNorm, output);
        addTo(x, output);
    }

    /** @returns the attention output of all heads, [rows, H · head] */
    private attend(x: Float64Array, rows: Rows): Float64Array {
        const { base, parts } = this;
        const { headCount, kvHeadCount, headSize } = base;
        const { count } = rows;
        const scale = base.attentionScale ?? 1 / Math.sqrt(headSize);
        const [q, k, values] = this.project(x, count);
        const first = this.nextStart;
        const queries = this.prepare(q, count, headCount, parts.queryNorm, first);
        const own: Cache = { keys: this.prepare(k, count, kvHeadCount, parts.keyNorm, first), values, count };
        const mixed = new Float64Array(count * headCount * headSize);
        for (let head = 0; head < headCount; head++) {
            const shared = Math.floor((head * kvHeadCount) / headCount);
            for (let row = 0; row < count; row++) {
                const query = (row * headCount + head) * headSize;
                const seen = this.visible(own, row, rows);
                const places = seen.map(([, other]) => (other * kvHeadCount + shared) * headSize);
                const weights = seen.map(([{ keys }], j) => {
                    let score = 0;
                    for (let i = 0; i < headSize; i++) score += queries[query + i]! * keys[places[j]! + i]!;
                    return score * scale;
                });
                const largest = weights.reduce((a, b) => Math.max(a, b));
                let total = 0;
                for (const [j, score] of weights.entries()) {
                    weights[j] = Math.exp(score - largest);
                    total += weights[j]!;
                }
                for (const [j, [cache]] of seen.entries())
                    for (let i = 0; i < headSize; i++)
                        mixed[query + i]! += (weights[j]! / total) * cache.values[places[j]! + i]!;
            }
        }
        if (rows.seesPrevious) {
            const width = kvHeadCount * headSize;
            const text = (all: Float64Array) => all.slice(rows.sink * width, rows.textEnd * width);
            this.previous = { keys: text(own.keys), values: text(own.values), count: rows.textEnd - rows.sink };
            // in transformers, positions go on after the keys in the cache
            const { previousPositions } = rows.form;
            if (previousPositions === "continued") this.nextStart = this.previous.count;
            if (previousPositions === "apart") this.nextStart += count;
        }
        return mixed;
    }

    /** Rows that a row attends to: first those of the previous segment, then those of its own. */
    private visible(own: Cache, row: number, rows: Rows): [Cache, number][] {
        const { sink, textEnd, count, memorySeesText, seesPrevious, form } = rows;
        const isMemory = row >= textEnd;
        const from = Math.max(isMemory && !memorySeesText ? textEnd : 0, row + 1 - this.window);
        const to = isMemory && form.mutualMemory ? count : row + 1;
        const firstBefore = form.previousPositions === "apart" ? row : isMemory ? 0 : row - sink;
        const seen: [Cache, number][] = [];
        if (seesPrevious && row >= sink)
            for (let other = firstBefore; other < this.previous.count; other++) seen.push([this.previous, other]);
        for (let other = from; other < to; other++) seen.push([own, other]);
        return seen;
    }

    /** Computes Q [rows, H, head], K and V [rows, Hkv, head] with three matrices, or one in the family's order. */
    private project(x: Float64Array, count: number): [Float64Array, Float64Array, Float64Array] {
        const { qkv } = this.parts;
        const products = qkv.map((linear) => apply(linear, x, count));
        if (products.length === 3) return products as [Float64Array, Float64Array, Float64Array];
        const all = products[0]!;
        const { headCount, kvHeadCount, headSize } = this.base;
        const width = (headCount + 2 * kvHeadCount) * headSize;
        const take = (heads: number, place: (head: number) => number) =>
            Float64Array.from({ length: count * heads * headSize }, (_, i) => {
                const [row, rest] = [Math.floor(i / (heads * headSize)), i % (heads * headSize)];
                return all[row * width + place(Math.floor(rest / headSize)) * headSize + (rest % headSize)]!;
            });
        if (this.family.names.interleaved === true)
            return [
                take(headCount, (head) => 3 * head),
                take(kvHeadCount, (head) => 3 * head + 1),
                take(kvHeadCount, (head) => 3 * head + 2)
            ];
        return [
            take(headCount, (head) => head),
            take(kvHeadCount, (head) => headCount + head),
            take(kvHeadCount, (head) => headCount + kvHeadCount + head)
        ];
    }

    /** Normalizes each head, then applies RoPE starting at a first position. */
    private prepare(
        x: Float64Array,
        count: number,
        heads: number,
        norm: Numbers | undefined,
        first: number
    ): Float64Array {
        const { headSize } = this.base;
        const normed = norm === undefined ? x : this.norm({ weight: norm, bias: undefined }, x);
        if (this.frequencies === undefined) return normed;
        const result = normed.slice();
        const half = this.frequencies.length;
        for (let row = 0; row < count; row++)
            for (let head = 0; head < heads; head++) {
                const start = (row * heads + head) * headSize;
                for (let i = 0; i < half; i++) {
                    const angle = (first + row) * this.frequencies[i]!;
                    const [a, b] = [normed[start + i]!, normed[start + half + i]!];
                    result[start + i] = a * Math.cos(angle) - b * Math.sin(angle);
                    result[start + half + i] = a * Math.sin(angle) + b * Math.cos(angle);
                }
            }
        return result;
    }

    private norm(norm: Norm, x: Float64Array): Float64Array {
        return normalize(norm, x, this.family, this.base.normEpsilon);
    }
}

/** Applies RMS norm or LayerNorm to each row; a row is as long as the weight. */
export function normalize({ weight, bias }: Norm, x: Float64Array, family: Family, epsilon: number): Float64Array {
    const width = weight.length;
    const offset = family.normsLessOne ? 1 : 0;
    const isLayer = family.norm === "layer";
    const result = new Float64Array(x.length);
    for (let start = 0; start < x.length; start += width) {
        const row = x.subarray(start, start + width);
        const mean = isLayer ? row.reduce((sum, value) => sum + value, 0) / width : 0;
        const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / width;
        const deviation = Math.sqrt(variance + epsilon);
        for (let i = 0; i < width; i++)
            result[start + i] = ((row[i]! - mean) / deviation) * (weight[i]! + offset) + (bias?.[i] ?? 0);
    }
    return result;
}

function apply({ matrix, bias }: Linear, x: Float64Array, count: number): Float64Array {
    const result = multiply(matrix, x, count);
    if (bias !== undefined) for (let i = 0; i < result.length; i++) result[i]! += bias[i % bias.length]!;
    return result;
}

function addTo(target: Float64Array, x: Float64Array): void {
    for (let i = 0; i < x.length; i++) target[i]! += x[i]!;
}

/** RoPE's frequency for each rotated pair of dimensions. Unit: radians per position. */
function frequenciesOf(rope: NonNullable<BaseConfig["rope"]>, layer: number): Float64Array {
    const { dimensions, local } = rope;
    const isLocal = local?.layers[layer] === true;
    const theta = isLocal ? local.theta : rope.theta;
    const scaling = isLocal ? undefined : rope.scaling;
    return Float64Array.from({ length: dimensions / 2 }, (_, i) => {
        const frequency = 1 / theta ** ((2 * i) / dimensions);
        if (scaling === undefined) return frequency;
        if (scaling.type === "linear") return frequency / scaling.factor;
        // pairs with few turns within the original context are slowed down; those with many are unchanged
        const turns = (scaling.originalContext * frequency) / (2 * Math.PI);
        const kept = (turns - scaling.lowFreqFactor) / (scaling.highFreqFactor - scaling.lowFreqFactor);
        const share = Math.min(Math.max(kept, 0), 1);
        return frequency * (share + (1 - share) / scaling.factor);
    });
}
