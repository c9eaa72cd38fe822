import test from "ava";
import { largestDifference } from "../helpers/compare.js";
import { loadTiny, readLogits, type TestContextOptions, withSequence } from "../helpers/contexts.js";
import { argmax } from "../helpers/linear.js";
import { runReference } from "../helpers/reference.js";
import { textIds } from "../helpers/tokens.js";

const VOCAB = 96;
const sizes = { hidden: 64, heads: 2, kvHeads: 1, layers: 4 };

/**
 * Largest error of a logit compared with float64 on the unrounded weights, over 8 segments (logits have a standard
 * deviation of 2), and the share of positions with the same best token. The limits are the measured values with a
 * margin of about a half.
 */
const cases = [
    { weights: "f32", kvType: "F16", error: 0.02, agreement: 0.97 },
    { weights: "f32", kvType: "Q8_0", error: 0.3, agreement: 0.9 },
    { weights: "f16", kvType: "F16", error: 0.05, agreement: 0.97 },
    { weights: "bf16", kvType: "F16", error: 0.3, agreement: 0.9 },
    { weights: "q8_0", kvType: "F16", error: 0.5, agreement: 0.9 }
] as const;

for (const { weights, kvType, error, agreement } of cases) {
    test(`logits stay close with ${weights} weights and ${kvType.toLowerCase()} keys and values`, async (t) => {
        const { model, reference } = await loadTiny(t, sizes, weights);
        const ids = textIds(16 * 8 + 5, VOCAB);
        const expected = runReference(reference, ids).logits;
        for (const schedule of ["sequential", "diagonal"] as const) {
            for (const flashAttention of kvType === "Q8_0" ? [true] : [true, false]) {
                const options: TestContextOptions = { schedule, kvType, flashAttention };
                const logits = await withSequence(model, options, (sequence) => readLogits(sequence, ids));
                const { value, row } = largestDifference(logits, expected, VOCAB);
                const share = bestTokens(logits).filter((id, i) => id === bestTokens(expected)[i]).length / ids.length;
                const what = `${schedule}, flash attention ${flashAttention ? "on" : "off"}`;
                t.log(`${what}: error ${value.toFixed(4)} (row ${row}), same token ${(100 * share).toFixed(1)} %`);
                t.true(value <= error, `${what}: ${value}`);
                t.true(value > 1e-6, "the type makes no difference: is it in use?");
                t.true(share >= agreement, `${what}: ${share}`);
            }
        }
    });
}

function bestTokens(logits: ArrayLike<number> & { subarray(start: number, end: number): ArrayLike<number> }): number[] {
    return Array.from({ length: logits.length / VOCAB }, (_, i) => argmax(logits.subarray(i * VOCAB, (i + 1) * VOCAB)));
}
