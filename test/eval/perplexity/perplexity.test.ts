import test from "ava";
import type { Token } from "../../../plugin/index.js";
import { lossOf } from "../../../src/eval/perplexity/losses.js";
import { measurePerplexity, perplexityPlot, perplexityTable } from "../../../src/eval/perplexity/perplexity.js";
import { loadTiny, withSequence } from "../../helpers/contexts.js";
import { runReference, segmentLengths } from "../../helpers/reference.js";
import { textIds } from "../../helpers/tokens.js";

const vocab = 96;

test("perplexity is that of the reference, with memory and without, for each alignment", async (t) => {
    for (const alignment of ["left", "right", "center"] as const) {
        const tiny = await loadTiny(t, { layers: 2, hidden: 32, segmentSize: 8, memTokens: 4, vocab, alignment });
        const ids = textIds(37, vocab) as Token[];
        const result = await withSequence(tiny.model, { batchSize: 16 }, (sequence) =>
            measurePerplexity(sequence, ids)
        );
        t.is(result.tokens, ids.length);
        t.deepEqual(
            result.parts.map(({ from, to }) => [from, to]),
            [
                [1, 8],
                [9, 16],
                [17, 32],
                [33, 36]
            ]
        );
        const whole = Float32Array.from(runReference(tiny.reference, ids, { segmentSize: 8, alignment }).logits);
        const alone: number[] = [];
        let start = 0;
        for (const length of segmentLengths(ids.length, 8, alignment)) {
            const part = ids.slice(start, start + length);
            alone.push(...runReference(tiny.reference, part, { segmentSize: 8 }).logits);
            start += length;
        }
        const meanLoss = (logits: Float32Array, from: number, to: number) => {
            let sum = 0;
            for (let row = from; row < to; row++)
                sum += lossOf(logits.subarray(row * vocab, (row + 1) * vocab), ids[row + 1]!);
            return sum / (to - from);
        };
        for (const part of [...result.parts, result.total]) {
            const near = (actual: number, logits: Float32Array) => {
                const expected = meanLoss(logits, part.from - 1, part.to);
                t.true(Math.abs(actual - expected) < 1e-3, `${alignment} ${part.from}: ${actual} for ${expected}`);
            };
            near(part.withMemory.mean, whole);
            near(part.withoutMemory.mean, Float32Array.from(alone));
            t.is(part.withMemory.perplexity, Math.exp(part.withMemory.mean));
            t.true(Math.abs(part.gain - (part.withoutMemory.mean - part.withMemory.mean)) < 1e-9);
        }
        // nothing was in memory when the first segment was read
        if (alignment === "left") t.is(result.parts[0]!.gain, 0);
        t.not(result.total.gain, 0);
    }
});

test("the loss is -ln of the softmax, whatever the size of the logits", (t) => {
    t.true(Math.abs(lossOf(Float32Array.from([0, 0, 0, 0]), 2) - Math.log(4)) < 1e-12);
    t.is(lossOf(Float32Array.from([1000, -1000]), 0), 0);
    t.is(lossOf(Float32Array.from([1000, -1000]), 1), 2000);
});

test("a text of one token has no perplexity", async (t) => {
    const tiny = await loadTiny(t, { vocab });
    await withSequence(tiny.model, {}, (sequence) =>
        t.throwsAsync(measurePerplexity(sequence, [5] as Token[]), { message: /has 1 tokens/ })
    );
});

test("table and plot have each stretch of the text", async (t) => {
    const tiny = await loadTiny(t, { vocab, segmentSize: 8 });
    const ids = textIds(40, vocab) as Token[];
    const result = await withSequence(tiny.model, {}, (sequence) => measurePerplexity(sequence, ids));
    t.regex(perplexityTable(result), /^tokens .*\n1 - 8 +8 .*\n9 - 16 +8 .*\n17 - 32 +16 .*\n33 - 39 +7 .*\nall +39 /);
    t.is(perplexityPlot("a&b.gguf", result).match(/<circle /g)?.length, 8);
});
