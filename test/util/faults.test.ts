// Each call of the file system fails in turn, while files are written and read. Faults are global, so tests run
// serially.

import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { ArmtError, ArmtSnapshot, type Token } from "../../plugin/index.js";
import { SnapshotFolder } from "../../plugin/memory/snapshot-folder.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { quantizeModel } from "../../src/convert/quantize/quantize.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import { loadTiny, withSequence } from "../helpers/contexts.js";
import { eachFault, type Outcome } from "../helpers/faults.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

function assertClean(t: ExecutionContext, { error }: Outcome, what: string): void {
    if (error === undefined) return;
    t.true(error instanceof ArmtError, `${what}: ${String(error)}`);
    t.notRegex((error as Error).message, /\n/, what);
}

/** The names in a folder must be these, so nothing is left over. */
function assertNames(t: ExecutionContext, folder: string, names: readonly string[], what: string): void {
    t.deepEqual(readdirSync(folder).sort(), [...names].sort(), what);
}

/** Two snapshots of one sequence, in files. */
async function twoSnapshots(t: ExecutionContext) {
    const { model } = await loadTiny(t, { layers: 1, hidden: 8, heads: 1, dMem: 4, segmentSize: 8, memTokens: 2 });
    const folder = temporaryFolder(t);
    const files = [path.join(folder, "old"), path.join(folder, "new")] as const;
    await withSequence(model, {}, async (sequence) => {
        for (const file of files) {
            await sequence.evaluateWithoutGeneratingNewTokens(textIds(21, 96) as Token[]);
            await sequence.armt!.save(file);
        }
    });
    return { files, model };
}

test.serial("a snapshot is saved whole or not at all, whichever call fails", async (t) => {
    const { files } = await twoSnapshots(t);
    const [old, next] = files.map((file) => readFileSync(file)) as [Buffer, Buffer];
    const snapshot = await ArmtSnapshot.load(files[1]);
    const folder = temporaryFolder(t);
    const file = path.join(folder, "memory.armt");
    copyFileSync(files[0], file);
    const calls = await eachFault(
        t,
        () => snapshot.save(file),
        async (outcome, what) => {
            assertClean(t, outcome, what);
            const found = readFileSync(file);
            t.true(found.equals(old) || found.equals(next), what);
            if (outcome.error === undefined) t.true(found.equals(next), what);
            assertNames(t, folder, ["memory.armt"], what);
            copyFileSync(files[0], file);
        }
    );
    t.true(calls > 5, String(calls));
});

test.serial("a snapshot is loaded whole or not at all, and stays, whichever call fails", async (t) => {
    const { files } = await twoSnapshots(t);
    const bytes = readFileSync(files[0]);
    const loaded: ArmtSnapshot[] = [];
    await eachFault(
        t,
        async () => loaded.push(await ArmtSnapshot.load(files[0])),
        async (outcome, what) => {
            assertClean(t, outcome, what);
            t.true(readFileSync(files[0]).equals(bytes), what);
        }
    );
    const { tokensRead } = await ArmtSnapshot.load(files[0]);
    for (const snapshot of loaded) t.is(snapshot.tokensRead, tokensRead);
});

test.serial(
    "a store's file is whole or absent, and a failed read does not remove it, whichever call fails",
    async (t) => {
        const { files } = await twoSnapshots(t);
        const snapshot = await ArmtSnapshot.load(files[0]);
        const folder = temporaryFolder(t);
        const key = "0".repeat(64);
        const name = `${key}.armt`;
        await eachFault(
            t,
            async () => await (await SnapshotFolder.open(folder, 2 ** 30)).write(key, snapshot),
            async (outcome, what) => {
                assertClean(t, outcome, what);
                if (existsSync(path.join(folder, name)))
                    await t.notThrowsAsync(ArmtSnapshot.load(path.join(folder, name)));
                else t.not(outcome.error, undefined, what);
                assertNames(t, folder, existsSync(path.join(folder, name)) ? [name] : [], what);
                rmSync(path.join(folder, name), { force: true });
            }
        );
        const opened = await SnapshotFolder.open(folder, 2 ** 30);
        await opened.write(key, snapshot);
        await eachFault(
            t,
            () => opened.read(key, snapshot.parts.header),
            async ({ error }, what) => {
                t.is(error, undefined, what);
                t.true(existsSync(path.join(folder, name)), what);
            }
        );
    }
);

/** Writes the output again with each call failing once. It is there with all its bytes, or not at all. */
async function assertWholeOrAbsent(t: ExecutionContext, output: string, write: () => Promise<void>): Promise<void> {
    const whole = readFileSync(output);
    rmSync(output);
    const calls = await eachFault(t, write, async (outcome, what) => {
        assertClean(t, outcome, what);
        if (existsSync(output)) t.true(readFileSync(output).equals(whole), what);
        else t.not(outcome.error, undefined, what);
        assertNames(t, path.dirname(output), existsSync(output) ? ["model.gguf"] : [], what);
        rmSync(output, { force: true });
    });
    t.true(calls > 20, String(calls));
}

test.serial("a converted model is whole or absent, whichever call fails", async (t) => {
    const folder = temporaryFolder(t);
    const checkpoint = path.join(folder, "checkpoint");
    const output = path.join(folder, "out", "model.gguf");
    mkdirSync(path.dirname(output));
    await makeTinyCheckpoint(checkpoint, { layers: 1, hidden: 8, heads: 1, dMem: 4, vocab: 16, tokenizer: false });
    await convertCheckpoint({ checkpoint, output, outType: "f16" });
    await assertWholeOrAbsent(t, output, () => convertCheckpoint({ checkpoint, output, outType: "f16" }));
});

test.serial("a quantized model is whole or absent, whichever call fails", async (t) => {
    const folder = temporaryFolder(t);
    const checkpoint = path.join(folder, "checkpoint");
    const input = path.join(folder, "f16.gguf");
    const output = path.join(folder, "out", "model.gguf");
    mkdirSync(path.dirname(output));
    await makeTinyCheckpoint(checkpoint, { layers: 1, hidden: 32, heads: 1, dMem: 4, vocab: 16, tokenizer: false });
    await convertCheckpoint({ checkpoint, output: input, outType: "f16" });
    await quantizeModel({ input, output, mixture: "q8_0" });
    await assertWholeOrAbsent(t, output, () => quantizeModel({ input, output, mixture: "q8_0" }));
});
