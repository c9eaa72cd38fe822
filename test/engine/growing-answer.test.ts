import path from "node:path";
import test from "ava";
import { getLlama, type LlamaContextSequence, LlamaLogLevel, type LlamaModel, type Token } from "../../plugin/index.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import { assertMemories } from "../helpers/assert-memories.js";
import { assertClose } from "../helpers/compare.js";
import { generateGreedy, loadTiny, readLogits, readMemories, withContext, withSequence } from "../helpers/contexts.js";
import { generateReference, runReference } from "../helpers/reference.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

const LOGIT_TOLERANCE = 5e-4;
const schedules = ["sequential", "diagonal"] as const;
const answer = { segmentOverflow: "answer" } as const;
const tiny = { segmentSize: 8, memTokens: 3, seed: 4 };

/** What a sequence holds after it has read these tokens at once and closed its segments. */
async function freshly(model: LlamaModel, tokens: readonly number[]) {
    return await withSequence(model, { segmentOverflow: "close" }, async (sequence) => {
        await sequence.evaluateWithoutGeneratingNewTokens(tokens as Token[]);
        await sequence.armt!.closeSegment();
        return { memories: await readMemories(sequence), closed: sequence.armt!.segmentsClosed };
    });
}

/** Generates, and returns all tokens that the sequence holds then. The last generated one has not been read. */
async function answered(sequence: LlamaContextSequence, ids: readonly number[], count: number): Promise<number[]> {
    const tokens = await generateGreedy(sequence, ids, count);
    return [...ids, ...tokens.slice(0, -1)];
}

test("an answer lets its segment grow, and gets the tokens of the authors' way", async (t) => {
    const { model, reference } = await loadTiny(t, tiny);
    for (const promptLength of [1, 7, 8, 9, 21]) {
        const ids = textIds(promptLength, 96, promptLength);
        const { tokens, margins } = generateReference(reference, ids, { count: 30, overflow: "extend" });
        const steady = margins.findIndex((margin) => margin < 1e-3);
        const count = steady < 0 ? tokens.length : steady;
        t.true(count > 12, "the case has to go past the end of a segment");
        for (const schedule of schedules) {
            await withSequence(model, { ...answer, schedule }, async (sequence) => {
                t.deepEqual(await generateGreedy(sequence, ids, count), tokens.slice(0, count), `${promptLength}`);
                t.is(sequence.armt!.segmentsClosed, Math.floor((promptLength - 1) / 8));
            });
        }
    }
});

test("what follows an answer finds the memory of the same text read at once", async (t) => {
    const { model, reference } = await loadTiny(t, tiny);
    const ids = textIds(21, 96, 2);
    const more = textIds(11, 96, 3);
    for (const schedule of schedules) {
        await withSequence(model, { ...answer, schedule }, async (sequence) => {
            const held = await answered(sequence, ids, 20);
            t.is(sequence.armt!.segmentsClosed, 2);
            const after = await readLogits(sequence, more);
            const all = [...held, ...more];
            const expected = runReference(reference, all).logits.subarray(held.length * 96);
            assertClose(t, after, expected, { within: LOGIT_TOLERANCE, rowLength: 96, what: `${schedule}:` });
            t.is(sequence.nextTokenIndex, all.length);

            // a second answer, then text through node-llama-cpp's own evaluation
            const again = await answered(sequence, textIds(3, 96, 5), 12);
            await sequence.evaluateWithoutGeneratingNewTokens(more as Token[]);
            await sequence.armt!.closeSegment();
            const { memories, closed } = await freshly(model, [...all, ...again, ...more]);
            t.is(sequence.armt!.segmentsClosed, closed);
            assertMemories(t, await readMemories(sequence), memories, reference, { what: schedule });
        });
    }
});

test("closing a grown segment writes what the same text read at once writes", async (t) => {
    const { model, reference } = await loadTiny(t, tiny);
    await withSequence(model, answer, async (sequence) => {
        const held = await answered(sequence, textIds(5, 96), 25);
        t.is(sequence.armt!.openTokens, 29);
        await sequence.armt!.closeSegment();
        const { memories, closed } = await freshly(model, held);
        t.is(sequence.armt!.segmentsClosed, closed);
        assertMemories(t, await readMemories(sequence), memories, reference, { what: "closed" });
    });
});

