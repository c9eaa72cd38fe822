import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import type { LlamaContextSequence, LlamaModel, Token } from "../../plugin/index.js";
import { assertClose, largestDifference } from "../helpers/compare.js";
import {
    loadTiny,
    readLogits,
    readMemories,
    type TestContextOptions,
    withContext,
    withSequence
} from "../helpers/contexts.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

const schedules = ["sequential", "diagonal"] as const;
const prompt = textIds(16 * 5 + 7, 96);
const rest = textIds(30, 96, 2);

const read = (sequence: LlamaContextSequence, ids: readonly number[]) =>
    sequence.evaluateWithoutGeneratingNewTokens([...ids] as Token[]);

const load = (sequence: LlamaContextSequence, file: string) => sequence.loadStateFromFile(file, { acceptRisk: true });

function saveState(model: LlamaModel, options: TestContextOptions, file: string): Promise<Float32Array> {
    return withSequence(model, options, async (sequence) => {
        await read(sequence, prompt);
        await sequence.saveStateToFile(file);
        return readLogits(sequence, rest);
    });
}

for (const schedule of schedules) {
    test(`a state saved inside an open segment resumes as if never saved, ${schedule}`, async (t) => {
        const { model } = await loadTiny(t, { layers: 6 });
        const file = path.join(temporaryFolder(t), "state");
        const expected = await saveState(model, { schedule, batchSize: 21 }, file);
        // the other schedule can resume it too
        for (const other of schedules) {
            await withSequence(model, { schedule: other }, async (sequence) => {
                await read(sequence, textIds(50, 96, 5));
                await load(sequence, file);
                t.is(sequence.nextTokenIndex, prompt.length);
                t.is(sequence.armt!.openTokens, 7);
                const close = { within: 1e-4, rowLength: 96, what: `loaded into ${other}:` };
                assertClose(t, await readLogits(sequence, rest), expected, close);
            });
        }
    });

    test(`a checkpoint restores the tokens read before it, ${schedule}`, async (t) => {
        const { model } = await loadTiny(t);
        const expected = await saveState(model, { schedule }, path.join(temporaryFolder(t), "state"));
        await withSequence(model, { schedule }, async (sequence) => {
            await read(sequence, prompt);
            t.true(sequence.needsCheckpoints);
            await sequence.takeCheckpoint();
            await read(sequence, textIds(40, 96, 6));
            const { cells } = sequence.armt!;
            await sequence.eraseContextTokenRanges([{ start: prompt.length, end: prompt.length + 40 }]);
            t.is(sequence.nextTokenIndex, prompt.length);
            t.true(sequence.armt!.cells <= cells, "nothing is read again");
            const close = { within: 1e-4, rowLength: 96, what: schedule };
            assertClose(t, await readLogits(sequence, rest), expected, close);
        });
    });

    test(`a copy of a sequence is independent of it, ${schedule}`, async (t) => {
        const { model } = await loadTiny(t);
        const file = path.join(temporaryFolder(t), "state");
        const expected = await saveState(model, { schedule }, file);
        await withContext(model, { schedule, sequences: 2 }, async (context) => {
            const [first, second] = [context.getSequence(), context.getSequence()];
            await read(first, prompt);
            await load(second, file);
            await read(first, textIds(25, 96, 8));
            const memories = await readMemories(first);
            const close = { within: 1e-4, rowLength: 96, what: "copy:" };
            assertClose(t, await readLogits(second, rest), expected, close);
            t.deepEqual(await readMemories(first), memories);
            t.true(largestDifference((await readMemories(second))[0]!.a, memories[0]!.a, 64).value > 1e-3);
        });
    });
}

test("a state of another model or other sizes is refused and changes nothing", async (t) => {
    const file = path.join(temporaryFolder(t), "state");
    const { model } = await loadTiny(t);
    await saveState(model, {}, file);
    const others = {
        "other weights": await loadTiny(t, { seed: 2 }),
        "more layers": await loadTiny(t, { layers: 5 }),
        "larger keys": await loadTiny(t, { dMem: 32 })
    };
    const refused = (other: LlamaModel, options: TestContextOptions, what: string) =>
        withSequence(other, options, async (sequence) => {
            await t.throwsAsync(
                load(sequence, file),
                { message: /^cannot load .*: the state belongs to a(nother model| context)/ },
                what
            );
            const fresh = await withSequence(other, options, (untouched) => readLogits(untouched, rest));
            t.is(sequence.armt!.tokens, 0, what);
            t.deepEqual(await readLogits(sequence, rest), fresh, what);
        });
    for (const [what, other] of Object.entries(others)) await refused(other.model, {}, what);
    await refused(model, { segmentSize: 12 }, "another segment size");
    await refused(model, { kvType: "F16" }, "another K/V type");
});

test("a damaged state is refused", async (t) => {
    const folder = temporaryFolder(t);
    const file = path.join(folder, "state");
    const { model } = await loadTiny(t);
    await saveState(model, {}, file);
    const bytes = readFileSync(file);
    const damaged: [what: string, content: Uint8Array, message: RegExp][] = [
        ["truncated", bytes.subarray(0, Math.floor(bytes.length / 2)), /damaged: it ends too early$/],
        ["its last byte missing", bytes.subarray(0, -1), /damaged: it ends too early$/],
        ["cut within its tokens", bytes.subarray(0, 100), /damaged: it ends within its list of tokens$/],
        ["empty", bytes.subarray(0, 0), /is not a saved state of a sequence$/],
        ["another file", Buffer.alloc(200, 7), /is not a saved state of a sequence$/],
        [
            "no ARMT state",
            Buffer.concat([bytes.subarray(0, 12), Buffer.alloc(bytes.length, 0xff)]),
            /not a state of an ARMT model$/
        ]
    ];
    for (const [what, content, message] of damaged) {
        const bad = path.join(folder, "bad");
        writeFileSync(bad, content);
        await withSequence(model, {}, async (sequence) => {
            await read(sequence, prompt);
            await t.throwsAsync(load(sequence, bad), { message }, what);
            t.is(sequence.armt!.tokens, 0, what);
            await read(sequence, rest);
        });
    }
});
