import path from "node:path";
import test from "ava";
import type { ArmtTraceStep, LlamaContextSequence, Token } from "../../plugin/index.js";
import type { TinyOptions } from "../../src/tiny/options.js";
import { assertMemories } from "../helpers/assert-memories.js";
import { assertClose } from "../helpers/compare.js";
import {
    generateGreedy,
    loadTiny,
    readLogits,
    readMemories,
    type TestContextOptions,
    withContext,
    withSequence
} from "../helpers/contexts.js";
import { generateReference, runReference } from "../helpers/reference.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

const LOGIT_TOLERANCE = 5e-4;
/** MAX_PADDING_ROWS in native/engine/armt-options.cpp */
const paddingRows = 128;
const layers = 4;
/** A CPU's default is one layer at a time, which gains nothing from the open segment. */
const wide = { schedule: "diagonal", maxCells: layers } as const;

const take = (sequence: LlamaContextSequence, ids: readonly number[]) =>
    sequence.evaluateWithoutGeneratingNewTokens([...ids] as Token[]);

/** Reads a prompt. @returns the last token's logits and the engine's steps */
async function readPrompt(sequence: LlamaContextSequence, ids: readonly number[]) {
    const { trace } = sequence.armt!.context;
    trace.start();
    if (ids.length > 1) await take(sequence, ids.slice(0, -1));
    const logits = await readLogits(sequence, ids.slice(-1));
    return { logits, steps: trace.stop() };
}

/** Whether the open segment went through the layers in diagonals. */
const joined = (steps: readonly ArmtTraceStep[]) =>
    steps.every(({ type }) => type === "diagonal") && steps.at(-1)!.outputs === 1;

const variants: Record<string, TinyOptions> = {
    llama: {},
    "normalized keys, 2 memory heads, gating": { normalizeKeys: true, nHeads: 2, gating: true },
    "no denominator": { useDenom: false },
    "no correction": { correction: false },
    "a sink": { sink: true },
    "a window": { slidingWindow: true },
    "a window and a sink": { slidingWindow: true, sink: true },
    "wrapped positions": { family: "gpt2", wrapPositions: true },
    "layers of two rope bases": { family: "gemma3_text" },
    "parallel residual": { family: "gpt_neox" }
};

for (const [name, options] of Object.entries(variants)) {
    test(`an open segment read alongside closed ones grows and closes like the reference: ${name}`, async (t) => {
        const segmentSize = 12;
        const { model, reference } = await loadTiny(t, { layers, segmentSize, memTokens: 5, ...options });
        const { vocab } = reference;
        const rest = textIds(segmentSize - 1, vocab, 3);
        // fewer segments than layers, and more
        for (const segments of [1, 2, 7]) {
            for (const tail of [1, 5, segmentSize - 1, segmentSize]) {
                const ids = textIds(segments * segmentSize + tail, vocab, tail);
                const more = textIds(4, vocab, 2);
                const all = [...ids, ...more];
                const { logits, sequence: expected } = runReference(reference, all, { closeLast: true });
                const memories = expected.memories;
                const after = expected.append(rest);
                for (const maxCells of [2, layers]) {
                    await withSequence(model, { ...wide, maxCells }, async (sequence) => {
                        const what = `${segments} segments and ${tail} tokens, ${maxCells} cells:`;
                        const close = { within: LOGIT_TOLERANCE, rowLength: vocab };
                        const read = await readPrompt(sequence, ids);
                        t.true(joined(read.steps), what);
                        t.like(sequence.armt, { openTokens: tail, segmentsClosed: segments, cells: segments * layers });
                        const last = logits.subarray((ids.length - 1) * vocab, ids.length * vocab);
                        assertClose(t, read.logits, last, { ...close, what });
                        for (const [i, token] of more.entries()) {
                            const at = (ids.length + i) * vocab;
                            const what = `token ${i} after ${segments} segments and ${tail} tokens:`;
                            const row = logits.subarray(at, at + vocab);
                            assertClose(t, await readLogits(sequence, [token]), row, { ...close, what });
                        }
                        await sequence.armt!.closeSegment();
                        assertMemories(t, await readMemories(sequence), memories, reference, { what });
                        assertClose(t, await readLogits(sequence, rest), after, { ...close, what: `${what} rest` });
                    });
                }
            }
        }
    });
}

