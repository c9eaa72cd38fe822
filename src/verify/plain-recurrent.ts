import { segmentFormOf } from "../convert/dialects.js";
import { families } from "../convert/families.js";
import { segmentLengths } from "../util/segment-lengths.js";
import { normalize, PlainLayer, type Rows } from "./layer.js";
import { embeddingsOf, logitsOf, type PlainOptions, type PlainResult, type PlainSource } from "./plain-model.js";
import { PlainWeights } from "./weights.js";

/**
 * Runs a plain RMT checkpoint (arXiv 2207.06881) in float64. Each segment is [state, text, state], and the final norm
 * of its last rows is the next state. All layers' weights are in memory, since a segment needs the last layer of the
 * segment before.
 * @returns the state as the memory of layer 0
 */
export async function runPlainRecurrent(
    { base, armt, tensors }: PlainSource,
    ids: readonly number[],
    { segmentSize, onLayer, signal }: PlainOptions
): Promise<PlainResult> {
    const weights = new PlainWeights(tensors);
    const family = families[base.architecture];
    const { names } = family;
    const width = base.hiddenSize;
    const layers: PlainLayer[] = [];
    for (let il = 0; il < base.layerCount; il++) layers.push(await PlainLayer.read(weights, family, base, il));
    const norm = {
        weight: await weights.numbers(`${names.outputNorm}.weight`),
        bias: family.norm === "layer" ? await weights.numbers(`${names.outputNorm}.bias`) : undefined
    };
    const lengths = segmentLengths(ids.length, segmentSize, armt.segmentAlignment);
    let state = Float64Array.from(await weights.numbers("memory"));
    const memoryTokens = state.length / width;
    const text: Float64Array[] = [];
    let done = 0;
    for (const [s, length] of lengths.entries()) {
        signal?.throwIfAborted();
        const embeddings = await embeddingsOf(weights, base, ids.slice(done, done + length));
        const x = new Float64Array(2 * state.length + embeddings.length);
        x.set(state);
        x.set(embeddings, state.length);
        x.set(state, state.length + embeddings.length);
        const count = 2 * memoryTokens + length;
        if (names.positions !== undefined) {
            const rows = Array.from({ length: count }, (_, row) => row);
            const positions = await weights.rows(`${names.positions}.weight`, rows);
            for (let i = 0; i < x.length; i++) x[i]! += positions[i]!;
        }
        const textEnd = memoryTokens + length;
        const form = segmentFormOf("outer", false);
        const rows: Rows = { count, sink: memoryTokens, textEnd, memorySeesText: true, seesPrevious: false, form };
        for (const layer of layers) layer.run(x, rows);
        const normed = normalize(norm, x, family, base.normEpsilon);
        text.push(normed.slice(state.length, textEnd * width));
        state = normed.slice(textEnd * width);
        done += length;
        onLayer?.(s + 1, lengths.length);
        // let the progress bar update and an interrupt take effect
        await new Promise((resolve) => setImmediate(resolve));
    }
    return { logits: await logitsOf(weights, base, text), memories: [{ a: state, z: new Float64Array() }] };
}
