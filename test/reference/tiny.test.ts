import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import type { TinyOptions } from "../../src/tiny/options.js";
import { readCheckpoint } from "../helpers/checkpoint.js";
import { assertClose, largestDifference } from "../helpers/compare.js";
import { generateReference, runReference, segmentLengths } from "../helpers/reference.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

async function tinyModel(t: Parameters<typeof temporaryFolder>[0], options: TinyOptions) {
    const folder = temporaryFolder(t);
    await makeTinyCheckpoint(folder, options);
    return readCheckpoint(folder);
}

test("the same options give the same bytes, another seed gives others", async (t) => {
    const bytes = async (seed: number) => {
        const folder = temporaryFolder(t);
        await makeTinyCheckpoint(folder, { seed });
        return readdirSync(folder).map((name) => readFileSync(path.join(folder, name)).toString("base64"));
    };
    t.deepEqual(await bytes(1), await bytes(1));
    t.notDeepEqual(await bytes(1), await bytes(2));
});

test("names and shards of the files change nothing in the model", async (t) => {
    const plain = await tinyModel(t, { tied: true });
    const other = await tinyModel(t, { tied: true, names: "short", shards: 3 });
    t.deepEqual(other, plain);
});

test("half-precision checkpoints hold the rounded weights", async (t) => {
    const plain = await tinyModel(t, {});
    for (const [dtype, precision] of [
        ["F16", 2 ** -11],
        ["BF16", 2 ** -8]
    ] as const) {
        const { embedding } = await tinyModel(t, { dtype });
        assertClose(t, embedding, plain.embedding, { within: precision, relative: true, rowLength: 64, what: dtype });
        t.notDeepEqual(embedding, plain.embedding);
    }
});

test("what earlier segments said changes the logits through memory alone", async (t) => {
    for (const variant of [{}, { normalizeKeys: false }, { useDenom: false }, { gating: true, nHeads: 2 }]) {
        const model = await tinyModel(t, variant);
        const ids = textIds(96, model.vocab);
        const { logits } = runReference(model, ids);
        const alone = runReference(model, ids.slice(-16)).logits;
        const difference = largestDifference(logits.subarray(-alone.length), alone, model.vocab);
        t.true(difference.value > 1, `the memory moves the logits by no more than ${difference.value}`);
        const deviation = Math.sqrt(logits.reduce((sum, x) => sum + x * x, 0) / logits.length);
        t.true(deviation > 1.5 && deviation < 2.5, `the logits have a standard deviation of ${deviation}`);
    }
});

test("rounding does not grow over 40 segments", async (t) => {
    for (const variant of [{}, { normalizeKeys: false }, { useDenom: false, normalizeKeys: false }]) {
        const model = await tinyModel(t, variant);
        const ids = textIds(640, model.vocab);
        const nudged = { ...model, embedding: model.embedding.map((x, i) => x * (1 + 1e-7 * Math.sin(i))) };
        const { logits } = runReference(nudged, ids);
        const expected = runReference(model, ids).logits;
        assertClose(t, logits, expected, { within: 2e-5, rowLength: model.vocab, what: "nudged logits" });
    }
});

test("reference with close agrees with the same tokens read as one prompt", async (t) => {
    const model = await tinyModel(t, {});
    const ids = textIds(24, model.vocab);
    const { tokens } = generateReference(model, ids, { count: 40, overflow: "close" });
    const whole = runReference(model, [...ids, ...tokens]).logits;
    const greedy = tokens.map((_, i) => {
        const row = whole.subarray((ids.length - 1 + i) * model.vocab, (ids.length + i) * model.vocab);
        return row.indexOf(row.reduce((a, b) => Math.max(a, b)));
    });
    t.deepEqual(greedy, tokens);
});

test("alignment says which segment is short", (t) => {
    t.deepEqual(segmentLengths(37, 16, "left"), [16, 16, 5]);
    t.deepEqual(segmentLengths(37, 16, "right"), [5, 16, 16]);
    t.deepEqual(segmentLengths(37, 16, "center"), [13, 13, 11]);
    t.deepEqual(segmentLengths(32, 16, "right"), [16, 16]);
});

test("options that don't fit together are refused by name", async (t) => {
    const folder = temporaryFolder(t);
    const refused = (options: TinyOptions, message: RegExp) =>
        t.throwsAsync(makeTinyCheckpoint(folder, options), { message });
    await refused({ heads: 4, kvHeads: 3 }, /`kvHeads` is 3/);
    await refused({ headDim: 15 }, /`headDim` is 15/);
    await refused({ hidden: 30 }, /`hidden` is 30/);
    await refused({ nHeads: 3 }, /`nHeads` is 3/);
    await refused({ vocab: 64, tokenizer: true }, /`vocab` is 64/);
    await refused({ segmentSize: 0 }, /`segmentSize` is 0/);
    t.deepEqual(readdirSync(folder), []);
});
