import test from "ava";
import fc from "fast-check";
import { assertMemories } from "../helpers/assert-memories.js";
import { assertClose } from "../helpers/compare.js";
import { generateGreedy, loadTiny, readLogits, readMemories, withSequence } from "../helpers/contexts.js";
import { checkModels, tinyShapes } from "../helpers/property.js";
import { generateReference, runReference } from "../helpers/reference.js";
import { textIds } from "../helpers/tokens.js";

const LOGIT_TOLERANCE = 1e-4;

const cases = fc.record({
    shape: tinyShapes,
    schedule: fc.constantFrom("sequential" as const, "diagonal" as const),
    /** Lengths of the pieces of the prompt, each with its batch size. */
    pieces: fc.array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 40 })), {
        minLength: 1,
        maxLength: 6
    })
});

test("logits and memories do not depend on how the input was split", async (t) => {
    t.timeout(600_000);
    const checked = await checkModels(cases, { most: 40, least: 15, seconds: 40 }, async (value) => {
        const { shape, schedule, pieces } = value;
        const { model, reference } = await loadTiny(t, shape);
        const ids = textIds(
            pieces.reduce((sum, [length]) => sum + length, 0),
            shape.vocab
        );
        const what = JSON.stringify(value);
        const whole = await withSequence(model, { schedule, batchSize: ids.length }, async (sequence) => {
            const logits = await readLogits(sequence, ids);
            await sequence.armt!.closeSegment();
            return { logits, memories: await readMemories(sequence) };
        });
        await withSequence(model, { schedule, batchSize: pieces[0]![1] }, async (sequence) => {
            let start = 0;
            for (const [length] of pieces) {
                const logits = await readLogits(sequence, ids.slice(start, start + length));
                const expected = whole.logits.subarray(start * shape.vocab, (start + length) * shape.vocab);
                assertClose(t, logits, expected, { within: LOGIT_TOLERANCE, rowLength: shape.vocab, what });
                start += length;
            }
            await sequence.armt!.closeSegment();
            assertMemories(t, await readMemories(sequence), whole.memories, reference, { what });
        });
        await model.dispose();
    });
    t.log(`${checked} models`);
});

test("a prompt without logits leaves the same state as one with", async (t) => {
    const { model, reference } = await loadTiny(t, { layers: 5 });
    const ids = textIds(16 * 9 + 5, 96);
    const { tokens } = generateReference(reference, ids, { count: 8, overflow: "close" });
    for (const schedule of ["sequential", "diagonal"] as const) {
        for (const batchSize of [1, 5, 16, 33, 512]) {
            await withSequence(model, { schedule, batchSize }, async (sequence) => {
                t.deepEqual(await generateGreedy(sequence, ids, 8), tokens, `${schedule}, batch size ${batchSize}`);
            });
        }
    }
});

test("a segment can be closed early, and closing an empty one does nothing", async (t) => {
    const { model, reference } = await loadTiny(t);
    const ids = textIds(16 + 5, 96);
    const expected = runReference(reference, ids, { closeLast: true }).sequence;
    const after = expected.append([7, 8, 9]);
    for (const schedule of ["sequential", "diagonal"] as const) {
        await withSequence(model, { schedule }, async (sequence) => {
            await sequence.armt!.closeSegment();
            t.is(sequence.armt!.segmentsClosed, 0);
            await readLogits(sequence, ids);
            t.is(sequence.armt!.openTokens, 5);
            await sequence.armt!.closeSegment();
            await sequence.armt!.closeSegment();
            t.is(sequence.armt!.segmentsClosed, 2);
            t.is(sequence.armt!.openTokens, 0);
            const close = { within: 5e-4, rowLength: 96, what: schedule };
            assertClose(t, await readLogits(sequence, [7, 8, 9]), after, close);
        });
    }
});

test("a segment that takes several steps can be read without logits", async (t) => {
    for (const layers of [1, 3]) {
        const { model, reference } = await loadTiny(t, { layers, hidden: 32, segmentSize: 530, memTokens: 3 });
        const ids = textIds(2 * 530 + 525, 96);
        const expected = runReference(reference, ids).logits.slice(-96);
        for (const schedule of ["sequential", "diagonal"] as const) {
            await withSequence(model, { schedule }, async (sequence) => {
                await sequence.evaluateWithoutGeneratingNewTokens(
                    ids.slice(0, -1) as Parameters<typeof sequence.adaptStateToTokens>[0]
                );
                const close = { within: 5e-4, rowLength: 96, what: `${layers} layers, ${schedule}:` };
                assertClose(t, await readLogits(sequence, ids.slice(-1)), expected, close);
            });
        }
    }
});
