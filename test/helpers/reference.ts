import { type AssociativeMemory, emptyMemory, features, recall, write } from "./associative-memory.js";
import type { Alignment, ReferenceLayer, ReferenceModel } from "./checkpoint.js";
import { addTo, applyLinear, applyNorm, argmax, type Norm } from "./linear.js";
import { ropeFrequencies, rotate } from "./rope.js";

/** Keys and values of one layer's rows in the open segment, each row [Hkv * headDim]. */
type RowCache = { keys: Float64Array[]; values: Float64Array[] };

/**
 * One sequence of an ARMT model, computed row by row in float64, as the paper defines it (arXiv 2407.04841). Tests
 * compare the engine with it.
 */
export class ReferenceSequence {
    public memories: AssociativeMemory[];
    /** Tokens in the open segment. */
    public openLength = 0;
    private segmentsClosed = 0;
    /** If segments begin with the text of the segment before: that text, and the open segment's. */
    private reread: readonly number[] = [];
    private openText: number[] = [];
    /** Rows of the open segment before this one are hidden. */
    private firstVisible = 0;
    private caches: RowCache[] = [];
    /** Keys and values of the previous segment's text, rotated to their positions there. */
    private previous: RowCache[] = [];
    private readonly frequencies: readonly Float64Array[];

    constructor(private readonly model: ReferenceModel) {
        this.memories = model.layers.map(() => emptyMemory(model));
        this.frequencies = model.layers.map(({ rope }) =>
            rope ? ropeFrequencies(rope, model.rotaryDim) : new Float64Array()
        );
        this.clearCaches();
        this.previous = model.layers.map(() => ({ keys: [], values: [] }));
    }

    /** Rows before the text. */
    private get sinkCount(): number {
        return this.model.sink === undefined ? 0 : 1;
    }

    /** Appends tokens to the open segment, without a limit of its length. @returns logits [n, V] */
    public append(ids: readonly number[]): Float64Array {
        const { hidden, vocab, embedding, embeddingScale, norm, output } = this.model;
        const again = this.openLength === 0 ? this.reread : [];
        const rows = [...again, ...ids].map((id) =>
            embedding.slice(id * hidden, (id + 1) * hidden).map((x) => x * embeddingScale)
        );
        const first = this.sinkCount + this.reread.length - again.length + this.openLength;
        for (const [i, row] of rows.entries()) this.addPosition(row, first + i);
        const sink = this.model.sink?.slice();
        if (sink !== undefined) this.addPosition(sink, 0);
        this.runLayers(sink !== undefined && this.openLength === 0 ? [sink, ...rows] : rows);
        this.openLength += ids.length;
        if (this.model.rereadsPrevious) this.openText.push(...ids);
        const logits = new Float64Array(ids.length * vocab);
        for (const [i, row] of rows.slice(again.length).entries())
            logits.set(applyLinear(output, applyNorm(norm, row)), i * vocab);
        return logits;
    }

    /** Runs the memory rows after the open segment, writes them, and opens the next segment. */
    public close(): void {
        const { hidden, memTokens, memory, positions } = this.model;
        const textEnd = this.sinkCount + this.reread.length + this.openLength;
        const first = positions?.wrapped === true ? positions.table.length / hidden - memTokens : textEnd;
        const rows = Array.from({ length: memTokens }, (_, i) => memory.slice(i * hidden, (i + 1) * hidden));
        for (const [i, row] of rows.entries()) this.addPosition(row, first + i);
        const written: AssociativeMemory[] = [];
        if (this.model.splitsMemory) this.firstVisible = this.reread.length + this.openLength;
        this.runLayers(rows, (layer, il) => written.push(this.written(layer, il, rows)), this.model.slidingWindow);
        this.previous = this.caches.map(({ keys, values }) => ({
            keys: keys.slice(this.sinkCount, textEnd),
            values: values.slice(this.sinkCount, textEnd)
        }));
        this.memories = written;
        this.segmentsClosed++;
        this.reread = this.openText;
        this.openText = [];
        this.openLength = 0;
        this.firstVisible = 0;
        this.clearCaches();
    }

    private addPosition(row: Float64Array, position: number): void {
        const { hidden, positions } = this.model;
        if (positions === undefined) return;
        if ((position + 1) * hidden > positions.table.length) throw new Error(`no position ${position}`);
        addTo(row, positions.table.subarray(position * hidden, (position + 1) * hidden));
    }

