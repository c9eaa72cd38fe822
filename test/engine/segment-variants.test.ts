import path from "node:path";
import test from "ava";
import type { LlamaContextSequence, Token } from "../../plugin/index.js";
import type { TinyOptions } from "../../src/tiny/options.js";
import { assertMemories } from "../helpers/assert-memories.js";
import { assertClose } from "../helpers/compare.js";
import {
    generateGreedy,
    loadTiny,
    readLogits,
    readMemories,
    type TestContextOptions,
    type TestModel,
    withContext,
    withSequence
} from "../helpers/contexts.js";
import { generateReference, runReference } from "../helpers/reference.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

const LOGIT_TOLERANCE = 5e-4;
const schedules = ["sequential", "diagonal"] as const;
const segmentSize = 12;

/** Options of the authors' newer code, alone and combined with others. */
const variants: Record<string, TinyOptions> = {
    "a sink": { sink: true },
    "a window": { slidingWindow: true },
    "a window and a sink": { slidingWindow: true, sink: true },
    "a window and a sink, one layer": { slidingWindow: true, sink: true, layers: 1 },
    "a window and a sink, six layers": { slidingWindow: true, sink: true, layers: 6 },
    "a window, right alignment": { slidingWindow: true, alignment: "right" },
    "a window and a sink, right alignment": { slidingWindow: true, sink: true, alignment: "right" },
    "a window and a sink, center alignment": { slidingWindow: true, sink: true, alignment: "center" },
    "a window and a sink, 2 memory heads, gating": { slidingWindow: true, sink: true, nHeads: 2, gating: true },
    "a window, more memory tokens than text": { slidingWindow: true, memTokens: 20, segmentSize: 5 },
    "a window and a sink, segments of one token": { slidingWindow: true, sink: true, segmentSize: 1, memTokens: 2 },
    "a sink, learned positions": { family: "gpt2", sink: true },
    "a window and a sink, parallel residual": { family: "gpt_neox", slidingWindow: true, sink: true },
    "a window and a sink, norms of heads": { family: "qwen3", slidingWindow: true, sink: true },
    "the previous text again": { rereadsPrevious: true },
    "the previous text again, one layer": { rereadsPrevious: true, layers: 1 },
    "the previous text again, six layers": { rereadsPrevious: true, layers: 6 },
    "the previous text again, right alignment": { rereadsPrevious: true, alignment: "right" },
    "the previous text again, center alignment": { rereadsPrevious: true, alignment: "center" },
    "the previous text again, more memory tokens than text": { rereadsPrevious: true, memTokens: 20, segmentSize: 5 },
    "the previous text again, segments of one token": { rereadsPrevious: true, segmentSize: 1, memTokens: 2 },
    "the previous text again, learned positions": { family: "gpt2", rereadsPrevious: true },
    "the previous text again, wrapped positions": { family: "gpt2", rereadsPrevious: true, wrapPositions: true },
    "the previous text again, 2 memory heads, gating": { rereadsPrevious: true, nHeads: 2, gating: true },
    "the previous text again, layers of two rope bases": { family: "gemma3_text", rereadsPrevious: true }
};

const load = (t: Parameters<typeof loadTiny>[0], options: TinyOptions) =>
    loadTiny(t, { segmentSize, memTokens: 5, ...options });

const promptOf = ({ reference }: TestModel, segments = 5) =>
    textIds(segments * reference.segmentSize + Math.ceil(reference.segmentSize / 3), reference.vocab);

for (const [name, options] of Object.entries(variants)) {
    test(`engine gives the reference's logits, memories and tokens, ${name}`, async (t) => {
        const tiny = await load(t, options);
        const { model, reference } = tiny;
        const ids = promptOf(tiny);
        const expected = runReference(reference, ids, { closeLast: true });
        const generated = generateReference(reference, ids, { count: 24, overflow: "close" });
        const unsteady = generated.margins.findIndex((margin) => margin < 2 * LOGIT_TOLERANCE);
        const tokens = generated.tokens.slice(0, unsteady < 0 ? undefined : unsteady);
        t.true(tokens.length > 8, "enough tokens are beyond rounding");
        for (const schedule of schedules) {
            for (const [batchSize, maxCells] of [
                [17, undefined],
                [ids.length, reference.layers.length],
                [ids.length, 2]
            ] as const) {
                const what = `${schedule}, batches of ${batchSize}, ${maxCells} cells`;
                await withSequence(model, { schedule, batchSize, maxCells }, async (sequence) => {
                    const close = { within: LOGIT_TOLERANCE, rowLength: reference.vocab, what: `${what}: logits` };
                    assertClose(t, await readLogits(sequence, ids), expected.logits, close);
                    await sequence.armt!.closeSegment();
                    assertMemories(t, await readMemories(sequence), expected.sequence.memories, reference, { what });
                });
            }
            await withSequence(model, { schedule, batchSize: 17 }, async (sequence) => {
                t.deepEqual(await generateGreedy(sequence, ids, tokens.length), tokens, schedule);
            });
        }
    });
}

