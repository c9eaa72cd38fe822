import test from "ava";
import fc from "fast-check";
import type { LlamaContext, LlamaContextSequence, LlamaModel, Token } from "../../plugin/index.js";
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
import { checkModels, tinyShapes } from "../helpers/property.js";
import { textIds } from "../helpers/tokens.js";

/** Largest difference of a logit between two orders of the same computation. */
const LOGIT_TOLERANCE = 1e-4;

const vocab = 96;
const segmentSize = 16;
const layers = 5;

const read = (sequence: LlamaContextSequence, ids: readonly number[]) =>
    sequence.evaluateWithoutGeneratingNewTokens([...ids] as Token[]);

interface Result {
    logits: Float32Array;
    memories: Awaited<ReturnType<typeof readMemories>>;
}

/** Reads a text, with the logits of its last tokens only, and closes its last segment. */
async function readText(sequence: LlamaContextSequence, ids: readonly number[], last: number): Promise<Result> {
    if (ids.length > last) await read(sequence, ids.slice(0, -last));
    const logits = await readLogits(sequence, ids.slice(-last));
    await sequence.armt!.closeSegment();
    return { logits, memories: await readMemories(sequence) };
}

/** What a text gives in a context of its own, segment after segment. */
const readAlone = (model: LlamaModel, options: TestContextOptions, ids: readonly number[], last = 3) =>
    withSequence(model, { ...options, schedule: "sequential" }, (sequence) => readText(sequence, ids, last));

const sequencesOf = (context: LlamaContext) =>
    Array.from({ length: context.totalSequences }, () => context.getSequence());

const cases = fc.record({
    shape: tinyShapes,
    lengths: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 2, maxLength: 5 }),
    tail: fc.double({ min: 0, max: 1, noNaN: true }),
    last: fc.integer({ min: 1, max: 40 }),
    batchSize: fc.integer({ min: 8, max: 200 }),
    textsPerLayer: fc.integer({ min: 1, max: 4 }),
    flashAttention: fc.boolean(),
    stateType: fc.constantFrom("f32", "f32", "bf16" as const),
    width: fc.option(fc.double({ min: 0, max: 1, noNaN: true }))
});

test("texts that share the diagonals have the logits and memories that each has alone", async (t) => {
    t.timeout(200_000);
    const checked = await checkModels(cases, { most: 60, least: 15, seconds: 75 }, async (value) => {
        const { shape, lengths, tail, last, width, textsPerLayer, stateType, ...common } = value;
        const tiny = await loadTiny(t, shape);
        const texts = lengths.map((n, i) =>
            textIds((n - 1) * shape.segmentSize + Math.max(1, Math.ceil(tail * shape.segmentSize)), shape.vocab, i)
        );
        const maxCells = width === null ? undefined : Math.max(1, Math.ceil(width * shape.layers));
        const options = { ...common, stateType } as const;
        const shared = { ...options, schedule: "diagonal", maxCells, textsPerLayer, sequences: texts.length } as const;
        const actual = await withContext(tiny.model, shared, (context) => {
            // a model whose attention goes back into the segment before has diagonals for each text; one layer has none
            const isShared = !shape.slidingWindow && shape.layers > 1;
            const most = isShared ? Math.min(textsPerLayer, texts.length) : 0;
            t.is(context.armt!.textsPerLayer, most);
            return Promise.all(sequencesOf(context).map((sequence, i) => readText(sequence, texts[i]!, last)));
        });
        for (const [i, ids] of texts.entries()) {
            const what = `${JSON.stringify(value)}, text ${i}:`;
            const { logits, memories } = await readAlone(tiny.model, options, ids, last);
            // a memory in 16 bits rounds what differs by the order of a sum
            const within = stateType === "f32" ? LOGIT_TOLERANCE : 2e-2;
            assertClose(t, actual[i]!.logits, logits, { within, rowLength: shape.vocab, what });
            if (stateType === "f32") assertMemories(t, actual[i]!.memories, memories, tiny.reference, { what });
        }
        await tiny.model.dispose();
    });
    t.log(`${checked} models`);
});

/** Lengths of eight texts, in segments. Each has one token more, which its last segment needs to close. */
const documents = [4, 16, 7, 9, 12, 5, 14, 11];
const total = documents.reduce((sum, n) => sum + n, 0);