    /** Runs rows through all layers in place.
     * @param together rows attend to one another and to the whole previous segment */
    private runLayers(
        rows: Float64Array[],
        afterLayer?: (layer: ReferenceLayer, il: number) => void,
        together = false
    ): void {
        for (const [il, layer] of this.model.layers.entries()) {
            const finish = (row: Float64Array, query: Float64Array, position: number) => {
                const input = layer.parallel ? row.slice() : row;
                this.attend(layer, row, query, this.visible(il, position, together));
                this.feedForward(layer, row, input);
            };
            const queries: Float64Array[] = [];
            const first = this.caches[il]!.keys.length;
            for (const [i, row] of rows.entries()) {
                if (this.segmentsClosed > 0) this.read(layer, il, row);
                queries.push(this.project(layer, il, row));
                if (!together) finish(row, queries[i]!, first + i);
            }
            if (together) for (const [i, row] of rows.entries()) finish(row, queries[i]!, first + i);
            afterLayer?.(layer, il);
        }
    }

    /** Keys and values that a row of the segment attends to. */
    private visible(il: number, position: number, together: boolean): RowCache {
        const { keys, values } = this.caches[il]!;
        const { window = Number.POSITIVE_INFINITY } = this.model.layers[il]!;
        const first = Math.max(this.firstVisible, position + 1 - window);
        const [from, to] = together ? [0, keys.length] : [first, position + 1];
        const own = { keys: keys.slice(from, to), values: values.slice(from, to) };
        if (!this.model.slidingWindow || position < this.sinkCount) return own;
        // a text row sees the rows at most one segment before it
        const back = together ? 0 : position - this.sinkCount;
        const before = this.previous[il]!;
        return {
            keys: [...before.keys.slice(back), ...own.keys],
            values: [...before.values.slice(back), ...own.values]
        };
    }

    private read(layer: ReferenceLayer, il: number, row: Float64Array): void {
        const query = features(applyLinear(layer.memoryQ, row), this.model);
        addTo(row, recall(this.memories[il]!, query, this.model));
    }

    private written(layer: ReferenceLayer, il: number, rows: readonly Float64Array[]): AssociativeMemory {
        const writes = rows.map((row) => ({
            key: features(applyLinear(layer.memoryK, row), this.model),
            value: applyLinear(layer.memoryV, row),
            strength: applyLinear(layer.memoryB, row).map((x) => 1 / (1 + Math.exp(-x)))
        }));
        return write(this.memories[il]!, writes, this.segmentsClosed === 0, this.model);
    }

    /** Appends a row's key and value to the cache. @returns its query */
    private project(layer: ReferenceLayer, il: number, row: Float64Array): Float64Array {
        const { headDim, slidingWindow } = this.model;
        const { keys, values } = this.caches[il]!;
        const x = applyNorm(layer.attentionNorm, row);
        // positions continue after the cached keys, as in transformers
        const position = keys.length + (slidingWindow ? this.previous[il]!.keys.length : 0);
        const query = normHeads(applyLinear(layer.q, x), layer.qNorm, headDim);
        const key = normHeads(applyLinear(layer.k, x), layer.kNorm, headDim);
        rotate(query, position, this.frequencies[il]!, headDim);
        rotate(key, position, this.frequencies[il]!, headDim);
        keys.push(key);
        values.push(applyLinear(layer.v, x));
        return query;
    }

    private attend(layer: ReferenceLayer, row: Float64Array, query: Float64Array, { keys, values }: RowCache): void {
        const { heads, kvHeads, headDim, attentionScale } = this.model;
        const mixed = new Float64Array(heads * headDim);
        for (let head = 0; head < heads; head++) {
            const q = head * headDim;
            const kv = Math.floor(head / (heads / kvHeads)) * headDim;
            const scores = keys.map((k) => {
                let sum = 0;
                for (let i = 0; i < headDim; i++) sum += query[q + i]! * k[kv + i]!;
                return sum * attentionScale;
            });
            const largest = scores.reduce((a, b) => Math.max(a, b));
            const weights = scores.map((score) => Math.exp(score - largest));
            const total = weights.reduce((a, b) => a + b);
            for (const [j, weight] of weights.entries())
                for (let i = 0; i < headDim; i++) mixed[q + i]! += (weight / total) * values[j]![kv + i]!;
        }
        const output = applyLinear(layer.o, mixed);
        addTo(row, layer.attentionPostNorm === undefined ? output : applyNorm(layer.attentionPostNorm, output));
    }

