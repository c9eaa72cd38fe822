import type { ArmtConfig } from "../convert/armt-config.js";
import type { BaseConfig } from "../convert/base-config.js";
import type { SourceTensor } from "../convert/checkpoint.js";
import { segmentFormOf } from "../convert/dialects.js";
import { families } from "../convert/families.js";
import { segmentLengths } from "../util/segment-lengths.js";
import { normalize, PlainLayer, type Rows } from "./layer.js";
import { PlainMemory } from "./memory.js";
import { multiply, roundTo } from "./numbers.js";
import { PlainWeights } from "./weights.js";

/** What the plain model takes of a checkpoint. */
export type PlainSource = {
    base: BaseConfig;
    armt: ArmtConfig;
    tensors: ReadonlyMap<string, SourceTensor>;
};

export type PlainResult = {
    /** Logits of each segment: [tokens, V]. */
    logits: Float64Array[];
    /** Memory of each layer after the last segment was written. */
    memories: { a: Float64Array; z: Float64Array }[];
};

export type PlainOptions = {
    /** Number of text tokens in a segment. */
    segmentSize: number;
    onLayer?: (done: number, layers: number) => void;
    signal?: AbortSignal;
};

/**
 * Runs a checkpoint in float64, in the paper's plain order (arXiv 2407.04841), from its own tensors. It shares no code
 * with the engine or with the part of the converter that writes weights. Only one layer's weights are in memory at a
 * time.
 */
export async function runPlainModel(
    { base, armt, tensors }: PlainSource,
    ids: readonly number[],
    { segmentSize, onLayer, signal }: PlainOptions
): Promise<PlainResult> {
    const weights = new PlainWeights(tensors);
    const family = families[base.architecture];
    const lengths = segmentLengths(ids.length, segmentSize, armt.segmentAlignment);
    const memoryTokens = weights.shape("memory")[0]!;
    const sink = weights.has("sink") ? 1 : 0;
    const memorySeesText = armt.memoryAttendsToText ?? !(armt.wrapPositions && (base.transformersVersion ?? 0) >= 5);
    // a segment's text rows: those of the segment before, if it reads them again, and its own
    const before = lengths.map((_, s) => (armt.rereadsPrevious && s > 0 ? lengths[s - 1]! : 0));
    const segments = await embed(weights, base, armt, ids, lengths, before);
    const memories: PlainMemory[] = [];
    const form = segmentFormOf(armt.dialect, armt.slidingWindow);
    const learned = await weights.numbers("memory");
    for (let il = 0; il < base.layerCount; il++) {
        signal?.throwIfAborted();
        const layer = await PlainLayer.read(weights, family, base, il);
        const project = async (kind: string) => ({
            matrix: await weights.matrix(`layers.${il}.${kind}.weight`),
            bias: kind === "W_mb" ? await weights.numbers(`layers.${il}.${kind}.bias`) : undefined
        });
        const [query, key] = [await project("W_mq"), await project("W_mk")];
        const [value, beta] = [await project("W_mv"), await project("W_mb")];
        const memory = new PlainMemory({ ...armt, width: base.hiddenSize, keyLength: key.matrix.outputs });
        for (const [s, x] of segments.entries()) {
            signal?.throwIfAborted();
            const textEnd = sink + before[s]! + lengths[s]!;
            const seesPrevious = armt.slidingWindow;
            const count = textEnd + memoryTokens;
            const rows: Rows = { count, sink, textEnd, memorySeesText, seesPrevious, form };
            if (form.disjointMemory && il > 0) x.set(learned, textEnd * base.hiddenSize);
            if (!memory.empty) {
                const queries = multiply(query.matrix, x, rows.count);
                for (let row = 0; row < rows.count; row++) {
                    const found = memory.read(rowOf(queries, row, query.matrix.outputs));
                    const own = rowOf(x, row, base.hiddenSize);
                    for (let i = 0; i < found.length; i++) own[i]! += found[i]!;
                }
            }
            layer.run(x, rows);
            const written = x.subarray(textEnd * base.hiddenSize);
            const betas = multiply(beta.matrix, written, memoryTokens).map(
                (number, i) => number + beta.bias![i % beta.bias!.length]!
            );
            memory.write(
                memoryTokens,
                multiply(key.matrix, written, memoryTokens),
                multiply(value.matrix, written, memoryTokens),
                betas
            );
        }
        memories.push(memory);
        onLayer?.(il + 1, base.layerCount);
        // let the progress bar update and an interrupt take effect
        await new Promise((resolve) => setImmediate(resolve));
    }
    const norm = {
        weight: await weights.numbers(`${family.names.outputNorm}.weight`),
        bias: family.norm === "layer" ? await weights.numbers(`${family.names.outputNorm}.bias`) : undefined
    };
    const text = segments.map((x, s) =>
        normalize(norm, textOf(x, sink + before[s]!, lengths[s]!, base.hiddenSize), family, base.normEpsilon)
    );
    return { logits: await logitsOf(weights, base, text), memories };
}

