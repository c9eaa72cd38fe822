import test from "ava";
import type { Token } from "../../plugin/index.js";
import { assertClose } from "../helpers/compare.js";
import { generateGreedy, loadTiny, readLogits, withSequence } from "../helpers/contexts.js";
import { generateReference, runReference } from "../helpers/reference.js";
import { textIds } from "../helpers/tokens.js";

const LOGIT_TOLERANCE = 5e-4;
const schedules = ["sequential", "diagonal"] as const;

test("generation with close continues over several segments like the reference", async (t) => {
    const { model, reference } = await loadTiny(t, { segmentSize: 8, memTokens: 3, seed: 4 });
    for (const promptLength of [1, 7, 8, 9, 24]) {
        const ids = textIds(promptLength, 96, promptLength);
        const { tokens, margins } = generateReference(reference, ids, { count: 30, overflow: "close" });
        const steady = margins.findIndex((margin) => margin < 1e-3);
        for (const schedule of schedules) {
            await withSequence(model, { schedule }, async (sequence) => {
                const count = steady < 0 ? tokens.length : steady;
                t.true(count > 17, "the case has to go through two more segments");
                t.deepEqual(await generateGreedy(sequence, ids, count), tokens.slice(0, count), `${promptLength}`);
                t.true(sequence.armt!.segmentsClosed >= 2);
            });
        }
    }
});

test("a full segment stays open until another token arrives", async (t) => {
    const { model } = await loadTiny(t);
    const ids = textIds(33, 96);
    for (const schedule of schedules) {
        await withSequence(model, { schedule }, async (sequence) => {
            await readLogits(sequence, ids.slice(0, 32));
            t.is(sequence.armt!.segmentsClosed, 1);
            t.is(sequence.armt!.openTokens, 16);
            await readLogits(sequence, ids.slice(32));
            t.is(sequence.armt!.segmentsClosed, 2);
            t.is(sequence.armt!.openTokens, 1);
        });
    }
});

for (const alignment of ["right", "center"] as const) {
    test(`a whole prompt is cut into segments from the ${alignment} if the model requests it`, async (t) => {
        const { model, reference } = await loadTiny(t, { alignment });
        for (const length of [1, 16, 17, 32, 53]) {
            const ids = textIds(length, 96);
            const expected = runReference(reference, ids).logits;
            const { tokens } = generateReference(reference, ids, { count: 12, overflow: "close" });
            for (const schedule of schedules) {
                for (const batchSize of [3, 512]) {
                    const what = `${length} tokens, ${schedule}, batch size ${batchSize}:`;
                    await withSequence(model, { schedule, batchSize }, async (sequence) => {
                        const close = { within: LOGIT_TOLERANCE, rowLength: 96, what };
                        assertClose(t, await readLogits(sequence, ids), expected, close);
                    });
                    await withSequence(model, { schedule, batchSize }, async (sequence) => {
                        t.deepEqual(await generateGreedy(sequence, ids, 12), tokens, what);
                    });
                }
            }
        }
    });
}

test("a segment size other than the model's gives the reference's result for that size", async (t) => {
    const { model, reference } = await loadTiny(t);
    const ids = textIds(50, 96);
    for (const segmentSize of [5, 30]) {
        const expected = runReference(reference, ids, { segmentSize }).logits;
        await withSequence(model, { segmentSize }, async (sequence) => {
            t.is(sequence.armt!.segmentSize, segmentSize);
            const close = { within: LOGIT_TOLERANCE, rowLength: 96, what: `size ${segmentSize}:` };
            assertClose(t, await readLogits(sequence, ids), expected, close);
        });
    }
});

test("a growing segment ends at its limit with an error that names the limit", async (t) => {
    const { model } = await loadTiny(t);
    const options = { segmentOverflow: "extend", openSegmentLimit: 20 } as const;
    for (const schedule of schedules) {
        await withSequence(model, { ...options, schedule }, async (sequence) => {
            t.is(sequence.armt!.context.openSegmentLimit, 20);
            const tokens: number[] = [];
            const generate = async () => {
                const prompt = textIds(30, 96) as Token[];
                for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true }))
                    tokens.push(token);
            };
            const error = await t.throwsAsync(generate);
            t.regex(error!.message, /open segment|limit/i);
            t.regex(error!.message, /20/);
            // 14 prompt tokens in the open segment leave room for 6, and the last one's logits give a 7th
            t.is(tokens.length, 7);
        });
    }
});