test("an open segment joins the closed ones if few rows of its cell are padding", async (t) => {
    const [segmentSize, memTokens] = [150, 6];
    const { model, reference } = await loadTiny(t, { layers, segmentSize, memTokens });
    const least = segmentSize + memTokens - paddingRows;
    const run = (options: TestContextOptions, ids: readonly number[]) =>
        withSequence(model, options, async (sequence) => {
            const { logits, steps } = await readPrompt(sequence, ids);
            const more = await readLogits(sequence, [5, 6, 7]);
            await sequence.armt!.closeSegment();
            return { logits: [...logits, ...more], steps, memories: await readMemories(sequence) };
        });
    for (const tail of [1, least - 1, least, segmentSize - 1, segmentSize]) {
        const ids = textIds(3 * segmentSize + tail, 96, tail);
        const sequential = await run({ schedule: "sequential" }, ids);
        const diagonal = await run(wide, ids);
        t.is(joined(diagonal.steps), tail >= least, `${tail} tokens`);
        t.false(joined((await run({ ...wide, maxCells: 1 }, ids)).steps), `${tail} tokens, one cell at a time`);
        const close = { within: 1e-4, rowLength: 96, what: `${tail} tokens:` };
        assertClose(t, diagonal.logits, sequential.logits, close);
        assertMemories(t, diagonal.memories, sequential.memories, reference, { what: `${tail} tokens:` });
    }
});

test("an open segment alongside closed ones gives the requested logits", async (t) => {
    const { model, reference } = await loadTiny(t, { layers });
    const ids = textIds(16 * 5 + 11, 96);
    const expected = runReference(reference, ids).logits;
    for (const batchSize of [ids.length, 40, 27]) {
        await withSequence(model, { ...wide, batchSize }, async (sequence) => {
            const close = { within: LOGIT_TOLERANCE, rowLength: 96, what: `batches of ${batchSize}:` };
            assertClose(t, await readLogits(sequence, ids), expected, close);
        });
    }
});

test("a diagonal with an open cell takes one more step, and the graphs of full ones are reused", async (t) => {
    const { model } = await loadTiny(t, { layers });
    const segments = 20;
    await withSequence(model, { ...wide, batchSize: 1000 }, async (sequence) => {
        const { steps } = await readPrompt(sequence, textIds(16 * segments + 15, 96));
        t.is(steps.length, segments + layers);
        t.is(steps.filter(({ reused }) => reused).length, segments - layers);
        t.deepEqual([...new Set(steps.map(({ textRows }) => textRows))], [16]);
        t.is(steps.at(-1)!.segment, segments);
    });
});

for (const [alignment, beside] of [
    // a first segment shorter than the open one leaves no room in the pipeline
    ["right", { 17: false, 31: false, 33: true, 53: true, 80: true }],
    ["center", { 17: true, 31: true, 33: true, 53: true, 80: true }]
] as const) {
    test(`an open segment is no longer than the closed ones it joins, ${alignment} alignment`, async (t) => {
        const { model, reference } = await loadTiny(t, { layers, alignment });
        for (const [length, isBeside] of Object.entries(beside)) {
            const what = `${length} tokens:`;
            const ids = textIds(Number(length), 96, Number(length));
            const expected = runReference(reference, ids).logits;
            const { tokens } = generateReference(reference, ids, { count: 20, overflow: "close" });
            await withSequence(model, wide, async (sequence) => {
                const { trace } = sequence.armt!.context;
                trace.start();
                const logits = await readLogits(sequence, ids);
                const allDiagonals = trace.stop().every(({ type }) => type === "diagonal");
                t.is(allDiagonals, isBeside, what);
                assertClose(t, logits, expected, { within: LOGIT_TOLERANCE, rowLength: 96, what });
            });
            await withSequence(model, wide, async (sequence) => {
                t.deepEqual(await generateGreedy(sequence, ids, 20), tokens, what);
            });
        }
    });
}