test("an answer that reaches the limit continues, over segments that were closed", async (t) => {
    const { model, reference } = await loadTiny(t, tiny);
    const ids = textIds(6, 96, 7);
    for (const schedule of schedules) {
        await withSequence(model, { ...answer, openSegmentLimit: 13, schedule }, async (sequence) => {
            const held = await answered(sequence, ids, 40);
            t.is(held.length, 45);
            t.true(sequence.armt!.openTokens <= 13);
            t.true(sequence.armt!.segmentsClosed >= 4);
            await sequence.armt!.closeSegment();
            const { memories, closed } = await freshly(model, held);
            t.is(sequence.armt!.segmentsClosed, closed);
            assertMemories(t, await readMemories(sequence), memories, reference, { what: schedule });
        });
    }
});

test("logits of a whole text do not let its segments grow", async (t) => {
    const { model, reference } = await loadTiny(t, tiny);
    const ids = textIds(60, 96, 1);
    for (const batchSize of [1, 7, 512]) {
        await withSequence(model, { ...answer, batchSize, openSegmentLimit: 20 }, async (sequence) => {
            const close = { within: LOGIT_TOLERANCE, rowLength: 96, what: `batch size ${batchSize}:` };
            assertClose(t, await readLogits(sequence, ids), runReference(reference, ids).logits, close);
            t.is(sequence.armt!.segmentsClosed, 7);
        });
    }
});

test("tokens of an answer can be removed, from the grown part and from before it", async (t) => {
    const { model, reference } = await loadTiny(t, tiny);
    const more = textIds(9, 96, 3);
    for (const kept of [22, 16, 15, 12]) {
        await withSequence(model, answer, async (sequence) => {
            const held = await answered(sequence, textIds(10, 96), 20);
            t.is(sequence.armt!.segmentsClosed, 1);
            await sequence.eraseContextTokenRanges([{ start: kept, end: held.length }]);
            t.is(sequence.nextTokenIndex, kept);
            const after = await readLogits(sequence, more);
            const expected = runReference(reference, [...held.slice(0, kept), ...more]).logits.subarray(kept * 96);
            assertClose(t, after, expected, { within: LOGIT_TOLERANCE, rowLength: 96, what: `${kept} kept:` });
        });
    }
});

test("a snapshot and a copy of a grown segment continue like the original", async (t) => {
    const { model } = await loadTiny(t, tiny);
    const more = textIds(5, 96, 3) as Token[];
    await withContext(model, { ...answer, sequences: 3 }, async (context) => {
        const sequence = context.getSequence();
        await answered(sequence, textIds(10, 96), 20);
        const snapshot = await sequence.armt!.snapshot();
        const fork = await sequence.armt!.fork();
        const restored = context.getSequence();
        await restored.armt!.restore(snapshot);
        t.is(restored.armt!.openTokens, sequence.armt!.openTokens);
        const expected = await generateGreedy(sequence, more, 12);
        t.deepEqual(await generateGreedy(fork, more, 12), expected);
        t.deepEqual(await generateGreedy(restored, more, 12), expected);
        t.is(restored.armt!.segmentsClosed, sequence.armt!.segmentsClosed);
    });
    await withContext(model, { segmentOverflow: "close" }, async (context) => {
        await withContext(model, answer, async (other) => {
            const snapshot = await other.getSequence().armt!.snapshot();
            await t.throwsAsync(context.getSequence().armt!.restore(snapshot), { message: /segmentOverflow/ });
        });
    });
});

for (const [what, options, close, overflow] of [
    ["was trained to answer inside the open segment", {}, false, "answer"],
    ["was trained to answer in a new segment", {}, true, "close"],
    ["does not say how it was trained", {}, undefined, "close"],
    ["goes back into the segment before", { slidingWindow: true }, false, "close"],
    ["reads the segment before again", { rereadsPrevious: true }, false, "close"]
] as const)
    test(`a model that ${what} has "${overflow}" by default`, async (t) => {
        const folder = temporaryFolder(t);
        await makeTinyCheckpoint(folder, { ...tiny, ...options });
        const file = path.join(folder, "model.gguf");
        await convertCheckpoint({ checkpoint: folder, output: file, ask: { close } });
        const llama = await getLlama({ gpu: false, logLevel: LlamaLogLevel.error, maxThreads: 1 });
        const model = await llama.loadModel({ modelPath: file });
        t.teardown(() => model.dispose());
        await withContext(model, {}, async (context) => t.is(context.armt!.segmentOverflow, overflow));
        await withContext(model, { segmentOverflow: "close" }, async (context) =>
            t.is(context.armt!.segmentOverflow, "close")
        );
    });
