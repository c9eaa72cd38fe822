import { readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { ArmtError, ArmtSnapshot, DisposedError, type LlamaContextSequence, type Token } from "../../plugin/index.js";
import { assertClose } from "../helpers/compare.js";
import {
    generateGreedy,
    loadTiny,
    readLogits,
    readMemories,
    type TestContextOptions,
    withContext
} from "../helpers/contexts.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

const vocab = 96;
const segmentSize = 8;
const rest = textIds(21, vocab, 2);

const read = (sequence: LlamaContextSequence, count: number) =>
    sequence.evaluateWithoutGeneratingNewTokens(textIds(count, vocab) as Token[]);

/** Every kind of position that a sequence can be in. */
const boundaries: Record<string, (sequence: LlamaContextSequence) => Promise<unknown>> = {
    "nothing read": async () => {},
    "inside the first segment": (sequence) => read(sequence, 3),
    "the first segment full and open": (sequence) => read(sequence, segmentSize),
    "one token into the second": (sequence) => read(sequence, segmentSize + 1),
    "inside a later segment": (sequence) => read(sequence, 6 * segmentSize + 5),
    "a later segment full and open": (sequence) => read(sequence, 6 * segmentSize),
    "logits of the open segment read": async (sequence) => {
        await read(sequence, 3 * segmentSize + 2);
        await readLogits(sequence, textIds(3, vocab, 3));
    },
    "after generation over a boundary": (sequence) => generateGreedy(sequence, textIds(13, vocab), 7),
    "a segment closed early": async (sequence) => {
        await read(sequence, 2 * segmentSize + 3);
        await sequence.armt!.closeSegment();
    },
    "inside the segment after one closed early": async (sequence) => {
        await read(sequence, 2 * segmentSize + 3);
        await sequence.armt!.closeSegment();
        await sequence.evaluateWithoutGeneratingNewTokens(textIds(3, vocab, 4) as Token[]);
    },
    "tokens removed": async (sequence) => {
        await read(sequence, 3 * segmentSize + 6);
        await sequence.eraseContextTokenRanges([{ start: 3 * segmentSize + 2, end: 3 * segmentSize + 6 }]);
    }
};

const cases: TestContextOptions[] = [
    { schedule: "sequential" },
    { schedule: "diagonal" },
    { schedule: "sequential", segmentOverflow: "extend", openSegmentLimit: 40 },
    { schedule: "diagonal", batchSize: 5, kvType: "F16" }
];

for (const options of cases) {
    test(`a copy continues like the original at every kind of boundary, ${JSON.stringify(options)}`, async (t) => {
        const { model } = await loadTiny(t, { segmentSize, vocab, layers: 3 });
        const file = path.join(temporaryFolder(t), "memory.armt");
        for (const [what, bring] of Object.entries(boundaries)) {
            await withContext(model, { ...options, sequences: 4 }, async (context) => {
                const original = context.getSequence();
                await bring(original);
                const { tokens, openTokens, segmentsClosed } = original.armt!;
                const snapshot = await original.armt!.snapshot();
                t.like(snapshot, { tokensRead: tokens, openTokens, segmentsClosed, hasTokenIds: true }, what);
                await original.armt!.save(file);
                const restored = context.getSequence();
                await readLogits(restored, textIds(30, vocab, 9));
                const loaded = context.getSequence();
                const copies = { fork: await original.armt!.fork(), restored, loaded };
                await restored.armt!.restore(snapshot);
                await loaded.armt!.load(file);

                const record = original.contextTokens;
                const expected = await readLogits(original, rest);
                const memories = await readMemories(original);
                for (const [how, copy] of Object.entries(copies)) {
                    t.like(copy.armt!, { tokens, openTokens, segmentsClosed }, `${what}, ${how}`);
                    t.deepEqual(copy.contextTokens, record, `${what}, ${how}`);
                    const close = { within: 1e-5, rowLength: vocab, what: `${what}, ${how}:` };
                    assertClose(t, await readLogits(copy, rest), expected, close);
                    for (const [il, { a }] of (await readMemories(copy)).entries())
                        assertClose(t, a, memories[il]!.a, { ...close, relative: true, rowLength: 64 });
                }
            });
        }
    });
}

test("a snapshot of the closed segments continues with an empty one", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab, layers: 3 });
    for (const schedule of ["sequential", "diagonal"] as const) {
        await withContext(model, { schedule, sequences: 3 }, async (context) => {
            const [original, truth, copy] = [context.getSequence(), context.getSequence(), context.getSequence()];
            await read(original, 3 * segmentSize + 5);
            const snapshot = await original.armt!.snapshot({ closedOnly: true });
            t.like(snapshot, { tokensRead: 3 * segmentSize, openTokens: 0, segmentsClosed: 3 });
            await copy.armt!.restore(snapshot);
            t.like(copy.armt!, { tokens: 3 * segmentSize, openTokens: 0, segmentsClosed: 3 });
            t.is(copy.nextTokenIndex, 3 * segmentSize);
            await read(truth, 3 * segmentSize);
            const close = { within: 1e-5, rowLength: vocab, what: schedule };
            assertClose(t, await readLogits(copy, rest), await readLogits(truth, rest), close);
            // the original is unchanged
            t.is(original.armt!.openTokens, 5);
        });
    }
});

