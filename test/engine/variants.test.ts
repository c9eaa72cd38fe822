import test from "ava";
import type { TinyOptions } from "../../src/tiny/options.js";
import { assertMemories } from "../helpers/assert-memories.js";
import { assertClose } from "../helpers/compare.js";
import { generateGreedy, loadTiny, readLogits, readMemories, withSequence } from "../helpers/contexts.js";
import { generateReference, runReference } from "../helpers/reference.js";
import { textIds } from "../helpers/tokens.js";

const LOGIT_TOLERANCE = 5e-4;
/** Rounding could change a greedy choice with a smaller margin. */
const MARGIN = 2 * LOGIT_TOLERANCE;

/** Each way to compute a memory and each kind of base model, at different sizes. */
const variants: Record<string, TinyOptions> = {
    "v1 keys": {},
    "keys as they are": { normalizeKeys: false },
    "no correction": { normalizeKeys: false, correction: false },
    "normalized, no correction": { correction: false },
    "2 memory heads": { nHeads: 2 },
    "4 memory heads, keys as they are": { nHeads: 4, normalizeKeys: false },
    gating: { gating: true },
    "gating, 2 memory heads": { gating: true, nHeads: 2 },
    "no denominator": { useDenom: false },
    "no denominator, keys as they are, 2 memory heads": { useDenom: false, normalizeKeys: false, nHeads: 2 },
    "an epsilon that counts": { memoryEpsilon: 0.3 },
    "an epsilon that counts, keys as they are, 2 memory heads": { memoryEpsilon: 2, normalizeKeys: false, nHeads: 2 },
    tied: { tied: true, names: "short" },
    biases: { biases: true },
    "no shared key heads": { heads: 4, kvHeads: 4 },
    "one key head": { heads: 4, kvHeads: 1 },
    "head size 24": { heads: 3, kvHeads: 1, headDim: 24 },
    "llama3 rope": {
        ropeScaling: { type: "llama3", factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 32 }
    },
    "linear rope": { ropeScaling: { type: "linear", factor: 4 } },
    "one layer": { layers: 1 },
    "one memory token": { memTokens: 1 },
    "more memory tokens than text": { memTokens: 20, segmentSize: 5 },
    "segments of one token": { segmentSize: 1, memTokens: 2 },
    "key size 6": { dMem: 6 }
};

for (const [name, options] of Object.entries(variants)) {
    test(`engine gives the reference's logits, memories and tokens, ${name}`, async (t) => {
        const { model, reference } = await loadTiny(t, { segmentSize: 12, memTokens: 5, ...options });
        const ids = textIds(5 * reference.segmentSize + Math.ceil(reference.segmentSize / 3), reference.vocab);
        const expected = runReference(reference, ids, { closeLast: true });
        const generated = {
            extend: steady(generateReference(reference, ids, { count: 24, overflow: "extend" })),
            close: steady(generateReference(reference, ids, { count: 24, overflow: "close" }))
        };
        for (const schedule of ["sequential", "diagonal"] as const) {
            await withSequence(model, { schedule, batchSize: 17 }, async (sequence) => {
                const close = { within: LOGIT_TOLERANCE, rowLength: reference.vocab, what: `${schedule}: logits` };
                assertClose(t, await readLogits(sequence, ids), expected.logits, close);
                await sequence.armt!.closeSegment();
                assertMemories(t, await readMemories(sequence), expected.sequence.memories, reference, {
                    what: schedule
                });
            });
            for (const segmentOverflow of ["extend", "close"] as const) {
                const tokens = generated[segmentOverflow];
                await withSequence(model, { schedule, segmentOverflow, batchSize: 17 }, async (sequence) => {
                    t.deepEqual(await generateGreedy(sequence, ids, tokens.length), tokens, segmentOverflow);
                });
            }
        }
    });
}

/** The tokens before the first choice that rounding could change; a test needs at least a segment of them. */
function steady({ tokens, margins }: { tokens: number[]; margins: number[] }): number[] {
    const end = margins.findIndex((margin) => margin < MARGIN);
    const result = end < 0 ? tokens : tokens.slice(0, end);
    if (result.length < 14) throw new Error(`only ${result.length} tokens of this prompt are beyond rounding`);
    return result;
}
