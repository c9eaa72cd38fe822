import test from "ava";
import { countOperations } from "../../src/bench/operations.js";
import type { ArmtModelKeys } from "../../src/formats/gguf/armt-keys.js";

const info: ArmtModelKeys = {
    name: undefined,
    baseArchitecture: "llama",
    fingerprint: "0".repeat(64),
    earlierFingerprints: [],
    vocabSize: 50,
    contextLength: 2 ** 30,
    embeddingLength: 8,
    blockCount: 3,
    feedForwardLength: 12,
    headCount: 4,
    headCountKv: 2,
    headSize: 2,
    norm: "rms",
    normEpsilon: 1e-5,
    activation: "silu",
    gated: true,
    parallelResidual: false,
    slidingWindow: undefined,
    seesPreviousSegment: false,
    previousPositions: "continued",
    rereadsPreviousSegment: false,
    sinkCount: 0,
    embeddingScale: 1,
    attentionScale: 1 / Math.sqrt(2),
    positions: { type: "rope", dimensions: 2, freqBase: 10_000, linearFactor: 1, localFreqBase: undefined },
    segmentSize: 5,
    segmentAlignment: "left",
    memory: {
        kind: "associative",
        tokenCount: 2,
        keyLength: 4,
        dpfpOrder: 3,
        headCount: 1,
        normalizeKeys: true,
        useDenom: true,
        correction: true,
        gating: false,
        epsilon: 1e-5,
        attendsToText: true,
        mutual: false,
        disjoint: false
    },
    ask: undefined,
    baseName: undefined,
    license: undefined,
    training: undefined
};

/** The same count, row by row and layer by layer. */
function count(tokens: number, segmentSize: number): { armt: number; stock: number } {
    const { embeddingLength: d, feedForwardLength: f, blockCount, headCount, headCountKv, headSize, memory } = info;
    const product = (rows: number, columns: number) => 2 * rows * columns;
    const layer = (il: number, row: number, rows: number, wanted: number) => {
        let sum = 2 * product(headCountKv * headSize, d);
        if (il < blockCount - 1 || row >= rows - wanted) {
            sum += product(headCount * headSize, d) + product(d, headCount * headSize) + 3 * product(f, d);
            // scores and sums over the rows up to this one
            for (let seen = 0; seen <= row; seen++) sum += 2 * headCount * product(1, headSize);
        }
        return sum;
    };
    const keys = 6 * memory.keyLength;
    let armt = product(info.vocabSize, d);
    let stock = armt;
    for (let il = 0; il < blockCount; il++) {
        for (let row = 0; row < tokens; row++) stock += layer(il, row, tokens, 1);
        for (let start = 0; start < tokens; start += segmentSize) {
            const last = start + segmentSize >= tokens;
            const rows = last ? tokens - start : segmentSize + memory.tokenCount;
            for (let row = 0; row < rows; row++) {
                if (start > 0) armt += product(memory.keyLength, d) + product(keys, d);
                armt += layer(il, row, rows, last ? 1 : memory.tokenCount);
            }
            for (let row = 0; !last && row < memory.tokenCount; row++) {
                armt += product(memory.keyLength, d) + product(d, d) + product(1, d);
                armt += (start > 0 ? 2 : 1) * product(keys, d);
            }
        }
    }
    return { armt, stock };
}

for (const [tokens, segmentSize] of [
    [3, 5],
    [5, 5],
    [6, 5],
    [10, 5],
    [23, 5],
    [23, 8]
] as const) {
    test(`operations of ${tokens} tokens in segments of ${segmentSize} sum over all rows and layers`, (t) => {
        t.deepEqual(countOperations(info, tokens, segmentSize), count(tokens, segmentSize));
    });
}