const both = { slidingWindow: true, sink: true } as const;

test("the mask of a large segment is whole, though it is made in parts", async (t) => {
    // 1,105 rows that see 2,240 are 2.4 million numbers
    const size = { segmentSize: 1100, memTokens: 4, layers: 2, hidden: 16 };
    const { model, reference } = await load(t, { ...size, ...both });
    const ids = textIds(2 * size.segmentSize + 20, reference.vocab);
    const expected = runReference(reference, ids).logits;
    await withSequence(model, { batchSize: ids.length }, async (sequence) => {
        const close = { within: LOGIT_TOLERANCE, rowLength: reference.vocab, what: "logits" };
        assertClose(t, await readLogits(sequence, ids), expected, close);
    });
});

test("the options change the result", async (t) => {
    const ids = textIds(40, 96);
    const last = async (options: TinyOptions) => {
        const { reference } = await load(t, options);
        return runReference(reference, ids).logits.slice(-96);
    };
    const plain = await last({});
    for (const options of [{ sink: true }, { slidingWindow: true }, both, { rereadsPrevious: true }]) {
        const other = await last(options);
        t.true(Math.max(...other.map((x, i) => Math.abs(x - plain[i]!))) > 0.05, JSON.stringify(options));
    }
});

for (const options of [both, { rereadsPrevious: true }]) {
    test(`parallel sequences of different lengths each have their own segment before, ${JSON.stringify(options)}`, async (t) => {
        const tiny = await load(t, options);
        const { model, reference } = tiny;
        const prompts = [3, 30, 31, 64].map((length, i) => textIds(length, reference.vocab, i));
        for (const schedule of schedules) {
            const options = { schedule, sequences: prompts.length, batchSize: 200 };
            await withContext(model, options, async (context) => {
                const sequences = prompts.map(() => context.getSequence());
                await Promise.all(
                    prompts.map(async (ids, i) => {
                        const expected = runReference(reference, ids);
                        const what = `${schedule}, sequence ${i}:`;
                        const close = { within: LOGIT_TOLERANCE, rowLength: reference.vocab, what };
                        assertClose(t, await readLogits(sequences[i]!, ids), expected.logits, close);
                        // single tokens of all sequences go through one graph
                        const more = textIds(15, reference.vocab, 10 + i);
                        for (const id of more) {
                            if (expected.sequence.openLength === segmentSize) expected.sequence.close();
                            const row = expected.sequence.append([id]);
                            assertClose(t, await readLogits(sequences[i]!, [id]), row, close);
                        }
                    })
                );
            });
        }
    });
}

const read = (sequence: LlamaContextSequence, ids: readonly number[]) =>
    sequence.evaluateWithoutGeneratingNewTokens([...ids] as Token[]);

for (const options of [both, { sink: true }, { slidingWindow: true }, { rereadsPrevious: true }] as const) {
    const name = JSON.stringify(options);

    test(`states and snapshots hold the rows that attention reaches back to, ${name}`, async (t) => {
        const tiny = await load(t, options);
        const { model, reference } = tiny;
        const ids = promptOf(tiny);
        const rest = textIds(30, reference.vocab, 2);
        const whole = runReference(reference, [...ids, ...rest]).logits.slice(ids.length * reference.vocab);
        const closedIds = ids.slice(0, 5 * segmentSize);
        const afterClosed = runReference(reference, [...closedIds, ...rest]).logits;
        const folder = temporaryFolder(t);
        for (const schedule of schedules) {
            const file = path.join(folder, schedule);
            await withSequence(model, { schedule, batchSize: 21 }, async (sequence) => {
                await read(sequence, ids);
                await sequence.saveStateToFile(file);
                await sequence.armt!.save(`${file}.closed`, { closedOnly: true });
            });
            for (const other of schedules) {
                await withContext(model, { schedule: other, sequences: 2 }, async (context) => {
                    const [sequence, second] = [context.getSequence(), context.getSequence()];
                    await read(sequence, textIds(50, reference.vocab, 5));
                    await sequence.loadStateFromFile(file, { acceptRisk: true });
                    await second.armt!.load(`${file}.closed`);
                    const close = { within: LOGIT_TOLERANCE, rowLength: reference.vocab };
                    const what = `${schedule} into ${other}`;
                    const fork = await sequence.armt!.snapshot();
                    assertClose(t, await readLogits(sequence, rest), whole, { ...close, what });
                    const closedRows = afterClosed.slice(closedIds.length * reference.vocab);
                    const closedWhat = `${what}, closed segments`;
                    assertClose(t, await readLogits(second, rest), closedRows, { ...close, what: closedWhat });
                    // in another sequence
                    await second.armt!.restore(fork);
                    assertClose(t, await readLogits(second, rest), whole, { ...close, what: `${what}, forked` });
                    fork.dispose();
                });
            }
        }
    });

    test(`removing tokens of the open segment leaves the rest unchanged, ${name}`, async (t) => {
        const tiny = await load(t, options);
        const { model, reference } = tiny;
        const ids = promptOf(tiny);
        const rest = textIds(20, reference.vocab, 3);
        for (const schedule of schedules) {
            for (const keep of [0, 1, 3]) {
                const kept = ids.slice(0, 5 * segmentSize + keep);
                const expected = runReference(reference, [...kept, ...rest]).logits.slice(
                    kept.length * reference.vocab
                );
                await withSequence(model, { schedule, batchSize: 64 }, async (sequence) => {
                    // computes the tokens, which would otherwise only be queued
                    await readLogits(sequence, ids);
                    const fresh = kept.length;
                    await sequence.eraseContextTokenRanges([{ start: fresh, end: ids.length }]);
                    if (sequence.nextTokenIndex !== fresh) await read(sequence, kept.slice(sequence.nextTokenIndex));
                    const what = `${schedule}, ${keep} kept:`;
                    const close = { within: LOGIT_TOLERANCE, rowLength: reference.vocab, what };
                    assertClose(t, await readLogits(sequence, rest), expected, close);
                });
            }
        }
    });
}

