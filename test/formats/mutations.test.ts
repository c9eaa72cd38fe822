import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { readSnapshotFile } from "../../plugin/memory/snapshot-file.js";
import { readModelInfo } from "../../plugin/model/model-file.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { openGguf } from "../../src/formats/gguf/reader.js";
import { openSafetensors } from "../../src/formats/safetensors/reader.js";
import { openTorch } from "../../src/formats/torch/reader.js";
import { ArmtError } from "../../src/util/errors.js";
import { loadTiny, withSequence } from "../helpers/contexts.js";
import { paced } from "../helpers/pace.js";
import { propertySeed } from "../helpers/property.js";
import { repositoryRoot } from "../helpers/repository.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { makeTiny } from "../helpers/tiny-checkpoint.js";
import { textIds } from "../helpers/tokens.js";

/** Mutations of each file; `ARMT_FUZZ_RUNS` sets another number. */
const numRuns = Number(process.env.ARMT_FUZZ_RUNS ?? 400);
/** A file is refused or opened within this time of the CPU. Unit: milliseconds. */
const maxTime = 1000;
/** Memory that one file may take. Unit: bytes. */
const maxMemory = 256 * 2 ** 20;

/** A change of a file, of which places are shares of its length. */
type Change =
    | { kind: "bit"; at: number; bit: number }
    | { kind: "number"; at: number; value: bigint }
    | { kind: "cut"; at: number }
    | { kind: "copy"; from: number; to: number; length: number };

/** Most of a file's head is in its first bytes, so most places are there. */
const place = fc.oneof({ weight: 3, arbitrary: fc.double({ min: 0, max: 0.05, noNaN: true }) }, share());
const change: fc.Arbitrary<Change> = fc.oneof(
    fc.record({ kind: fc.constant("bit" as const), at: place, bit: fc.nat(7) }),
    fc.record({
        kind: fc.constant("number" as const),
        at: place,
        value: fc.oneof(
            fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
            fc.nat(64).map((n) => 2n ** BigInt(n) - 1n)
        )
    }),
    fc.record({ kind: fc.constant("cut" as const), at: place }),
    fc.record({ kind: fc.constant("copy" as const), from: place, to: place, length: fc.nat(64) })
);

function share(): fc.Arbitrary<number> {
    return fc.double({ min: 0, max: 1, noNaN: true });
}

function apply(original: Buffer, changes: readonly Change[]): Buffer {
    let bytes = Buffer.from(original);
    const index = (at: number) => Math.min(Math.floor(at * bytes.length), bytes.length - 9);
    for (const each of changes) {
        if (bytes.length < 80) break;
        if (each.kind === "bit") bytes[index(each.at)]! ^= 1 << each.bit;
        else if (each.kind === "number") bytes.writeBigUInt64LE(each.value, index(each.at));
        else if (each.kind === "cut") bytes = bytes.subarray(0, Math.floor(each.at * bytes.length));
        else bytes.copyWithin(index(each.to), index(each.from), index(each.from) + each.length);
    }
    return bytes;
}

type Open = (file: string) => Promise<unknown>;

/** Opens many damaged copies of a file. Each must open, or fail with an `ArmtError` of one line. */
async function openDamaged(t: ExecutionContext, original: Buffer, name: string, open: Open): Promise<void> {
    const file = path.join(temporaryFolder(t), name);
    let refused = 0;
    await fc.assert(
        fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
            writeFileSync(file, apply(original, changes));
            const started = process.cpuUsage();
            const before = process.memoryUsage.rss();
            try {
                await open(file);
            } catch (error) {
                if (!(error instanceof ArmtError)) throw error;
                if (error.message.includes("\n")) throw new Error(`two lines: ${error.message}`);
                refused++;
            }
            if (process.memoryUsage.rss() - before > maxMemory) throw new Error("it took too much memory");
            const milliseconds = process.cpuUsage(started).user / 1000;
            if (milliseconds > maxTime && milliseconds > paced(maxTime)) throw new Error("it took too long");
        }),
        { numRuns, seed: propertySeed }
    );
    t.true(refused > numRuns / 4, `${refused} of ${numRuns} were refused`);
}

const closing =
    (open: (file: string) => Promise<{ close(): Promise<void> }>): Open =>
    async (file) =>
        await (await open(file)).close();

test.serial("damaged model files are refused or opened", async (t) => {
    const output = path.join(temporaryFolder(t), "model.gguf");
    await convertCheckpoint({ checkpoint: await makeTiny(t, { tokenizer: true, vocab: 300 }), output });
    // the weights are not read
    const bytes = readFileSync(output).subarray(0, 2 ** 17);
    await openDamaged(t, readFileSync(output), "model.gguf", readModelInfo);
    await openDamaged(t, bytes, "model.gguf", closing(openGguf));
});

test.serial("damaged safetensors are refused or opened", async (t) => {
    const checkpoint = await makeTiny(t, { layers: 1 });
    const bytes = readFileSync(path.join(checkpoint, "model.safetensors"));
    await openDamaged(t, bytes, "model.safetensors", closing(openSafetensors));
});

test.serial("damaged PyTorch files are refused or opened", async (t) => {
    const golden = path.join(repositoryRoot, "test/golden/authors/llama-mha-tied-nocorr/pytorch_model.bin");
    await openDamaged(t, readFileSync(golden), "pytorch_model.bin", closing(openTorch));
});

test.serial("damaged snapshots are refused or read", async (t) => {
    const { model } = await loadTiny(t, { layers: 1 });
    const file = path.join(temporaryFolder(t), "a.armt");
    await withSequence(model, {}, async (sequence) => {
        await sequence.evaluateWithoutGeneratingNewTokens(textIds(50, 90) as never);
        await sequence.armt!.save(file);
    });
    await openDamaged(t, readFileSync(file), "a.armt", readSnapshotFile);
});
