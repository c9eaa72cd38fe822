import test from "ava";
import fc from "fast-check";
import type { Token } from "../../plugin/index.js";
import { assertMemories } from "../helpers/assert-memories.js";
import { assertClose } from "../helpers/compare.js";
import {
    loadTiny,
    readLogits,
    readMemories,
    type TestContextOptions,
    type TestModel,
    withContext,
    withSequence
} from "../helpers/contexts.js";
import { checkModels, tinyShapes } from "../helpers/property.js";
import { runReference } from "../helpers/reference.js";
import { textIds } from "../helpers/tokens.js";

/** Largest difference of a logit between two orders of the same computation. */
const LOGIT_TOLERANCE = 1e-4;

/** Reads all prompts in parallel, batch by batch, and closes their last segments. */
async function readAll({ model }: TestModel, options: TestContextOptions, prompts: readonly number[][]) {
    return withContext(model, { ...options, sequences: prompts.length }, (context) =>
        Promise.all(
            prompts.map(async (ids) => {
                const sequence = context.getSequence();
                const logits = await readLogits(sequence, ids);
                await sequence.armt!.closeSegment();
                return { logits, memories: await readMemories(sequence) };
            })
        )
    );
}

const cases = fc.record({
    shape: tinyShapes,
    segments: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 3 }),
    tail: fc.double({ min: 0, max: 1, noNaN: true }),
    batchSize: fc.integer({ min: 1, max: 64 }),
    flashAttention: fc.boolean(),
    width: fc.option(fc.double({ min: 0, max: 1, noNaN: true }))
});

test("diagonal schedule gives the same logits and memories as the recurrence", async (t) => {
    t.timeout(600_000);
    const checked = await checkModels(cases, { most: 60, least: 20, seconds: 75 }, async (value) => {
        const { shape, segments, tail, batchSize, flashAttention, width } = value;
        const tiny = await loadTiny(t, shape);
        const prompts = segments.map((n, i) =>
            textIds((n - 1) * shape.segmentSize + Math.max(1, Math.ceil(tail * shape.segmentSize)), shape.vocab, i)
        );
        const maxCells = width === null ? undefined : Math.max(1, Math.ceil(width * shape.layers));
        const options = { batchSize, flashAttention };
        const expected = await readAll(tiny, { ...options, schedule: "sequential" }, prompts);
        const actual = await readAll(tiny, { ...options, schedule: "diagonal", maxCells }, prompts);
        for (const [i, { logits, memories }] of expected.entries()) {
            const what = `${JSON.stringify(value)}, sequence ${i}:`;
            const close = { within: LOGIT_TOLERANCE, rowLength: shape.vocab, what };
            assertClose(t, actual[i]!.logits, logits, close);
            assertMemories(t, actual[i]!.memories, memories, tiny.reference, { what });
        }
        await tiny.model.dispose();
    });
    t.log(`${checked} models`);
});

test("flash attention changes the logits only by rounding", async (t) => {
    for (const headDim of [6, 20, 64, 80]) {
        const tiny = await loadTiny(t, { headDim, heads: 2, kvHeads: 1 });
        const ids = textIds(70, 96);
        for (const schedule of ["sequential", "diagonal"] as const) {
            const [off] = await readAll(tiny, { schedule, flashAttention: false }, [ids]);
            const [on] = await readAll(tiny, { schedule, flashAttention: true }, [ids]);
            const what = `head size ${headDim}, ${schedule}:`;
            assertClose(t, on!.logits, off!.logits, { within: 5e-4, rowLength: 96, what });
        }
    }
});

test("every width of the diagonal gives the same result", async (t) => {
    const tiny = await loadTiny(t, { layers: 6 });
    const ids = textIds(16 * 11 + 3, 96);
    const [expected] = await readAll(tiny, { schedule: "sequential" }, [ids]);
    for (let maxCells = 1; maxCells <= 6; maxCells++) {
        const [actual] = await readAll(tiny, { schedule: "diagonal", maxCells }, [ids]);
        const close = { within: LOGIT_TOLERANCE, rowLength: 96, what: `${maxCells} cells:` };
        assertClose(t, actual!.logits, expected!.logits, close);
    }
});

test("diagonal schedule runs the cells of all layers in one graph and reuses it", async (t) => {
    const { model } = await loadTiny(t, { layers: 8 });
    const segments = 40;
    const ids = textIds(16 * segments + 1, 96);
    await withSequence(model, { schedule: "diagonal", batchSize: ids.length }, async (sequence) => {
        await sequence.evaluateWithoutGeneratingNewTokens(ids as Parameters<typeof sequence.adaptStateToTokens>[0]);
        const { cells, graphs, graphsReused, segmentsClosed } = sequence.armt!;
        t.is(segmentsClosed, segments);
        t.true(cells <= 8 * segments, `${cells} cells`);
        t.true(graphs <= segments + 8 + 2, `${graphs} graphs for ${segments} segments`);
        t.true(graphsReused >= segments - 8 - 2, `${graphsReused} of ${graphs} graphs reused`);
        t.like(sequence.context.armt, { graphs, graphsReused, graphsReplayed: 0, graphParts: graphs });
    });
});

test("an output in an older segment does not disturb those that follow it through the layers", async (t) => {
    const segmentSize = 8;
    const { model, reference } = await loadTiny(t, { layers: 4, segmentSize });
    const ids = textIds(segmentSize * 4 + 5, reference.vocab);
    const { logits, sequence: expected } = runReference(reference, ids, { closeLast: true });
    await withSequence(model, { schedule: "diagonal" }, async (sequence) => {
        // the second segment advances together with the first until that token's logits are computed, so the layers
        // after it stay empty
        const first = ids.slice(0, segmentSize * 2 + 1) as Token[];
        await sequence.controlledEvaluate(
            first.map((id, i) => (i === 3 ? [id, { generateNext: { probabilities: true } }] : id))
        );
        await sequence.evaluateWithoutGeneratingNewTokens(ids.slice(first.length, -1) as Token[]);
        const last = await readLogits(sequence, ids.slice(-1));
        assertClose(t, last, logits.subarray(-reference.vocab), {
            within: LOGIT_TOLERANCE,
            rowLength: reference.vocab,
            what: "last token"
        });
        await sequence.armt!.closeSegment();
        assertMemories(t, await readMemories(sequence), expected.memories, reference);
    });
});