test("an open segment that was read alongside closed ones can grow beyond the segment size", async (t) => {
    const { model, reference } = await loadTiny(t, { layers });
    const ids = textIds(16 * 3 + 14, 96);
    const { tokens, margins } = generateReference(reference, ids, { count: 24, overflow: "extend" });
    const unsteady = margins.findIndex((margin) => margin < 2 * LOGIT_TOLERANCE);
    const steady = tokens.slice(0, unsteady < 0 ? undefined : unsteady);
    t.true(steady.length > 8);
    await withSequence(model, { ...wide, segmentOverflow: "extend" }, async (sequence) => {
        t.deepEqual(await generateGreedy(sequence, ids, steady.length), steady);
        t.true(sequence.armt!.openTokens > 16);
        t.is(sequence.armt!.segmentsClosed, 3);
    });
});

for (const options of [{}, { slidingWindow: true, sink: true }]) {
    test(`a state can be saved and tokens removed after a read alongside closed ones, ${JSON.stringify(options)}`, async (t) => {
        const { model, reference } = await loadTiny(t, { layers, ...options });
        const file = path.join(temporaryFolder(t), "state");
        const ids = textIds(16 * 5 + 13, 96);
        const rest = textIds(30, 96, 2);
        const after = (kept: readonly number[]) =>
            runReference(reference, [...kept, ...rest]).logits.slice(kept.length * 96);
        const close = { within: LOGIT_TOLERANCE, rowLength: 96 };
        await withSequence(model, wide, async (sequence) => {
            t.true(joined((await readPrompt(sequence, ids)).steps));
            await sequence.saveStateToFile(file);
            assertClose(t, await readLogits(sequence, rest), after(ids), { ...close, what: "after saving:" });
        });
        for (const schedule of ["sequential", "diagonal"] as const) {
            await withSequence(model, { schedule }, async (sequence) => {
                await sequence.loadStateFromFile(file, { acceptRisk: true });
                t.like(sequence.armt, { openTokens: 13, segmentsClosed: 5 });
                const what = `loaded, ${schedule}:`;
                assertClose(t, await readLogits(sequence, rest), after(ids), { ...close, what });
            });
        }
        await withSequence(model, wide, async (sequence) => {
            await readPrompt(sequence, ids);
            await sequence.eraseContextTokenRanges([{ start: ids.length - 6, end: ids.length }]);
            const kept = ids.slice(0, -6);
            t.is(sequence.nextTokenIndex, kept.length);
            assertClose(t, await readLogits(sequence, rest), after(kept), { ...close, what: "after removing:" });
        });
    });
}

test("parallel sequences each have an open segment alongside their closed ones", async (t) => {
    const { model, reference } = await loadTiny(t, { layers });
    const prompts = [3, 30, 47, 78, 64].map((length, i) => textIds(length, 96, i + 1));
    await withContext(model, { ...wide, sequences: prompts.length }, async (context) => {
        await Promise.all(
            prompts.map(async (ids, i) => {
                const sequence = context.getSequence();
                const all = [...ids, ...textIds(20, 96, i + 7)];
                const expected = runReference(reference, all, { closeLast: true });
                await take(sequence, ids.slice(0, -1));
                const logits = await readLogits(sequence, all.slice(ids.length - 1));
                const close = { within: LOGIT_TOLERANCE, rowLength: 96, what: `sequence ${i}:` };
                assertClose(t, logits, expected.logits.subarray((ids.length - 1) * 96), close);
                await sequence.armt!.closeSegment();
                assertMemories(t, await readMemories(sequence), expected.sequence.memories, reference);
            })
        );
    });
});