test("a snapshot can be restored again and again, and into another context and schedule", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    const [snapshot, expected] = await withContext(model, { schedule: "diagonal" }, async (context) => {
        const sequence = context.getSequence();
        await read(sequence, 29);
        const taken = await sequence.armt!.snapshot();
        return [taken, await readLogits(sequence, rest)] as const;
    });
    await withContext(model, { schedule: "sequential" }, async (context) => {
        const sequence = context.getSequence();
        for (let i = 0; i < 3; i++) {
            await sequence.armt!.restore(snapshot);
            const close = { within: 1e-4, rowLength: vocab, what: `time ${i}:` };
            assertClose(t, await readLogits(sequence, rest), expected, close);
        }
        snapshot.dispose();
        snapshot.dispose();
        t.true(snapshot.disposed);
        await t.throwsAsync(sequence.armt!.restore(snapshot), { instanceOf: DisposedError });
    });
});

test("apart from the ids, the size of a snapshot does not depend on what was read", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    await withContext(model, { sequences: 2 }, async (context) => {
        const [short, long] = [context.getSequence(), context.getSequence()];
        await read(short, segmentSize + 1);
        await read(long, 200 * segmentSize + 1);
        const folder = temporaryFolder(t);
        const sizes = [];
        for (const { armt } of [short, long])
            sizes.push((await armt!.save(path.join(folder, "a"), { tokenIds: false })).bytes);
        t.is(Math.ceil(sizes[0]! / 64), Math.ceil(sizes[1]! / 64));
        const withIds = await long.armt!.save(path.join(folder, "b"));
        t.true(Math.abs(withIds.bytes - sizes[1]! - 4 * (200 * segmentSize + 1)) <= 64);
        t.deepEqual(readdirSync(folder).sort(), ["a", "b"]);
    });
});

test("a snapshot without ids continues, and its number of tokens is known", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    const file = path.join(temporaryFolder(t), "memory.armt");
    await withContext(model, { sequences: 3 }, async (context) => {
        const [original, copy] = [context.getSequence(), context.getSequence()];
        await read(original, 30);
        await original.armt!.save(file, { tokenIds: false });
        await copy.armt!.load(file);
        t.is(copy.nextTokenIndex, 30);
        const close = { within: 1e-5, rowLength: vocab, what: "without ids" };
        assertClose(t, await readLogits(copy, rest), await readLogits(original, rest), close);
        t.false((await copy.armt!.snapshot()).hasTokenIds);
        t.false((await (await copy.armt!.fork()).armt!.snapshot()).hasTokenIds);
    });
});

test("a snapshot that does not fit is refused with a reason, and nothing changes", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    const other = await loadTiny(t, { segmentSize, vocab, seed: 2 });
    const file = path.join(temporaryFolder(t), "memory.armt");
    await withContext(model, {}, async (context) => {
        const sequence = context.getSequence();
        await read(sequence, 30);
        await sequence.armt!.save(file);
    });
    const refused = [
        {
            of: other.model,
            options: {},
            message:
                /belongs to another model \(fingerprint \w{12}; this model has \w{12}\), or to an older file of this model; load/
        },
        {
            of: model,
            options: { segmentSize: 6 },
            message: /its `armt\.segmentSize` is 8, and that of this context is 6; use the same options/
        },
        {
            of: model,
            options: { segmentOverflow: "extend" },
            message: /its `armt\.segmentOverflow` is close, and that of this context is extend/
        },
        {
            of: model,
            options: { kvType: "F16" },
            message: /its K\/V type is F32,F32, and that of this context is F16,F16/
        }
    ] as const;
    for (const { of, options, message } of refused) {
        await withContext(of, options, async (context) => {
            const sequence = context.getSequence();
            await read(sequence, 19);
            const before = await sequence.armt!.snapshot();
            await t.throwsAsync(sequence.armt!.load(file), { instanceOf: ArmtError, message });
            const snapshot = await ArmtSnapshot.load(file);
            await t.throwsAsync(sequence.armt!.restore(snapshot), { instanceOf: ArmtError, message });
            t.is(sequence.nextTokenIndex, 19);
            t.deepEqual((await sequence.armt!.snapshot()).parts.state, before.parts.state);
        });
    }
});

test("a fork needs a free sequence", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    await withContext(model, { sequences: 2 }, async (context) => {
        const sequence = context.getSequence();
        await read(sequence, 5);
        const fork = await sequence.armt!.fork();
        await t.throwsAsync(sequence.armt!.fork(), {
            instanceOf: ArmtError,
            message: /all 2 sequences of the context are in use; create it with a larger `sequences`/
        });
        await fork.dispose();
        t.is((await sequence.armt!.fork()).nextTokenIndex, 5);
    });
});

test("an aborted save leaves the file as it was", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    const folder = temporaryFolder(t);
    const file = path.join(folder, "memory.armt");
    writeFileSync(file, "before");
    await withContext(model, {}, async (context) => {
        const sequence = context.getSequence();
        await read(sequence, 5);
        const signal = AbortSignal.abort(new Error("enough"));
        await t.throwsAsync(sequence.armt!.save(file, { signal }), { message: "enough" });
        await t.throwsAsync((await sequence.armt!.snapshot()).save(file, { signal }), { message: "enough" });
        t.deepEqual(readdirSync(folder), ["memory.armt"]);
        await t.throwsAsync(sequence.armt!.save(path.join(folder, "no", "file")), {
            instanceOf: ArmtError,
            message: /cannot write .*no such file or folder/
        });
    });
});
