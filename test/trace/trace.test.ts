import { setTimeout } from "node:timers/promises";
import test from "ava";
import type { Token } from "../../plugin/index.js";
import { chromeTrace } from "../../src/trace/chrome.js";
import { tracePage, tracePicture } from "../../src/trace/picture.js";
import { cellsOf, summarizeTrace, type Trace, traceRead, traceTable } from "../../src/trace/trace.js";
import { loadTiny, readLogits, withContext, withSequence } from "../helpers/contexts.js";
import { textIds } from "../helpers/tokens.js";

const vocab = 96;
const shape = { layers: 3, segmentSize: 8, memTokens: 4, vocab };

for (const [schedule, maxCells] of [
    ["diagonal", 1],
    ["diagonal", 3],
    ["sequential", 1]
] as const) {
    // with other cells in a step, the open segment needs no separate step
    const wide = schedule === "diagonal" && maxCells > 1;
    test(`a trace has every cell once, and no cell before those that it needs: ${schedule}, ${maxCells} at once`, async (t) => {
        const tiny = await loadTiny(t, shape);
        // 6 closed segments and an open one
        const trace = await withSequence(tiny.model, { schedule, maxCells }, (sequence) =>
            traceRead(sequence, 50, { layers: 3, vocab })
        );
        t.like(trace, { schedule, tokens: 50, segmentSize: 8, layers: 3 });
        const done = new Map<string, number>();
        for (const [i, step] of trace.steps.entries()) {
            t.is(step.sequence, 0);
            t.true(step.timeMs > 0 && step.buildMs >= 0 && step.buildMs <= step.timeMs);
            t.true(i === 0 || step.startMs >= trace.steps[i - 1]!.startMs + trace.steps[i - 1]!.timeMs - 0.002);
            for (const { layer, segment } of cellsOf(step)) {
                const key = `${layer} ${segment}`;
                t.false(done.has(key), key);
                if (step.type === "diagonal") {
                    t.true(layer === 0 || done.get(`${layer - 1} ${segment}`)! < i, key);
                    t.true(segment === 0 || done.get(`${layer} ${segment - 1}`)! < i, key);
                }
                done.set(key, i);
            }
        }
        t.is(done.size, 7 * 3);
        const { steps, cells, up, full, down } = summarizeTrace(trace);
        t.is(cells, 21);
        // N + L - 1 diagonals for the 6 closed segments, and the open one
        t.is(steps, schedule === "diagonal" ? 6 + 3 - 1 + 1 : 7);
        t.deepEqual(
            [up.steps, full.steps, down.steps],
            schedule === "diagonal" ? (wide ? [2, 5, 2] : [2, 4, 3]) : [0, 7, 0]
        );
        t.like(
            trace.steps.at(-1)!,
            wide
                ? { type: "diagonal", segment: 6, textRows: 8, memoryRows: 4, outputs: 1, firstLayer: 2, endLayer: 3 }
                : { type: "open", segment: 6, textRows: 2, memoryRows: 0, outputs: 1, firstLayer: 0, endLayer: 3 }
        );
        t.true(trace.steps.some(({ reused }) => reused));
        t.true(trace.steps.some(({ reused }) => !reused));
    });
}

test("nothing is recorded before a trace starts and after it stops, and a trace changes no result", async (t) => {
    const tiny = await loadTiny(t, shape);
    const ids = textIds(30, vocab);
    await withContext(tiny.model, { sequences: 2 }, async (context) => {
        const { trace } = context.armt!;
        const [first, second] = [context.getSequence(), context.getSequence()];
        const plain = await readLogits(first, ids);
        t.false(trace.enabled);
        t.deepEqual(trace.take(), []);
        const before = context.armt!.graphs;
        trace.start();
        t.true(trace.enabled);
        t.deepEqual(await readLogits(second, ids), plain);
        const steps = trace.stop();
        t.is(steps.length, context.armt!.graphs - before);
        t.is(steps.filter(({ reused }) => reused).length, second.armt!.graphsReused);
        t.true(steps.every(({ sequence }) => sequence === 1));
        await second.armt!.closeSegment();
        t.deepEqual(trace.take(), []);
        // a new trace does not begin with the old one
        await setTimeout(200);
        const started = performance.now();
        trace.start();
        await first.evaluateWithoutGeneratingNewTokens(ids.slice(0, 8) as Token[]);
        const more = trace.take();
        t.true(more.length > 0 && more[0]!.startMs <= performance.now() - started);
        t.deepEqual(trace.stop(), []);
    });
});

test("a trace that is interrupted is stopped", async (t) => {
    const tiny = await loadTiny(t, shape);
    await withSequence(tiny.model, {}, async (sequence) => {
        const reason = new Error("enough");
        await t.throwsAsync(traceRead(sequence, 20, { layers: 3, vocab, signal: AbortSignal.abort(reason) }), {
            is: reason
        });
        t.false(sequence.armt!.context.trace.enabled);
    });
});

const step = {
    type: "diagonal",
    startMs: 0,
    buildMs: 1,
    timeMs: 4,
    sequence: 0,
    sequences: 1,
    segment: 1,
    firstLayer: 0,
    endLayer: 2,
    textRows: 8,
    memoryRows: 4,
    outputs: 0,
    reused: false,
    replayed: false
} as const;
const trace: Trace = {
    schedule: "diagonal",
    tokens: 24,
    segmentSize: 8,
    layers: 2,
    steps: [step, { ...step, startMs: 4, segment: 2, reused: true, replayed: true }]
};

test("the Chrome trace has each cell on its layer's thread, while it was computed", (t) => {
    const { traceEvents } = chromeTrace([trace]);
    const cells = traceEvents.filter(({ cat }) => cat === "cell");
    t.deepEqual(
        cells.map(({ name, tid, ts, dur }) => [name, tid, ts, dur]),
        [
            ["segment 1", 1, 1000, 3000],
            ["segment 0", 2, 1000, 3000],
            ["segment 2", 1, 5000, 3000],
            ["segment 1", 2, 5000, 3000]
        ]
    );
    t.deepEqual(
        traceEvents.filter(({ cat }) => cat === "graph").map(({ name }) => name),
        ["build", "replay"]
    );
});

test("picture, page and table show what happened", (t) => {
    const picture = tracePicture("a<b", [trace]);
    t.is(picture.match(/fill="hsl/g)?.length, 4);
    t.is(picture.match(/<title>/g)?.length, 2);
    t.true(picture.includes("a&lt;b"));
    const page = tracePage("a<b", [trace]);
    t.is(page.match(/<tr><td>/g)?.length, 2);
    t.false(/(?:src|href)=/.test(page));
    t.regex(traceTable([trace]), /\ndiagonal +2 +4 +1 +1 +2\.0 ms +8\.0 ms +- +8\.0 ms, 2 steps, 4 cells +-\n/);
});