test("K/V types and flash attention change the logits only by rounding", async (t) => {
    const tiny = await load(t, { ...both, headDim: 32, heads: 2, kvHeads: 1 });
    const { model, reference } = tiny;
    const ids = promptOf(tiny);
    const expected = runReference(reference, ids).logits;
    const cases: [TestContextOptions, number][] = [
        [{ flashAttention: true }, 2e-3],
        [{ flashAttention: false }, LOGIT_TOLERANCE],
        [{ kvType: "F16" }, 2e-2],
        [{ kvType: "Q8_0", flashAttention: true }, 0.3]
    ];
    for (const schedule of schedules)
        for (const [options, within] of cases)
            await withSequence(model, { schedule, ...options }, async (sequence) => {
                const what = `${schedule}, ${JSON.stringify(options)}:`;
                assertClose(t, await readLogits(sequence, ids), expected, {
                    within: within,
                    rowLength: reference.vocab,
                    what
                });
            });
});

test("a growing segment is refused with a sliding window and works with a sink", async (t) => {
    for (const options of [both, { rereadsPrevious: true }]) {
        const { model } = await load(t, options);
        await t.throwsAsync(model.createContext({ armt: { segmentOverflow: "extend" } }), {
            message: /segmentOverflow is "extend", which is not defined for a model whose segments go back/
        });
    }
    const tiny = await load(t, { sink: true });
    const ids = promptOf(tiny);
    const { tokens, margins } = generateReference(tiny.reference, ids, { count: 16, overflow: "extend" });
    const unsteady = margins.findIndex((margin) => margin < 2 * LOGIT_TOLERANCE);
    const steady = tokens.slice(0, unsteady < 0 ? undefined : unsteady);
    t.true(steady.length > 8);
    for (const schedule of schedules)
        await withSequence(tiny.model, { schedule, segmentOverflow: "extend" }, async (sequence) => {
            t.deepEqual(await generateGreedy(sequence, ids, steady.length), steady);
        });
});

for (const options of [both, { rereadsPrevious: true }]) {
    test(`a segment size other than the model's sets how far a segment goes back, ${JSON.stringify(options)}`, async (t) => {
        const { model, reference } = await load(t, options);
        const ids = textIds(47, reference.vocab);
        for (const size of [1, 7, 20])
            for (const schedule of schedules)
                await withSequence(model, { schedule, segmentSize: size }, async (sequence) => {
                    const expected = runReference(reference, ids, { segmentSize: size }).logits;
                    const close = {
                        within: LOGIT_TOLERANCE,
                        rowLength: reference.vocab,
                        what: `${schedule}, ${size}:`
                    };
                    assertClose(t, await readLogits(sequence, ids), expected, close);
                });
    });
}

test("the model reports its sink and its window", async (t) => {
    t.like((await load(t, both)).model.armt, { sinkTokens: 1, seesPreviousSegment: true });
    t.like((await load(t, {})).model.armt, {
        sinkTokens: 0,
        seesPreviousSegment: false,
        rereadsPreviousSegment: false
    });
    t.true((await load(t, { rereadsPrevious: true })).model.armt?.rereadsPreviousSegment);
});
