import test from "ava";
import type { LlamaContextSequence, Token } from "../../plugin/index.js";
import { assertClose } from "../helpers/compare.js";
import { generateGreedy, loadTiny, readLogits, withContext, withSequence } from "../helpers/contexts.js";
import { generateReference, runReference } from "../helpers/reference.js";
import { textIds } from "../helpers/tokens.js";

const LOGIT_TOLERANCE = 5e-4;
const schedules = ["sequential", "diagonal"] as const;

const read = (sequence: LlamaContextSequence, ids: readonly number[]) =>
    sequence.evaluateWithoutGeneratingNewTokens([...ids] as Token[]);

test("tokens at the end of the open segment are removed without reading the rest again", async (t) => {
    const { model, reference } = await loadTiny(t);
    const ids = textIds(44, 96);
    const other = textIds(9, 96, 2);
    const kept = [...ids.slice(0, 38), ...other];
    const expected = runReference(reference, kept).logits.subarray(-9 * 96);
    for (const schedule of schedules) {
        await withSequence(model, { schedule }, async (sequence) => {
            await read(sequence, ids);
            const { cells } = sequence.armt!;
            await sequence.eraseContextTokenRanges([{ start: 38, end: 44 }]);
            t.is(sequence.nextTokenIndex, 38);
            t.is(sequence.armt!.tokens, 38);
            t.is(sequence.armt!.openTokens, 6);
            t.is(sequence.armt!.cells, cells);
            const close = { within: LOGIT_TOLERANCE, rowLength: 96, what: schedule };
            assertClose(t, await readLogits(sequence, other), expected, close);
        });
    }
});

test("the sequence is rewound to the open segment's first token without reading anything again", async (t) => {
    const { model, reference } = await loadTiny(t);
    const ids = textIds(44, 96);
    const other = textIds(9, 96, 2);
    const expected = runReference(reference, [...ids.slice(0, 32), ...other]).logits.subarray(-9 * 96);
    for (const schedule of schedules)
        for (const count of [33, 44, 48]) {
            await withSequence(model, { schedule }, async (sequence) => {
                await read(sequence, [...ids, ...textIds(4, 96, 3)].slice(0, count));
                t.is(sequence.armt!.openTokens, count - 32);
                t.is(sequence.stateCellsStartIndex, 31);
                const { segmentsClosed } = sequence.armt!;
                await sequence.adaptStateToTokens([...ids.slice(0, 32), ...other] as Token[], false);
                t.is(sequence.nextTokenIndex, 32);
                t.like(sequence.armt, { tokens: 32, openTokens: 0, segmentsClosed });
                const close = { within: LOGIT_TOLERANCE, rowLength: 96, what: `${schedule}, ${count} tokens` };
                assertClose(t, await readLogits(sequence, other), expected, close);
            });
        }
});

test("tokens before the open segment are removed by reading the rest again", async (t) => {
    const { model, reference } = await loadTiny(t);
    const ids = textIds(44, 96);
    const other = textIds(9, 96, 2);
    for (const range of [
        { start: 20, end: 44 },
        { start: 3, end: 10 },
        { start: 31, end: 44 },
        { start: 0, end: 44 }
    ]) {
        const kept = [...ids.slice(0, range.start), ...ids.slice(range.end)];
        const expected = runReference(reference, [...kept, ...other]).logits.subarray(-9 * 96);
        for (const schedule of schedules) {
            await withSequence(model, { schedule }, async (sequence) => {
                await read(sequence, ids);
                await sequence.eraseContextTokenRanges([range]);
                t.is(sequence.nextTokenIndex, kept.length);
                t.is(sequence.armt!.tokens, kept.length);
                const what = `${schedule}, ${range.start} to ${range.end}:`;
                assertClose(t, await readLogits(sequence, other), expected, {
                    within: LOGIT_TOLERANCE,
                    rowLength: 96,
                    what
                });
            });
        }
    }
});

test("a cleared sequence forgets everything it read", async (t) => {
    const { model, reference } = await loadTiny(t);
    const ids = textIds(37, 96);
    const expected = runReference(reference, ids).logits;
    for (const schedule of schedules) {
        await withSequence(model, { schedule, batchSize: 10 }, async (sequence) => {
            await read(sequence, textIds(70, 96, 3));
            await sequence.clearHistory();
            t.is(sequence.armt!.tokens, 0);
            const close = { within: LOGIT_TOLERANCE, rowLength: 96, what: schedule };
            assertClose(t, await readLogits(sequence, ids), expected, close);
        });
    }
});

test("a disposed sequence leaves nothing for the next one", async (t) => {
    const { model, reference } = await loadTiny(t);
    const ids = textIds(37, 96);
    const expected = runReference(reference, ids).logits;
    await withContext(model, { schedule: "diagonal" }, async (context) => {
        const first = context.getSequence();
        await read(first, textIds(70, 96, 3));
        await first.dispose();
        const close = { within: LOGIT_TOLERANCE, rowLength: 96, what: "second sequence" };
        assertClose(t, await readLogits(context.getSequence(), ids), expected, close);
    });
});

test("sequences that generate in parallel give the same tokens as alone", async (t) => {
    const { model, reference } = await loadTiny(t, { segmentSize: 8, seed: 2 });
    const prompts = [textIds(61, 96, 1), textIds(8, 96, 2), textIds(30, 96, 3)];
    const expected = prompts.map((ids) => generateReference(reference, ids, { count: 14, overflow: "close" }));
    for (const { margins } of expected) t.true(Math.min(...margins) > 1e-3);
    for (const schedule of schedules) {
        await withContext(model, { schedule, sequences: 3, batchSize: 20 }, async (context) => {
            const sequences = prompts.map(() => context.getSequence());
            const tokens = await Promise.all(prompts.map((ids, i) => generateGreedy(sequences[i]!, ids, 14)));
            t.deepEqual(
                tokens,
                expected.map((generation) => generation.tokens),
                schedule
            );
        });
    }
});