for (const [textsPerLayer, most] of [
    [1, total + layers - 1],
    // the longest text is the last to end
    [2, Math.ceil(total / 2) + 2 * layers],
    [8, 16 + 3 * layers]
] as const)
    test(`eight documents take few steps, ${textsPerLayer} in a layer`, async (t) => {
        const { model, reference } = await loadTiny(t, { layers, segmentSize });
        const texts = documents.map((n, i) => textIds(n * segmentSize + 1, vocab, i));
        const batchSize = texts.reduce((sum, ids) => sum + ids.length, 0);
        const options = { schedule: "diagonal", maxCells: layers, batchSize, sequences: 8 } as const;
        const run = (extra: TestContextOptions, together: boolean) =>
            withContext(model, { ...options, ...extra }, async (context) => {
                const sequences = sequencesOf(context);
                const tokens: number[][] = [];
                const one = async (i: number) => {
                    tokens[i] = await generateGreedy(sequences[i]!, texts[i]!, 1);
                };
                if (together) await Promise.all(documents.map((_, i) => one(i)));
                else for (const i of documents.keys()) await one(i);
                const { graphs, graphsReused } = context.armt!;
                const memories = [];
                for (const sequence of sequences) memories.push(await readMemories(sequence));
                return { tokens, memories, graphs, graphsReused };
            });
        const alone = await run({ textsPerLayer: 0 }, false);
        const shared = await run({ textsPerLayer }, true);
        // a diagonal of n segments has n + layers - 1 steps, and each last token one
        t.is(alone.graphs, total + documents.length * (layers - 1) + documents.length);
        t.true(shared.graphs <= most + documents.length, `${shared.graphs} steps, ${alone.graphs} alone`);
        if (textsPerLayer === 1)
            t.true(shared.graphsReused >= total - 3 * layers, `${shared.graphsReused} of ${shared.graphs} reused`);
        t.deepEqual(shared.tokens, alone.tokens);
        for (const [i, memories] of shared.memories.entries())
            assertMemories(t, memories, alone.memories[i]!, reference, { what: `text ${i}:` });
    });

for (const textsPerLayer of [1, 2])
    test(`texts join, are saved, copied and cancelled while others are read, ${textsPerLayer} in a layer`, async (t) => {
        const { model, reference } = await loadTiny(t, { layers, segmentSize });
        const options = { batchSize: 40 };
        const texts = [9, 6, 11, 7].map((n, i) => textIds(n * segmentSize + 3 + i, vocab, i));
        const expected = await Promise.all(texts.map((ids) => readAlone(model, options, ids)));
        const check = (what: string, { logits, memories }: Result, wanted: Result) => {
            assertClose(t, logits, wanted.logits, { within: LOGIT_TOLERANCE, rowLength: vocab, what });
            assertMemories(t, memories, wanted.memories, reference, { what });
        };
        const shared = { ...options, schedule: "diagonal", maxCells: layers, textsPerLayer, sequences: 5 } as const;
        await withContext(model, shared, async (context) => {
            const [a, b, c, d] = Array.from({ length: 4 }, () => context.getSequence());
            const controller = new AbortController();
            let batches = 0;
            const progress = setInterval(() => {
                if (d!.armt!.tokens > 5 * segmentSize && batches++ === 0) controller.abort(new Error("enough"));
            });
            const cancelled = (async () => {
                const ids = textIds(300 * segmentSize, vocab, 9) as Token[];
                await t.throwsAsync(d!.armt!.feed([ids], { signal: controller.signal }), { message: "enough" });
                clearInterval(progress);
                // what was read stays, and the sequence is usable
                t.true(d!.armt!.tokens >= 5 * segmentSize);
                await d!.clearHistory();
                check("after a cancel", await readText(d!, texts[3]!, 3), expected[3]!);
            })();
            const saved = (async () => {
                await read(a!, texts[0]!.slice(0, 5 * segmentSize + 4));
                // others are in the middle of their texts
                const snapshot = await a!.armt!.snapshot();
                check("saved", await readText(a!, texts[0]!.slice(5 * segmentSize + 4), 3), expected[0]!);
                await a!.clearHistory();
                await a!.armt!.restore(snapshot);
                check("restored", await readText(a!, texts[0]!.slice(5 * segmentSize + 4), 3), expected[0]!);
            })();
            const joined = (async () => {
                await new Promise((resolve) => setTimeout(resolve, 5));
                check("joined", await readText(b!, texts[1]!, 3), expected[1]!);
                // a second text in the same sequence
                await b!.clearHistory();
                check("again", await readText(b!, texts[3]!, 3), expected[3]!);
            })();
            const copied = (async () => {
                const half = 6 * segmentSize + 2;
                await read(c!, texts[2]!.slice(0, half));
                const copy = await c!.armt!.fork();
                const [one, two] = await Promise.all([c!, copy].map((to) => readText(to, texts[2]!.slice(half), 3)));
                check("the original", one!, expected[2]!);
                check("the copy", two!, expected[2]!);
            })();
            await Promise.all([cancelled, saved, joined, copied]);
        });
    });