    private feedForward(layer: ReferenceLayer, row: Float64Array, input: Float64Array): void {
        const { activation } = this.model;
        const x = applyNorm(layer.ffnNorm, input);
        const up = applyLinear(layer.up, x);
        const inner =
            layer.gate === undefined
                ? up.map(activation)
                : applyLinear(layer.gate, x).map((g, i) => activation(g) * up[i]!);
        const output = applyLinear(layer.down, inner);
        addTo(row, layer.ffnPostNorm === undefined ? output : applyNorm(layer.ffnPostNorm, output));
    }

    private clearCaches(): void {
        this.caches = this.model.layers.map(() => ({ keys: [], values: [] }));
    }
}

/** Normalizes each head of a row separately. */
function normHeads(row: Float64Array, norm: Norm | undefined, headDim: number): Float64Array {
    if (norm === undefined) return row;
    const result = new Float64Array(row.length);
    for (let head = 0; head < row.length; head += headDim)
        result.set(applyNorm(norm, row.subarray(head, head + headDim)), head);
    return result;
}

export type ReferenceOptions = {
    /** Default: the model's. */
    segmentSize?: number;
    /** Default: the model's. */
    alignment?: Alignment;
    /** Write the last segment to memory too. Default: `false`. */
    closeLast?: boolean;
};

/** Lengths of the segments of a prompt of n tokens. */
export function segmentLengths(n: number, segmentSize: number, alignment: Alignment): number[] {
    const count = Math.ceil(n / segmentSize);
    const size = alignment === "center" ? Math.ceil(n / count) : segmentSize;
    const lengths: number[] = [];
    for (let left = n; left > 0; left -= size) lengths.push(Math.min(size, left));
    return alignment === "right" ? lengths.reverse() : lengths;
}

/** Runs a prompt. @returns its logits [n, V] and the sequence, with its last segment open unless `closeLast` */
export function runReference(
    model: ReferenceModel,
    ids: readonly number[],
    { segmentSize = model.segmentSize, alignment = model.alignment, closeLast = false }: ReferenceOptions = {}
): { logits: Float64Array; sequence: ReferenceSequence } {
    const sequence = new ReferenceSequence(model);
    const logits = new Float64Array(ids.length * model.vocab);
    let done = 0;
    for (const length of segmentLengths(ids.length, segmentSize, alignment)) {
        if (done > 0) sequence.close();
        logits.set(sequence.append(ids.slice(done, done + length)), done * model.vocab);
        done += length;
    }
    if (closeLast) sequence.close();
    return { logits, sequence };
}

export type GenerationOptions = Pick<ReferenceOptions, "segmentSize" | "alignment"> & {
    /** Tokens to generate. */
    count: number;
    /** What happens when the open segment is full: see `ArmtContextOptions`. */
    overflow: "close" | "extend";
    /** Tokens of an engine, [count], each appended in place of the most likely one. */
    follow?: readonly number[];
};

export type ReferenceGeneration = {
    tokens: number[];
    /** Each token's logit minus the next best one's. Below an engine's error, rounding may change the choice. */
    margins: number[];
    /** How far the logit of each token of `follow` is below the most likely one's. Without `follow`, 0. */
    behind: number[];
};

/** Generates greedily after a prompt. With `follow`, each token is the most likely one after those of `follow`. */
export function generateReference(
    model: ReferenceModel,
    ids: readonly number[],
    { count, overflow, follow, segmentSize = model.segmentSize, alignment = model.alignment }: GenerationOptions
): ReferenceGeneration {
    const { logits, sequence } = runReference(model, ids, { segmentSize, alignment });
    const tokens: number[] = [];
    const margins: number[] = [];
    const behind: number[] = [];
    let last = logits.subarray(-model.vocab);
    while (true) {
        const token = argmax(last);
        const second = last.reduce((best, x, i) => (i === token ? best : Math.max(best, x)), -Infinity);
        tokens.push(token);
        margins.push(last[token]! - second);
        const taken = follow?.[behind.length] ?? token;
        behind.push(last[token]! - last[taken]!);
        if (tokens.length === count) return { tokens, margins, behind };
        if (overflow === "close" && sequence.openLength >= segmentSize) sequence.close();
        last = sequence.append([taken]);
    }
}