/** Embeddings of text tokens, scaled if the family scales them: [ids, D]. */
export async function embeddingsOf(
    weights: PlainWeights,
    base: BaseConfig,
    ids: readonly number[]
): Promise<Float64Array> {
    const { names, scaledEmbeddings } = families[base.architecture];
    const table = weights.has(`${names.embedding}.weight`) ? `${names.embedding}.weight` : `${names.output}.weight`;
    const bits: Readonly<Record<string, number>> = { BF16: 8, F16: 11 };
    const scale = scaledEmbeddings ? roundTo(Math.sqrt(base.hiddenSize), bits[weights.dtype(table)] ?? 24) : 1;
    return (await weights.rows(table, ids)).map((value) => value * scale);
}

/**
 * Rows of each segment: a sink if the model has one, the token embeddings, then the memory tokens.
 * @param reread tokens of the segment before that each segment begins with
 */
async function embed(
    weights: PlainWeights,
    base: BaseConfig,
    armt: ArmtConfig,
    ids: readonly number[],
    lengths: readonly number[],
    reread: readonly number[]
): Promise<Float64Array[]> {
    const { names } = families[base.architecture];
    const memory = Float64Array.from(await weights.numbers("memory"));
    const sink = weights.has("sink") ? Float64Array.from(await weights.numbers("sink")) : new Float64Array();
    const memoryTokens = memory.length / base.hiddenSize;
    const segments: Float64Array[] = [];
    let done = 0;
    // rows of the segments before, if positions run on
    let before = 0;
    for (const [s, length] of lengths.entries()) {
        const text = await embeddingsOf(weights, base, ids.slice(done - reread[s]!, done + length));
        const x = new Float64Array(sink.length + text.length + memory.length);
        x.set(sink);
        x.set(text, sink.length);
        x.set(memory, sink.length + text.length);
        if (names.positions !== undefined) {
            const name = `${names.positions}.weight`;
            const rows = weights.shape(name)[0]!;
            const count = x.length / base.hiddenSize;
            const places = Array.from({ length: count }, (_, row) =>
                armt.wrapPositions && row >= count - memoryTokens ? rows - count + row : before + row
            );
            if (armt.positionsContinue) before += count;
            const positions = await weights.rows(name, places);
            for (let i = 0; i < x.length; i++) x[i]! += positions[i]!;
        }
        segments.push(x);
        done += length;
    }
    return segments;
}

/** Logits of normalized rows, segment by segment: [tokens, V]. */
export async function logitsOf(
    weights: PlainWeights,
    base: BaseConfig,
    text: readonly Float64Array[]
): Promise<Float64Array[]> {
    const { names } = families[base.architecture];
    const [output, embedding] = [`${names.output}.weight`, `${names.embedding}.weight`];
    const name = weights.has(output) && (base.tiedEmbeddings !== true || !weights.has(embedding)) ? output : embedding;
    const logits = text.map((x) => new Float64Array((x.length / base.hiddenSize) * base.vocabSize));
    let first = 0;
    for await (const part of weights.parts(name)) {
        for (const [s, x] of text.entries()) {
            const count = x.length / base.hiddenSize;
            const products = multiply(part, x, count);
            for (let row = 0; row < count; row++)
                logits[s]!.set(rowOf(products, row, part.outputs), row * base.vocabSize + first);
        }
        first += part.outputs;
    }
    return logits;
}

/** The rows of a segment whose logits are compared. */
function textOf(x: Float64Array, first: number, length: number, width: number): Float64Array {
    return x.subarray(first * width, (first + length) * width);
}

function rowOf(x: Float64Array, row: number, width: number): Float64Array {
    return x.subarray(row * width, (row + 1) * width);
}