test("a single text has the steps and the numbers that it has in a pipeline of its own", async (t) => {
    const { model } = await loadTiny(t, { layers, segmentSize });
    const ids = textIds(9 * segmentSize + 5, vocab);
    for (const batchSize of [24, 40, 400]) {
        const run = (textsPerLayer: number) =>
            withContext(
                model,
                { schedule: "diagonal", maxCells: layers, batchSize, textsPerLayer, sequences: 3 },
                async (context) => {
                    t.is(context.armt!.textsPerLayer, textsPerLayer);
                    const sequence = sequencesOf(context)[1]!;
                    const { trace } = context.armt!;
                    trace.start();
                    await read(sequence, ids.slice(0, 3 * segmentSize + 2));
                    const logits = await readLogits(sequence, ids.slice(3 * segmentSize + 2, -2));
                    const tokens = await generateGreedy(sequence, ids.slice(-2), 4);
                    const steps = trace.stop().map(({ startMs: _, buildMs: __, timeMs: ___, ...step }) => step);
                    await sequence.armt!.closeSegment();
                    return { steps, logits, tokens, memories: await readMemories(sequence) };
                }
            );
        const own = await run(0);
        t.true(own.steps.some(({ type, endLayer, firstLayer }) => type === "diagonal" && endLayer - firstLayer > 1));
        // every bit of it
        t.deepEqual(await run(1), own, `batches of ${batchSize}`);
    }
});

test("a trace has the cells of all texts once, each after those that it needs", async (t) => {
    const { model } = await loadTiny(t, { layers, segmentSize });
    const segments = [4, 7, 5];
    const texts = segments.map((n, i) => textIds(n * segmentSize + 1, vocab, i));
    const options = { schedule: "diagonal", maxCells: layers, textsPerLayer: 2, sequences: 3 } as const;
    await withContext(model, options, async (context) => {
        const sequences = sequencesOf(context);
        const { trace } = context.armt!;
        trace.start();
        await Promise.all(sequences.map((sequence, i) => generateGreedy(sequence, texts[i]!, 1)));
        const seen = new Set<string>();
        let shared = 0;
        const steps = trace.stop().filter(({ type }) => type === "diagonal");
        for (const [i, step] of steps.entries()) {
            const { segment, firstLayer, endLayer } = step;
            if (steps[i + 1]?.startMs === step.startMs) shared++;
            for (let layer = firstLayer; layer < endLayer; layer++) {
                const cell = (l: number, s: number) => `${step.sequence} ${l} ${s}`;
                const s = segment - (layer - firstLayer);
                if (s === segments[step.sequence]) continue; // the open segment
                t.true(layer === 0 || seen.has(cell(layer - 1, s)), cell(layer, s));
                t.true(s === 0 || seen.has(cell(layer, s - 1)), cell(layer, s));
                t.false(seen.has(cell(layer, s)));
                seen.add(cell(layer, s));
            }
        }
        t.is(seen.size, segments.reduce((sum, n) => sum + n) * layers);
        t.true(shared > 0);
    });
});

test("by default, sequences share the diagonals, one text in a layer", async (t) => {
    const { model } = await loadTiny(t, { layers, segmentSize });
    await withContext(model, { schedule: "diagonal", sequences: 2 }, async ({ armt }) => t.is(armt!.textsPerLayer, 1));
});

test("sequences have diagonals of their own where cells need more than the memory of the segment before", async (t) => {
    const { model } = await loadTiny(t, { layers, segmentSize });
    for (const options of [
        { schedule: "sequential", textsPerLayer: 2, sequences: 2 },
        { schedule: "diagonal", textsPerLayer: 2, sequences: 1 },
        { schedule: "diagonal", textsPerLayer: 0, sequences: 2 }
    ] as const)
        await withContext(model, options, async ({ armt }) => t.is(armt!.textsPerLayer, 0));
});
