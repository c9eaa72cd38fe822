import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { ArmtError, ArmtSnapshot, type Token } from "../../plugin/index.js";
import { fixedBytes } from "../../plugin/memory/snapshot-header.js";
import { loadTiny, withSequence } from "../helpers/contexts.js";
import { fillDisk, fullDiskTest, withFullDisk } from "../helpers/full-disk.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

/** A small snapshot file, its bytes, and the offset of its body. */
async function savedSnapshot(
    t: ExecutionContext
): Promise<{ folder: string; file: string; bytes: Buffer; body: number }> {
    const { model } = await loadTiny(t, { layers: 1, hidden: 8, heads: 1, dMem: 4, segmentSize: 8, memTokens: 2 });
    const folder = temporaryFolder(t);
    const file = path.join(folder, "memory.armt");
    await withSequence(model, {}, async (sequence) => {
        await sequence.evaluateWithoutGeneratingNewTokens(textIds(21, 96) as Token[]);
        await sequence.armt!.save(file);
    });
    const bytes = readFileSync(file);
    return { folder, file, bytes, body: Math.ceil((fixedBytes + bytes.readUInt32LE(12)) / 64) * 64 };
}

async function refuses(t: ExecutionContext, file: string, content: Uint8Array, what: string): Promise<void> {
    writeFileSync(file, content);
    const error = await t.throwsAsync(ArmtSnapshot.load(file), { instanceOf: ArmtError }, what);
    t.regex(error?.message ?? "", /^cannot load "[^\n]*": it (is|has) [^\n]+$/, what);
}

test("a flipped bit is detected in every byte of the file", async (t) => {
    const { folder, file, bytes, body } = await savedSnapshot(t);
    await t.notThrowsAsync(ArmtSnapshot.load(file));
    const bad = path.join(folder, "bad");
    for (let at = 0; at < bytes.length; at++) {
        // every bit of the header, and one bit of each other byte
        for (const bit of at < body ? [0, 1, 2, 3, 4, 5, 6, 7] : [at % 8]) {
            const flipped = Buffer.from(bytes);
            flipped[at]! ^= 1 << bit;
            await refuses(t, bad, flipped, `bit ${bit} of byte ${at}`);
        }
    }
});

test("a truncated file is detected at every length", async (t) => {
    const { folder, bytes } = await savedSnapshot(t);
    const bad = path.join(folder, "bad");
    for (let length = 0; length < bytes.length; length += length < 1024 ? 1 : 61) {
        await refuses(t, bad, bytes.subarray(0, length), `${length} bytes`);
    }
    await refuses(t, bad, bytes.subarray(0, -1), "the last byte");
    await refuses(t, bad, Buffer.concat([bytes, Buffer.alloc(1)]), "one byte more");
});

test("a file that is not a snapshot is refused", async (t) => {
    const { folder, file, bytes } = await savedSnapshot(t);
    const bad = path.join(folder, "bad");
    await refuses(t, bad, Buffer.alloc(5000, 7), "bytes");
    await refuses(t, bad, Buffer.from("GGUF".repeat(100)), "another format");
    const newer = Buffer.from(bytes);
    newer.writeUInt32LE(2, 8);
    writeFileSync(bad, newer);
    await t.throwsAsync(ArmtSnapshot.load(bad), {
        message: /it has format version 2, and this package reads version 1$/
    });
    await t.throwsAsync(ArmtSnapshot.load(folder), { message: /^cannot read .*: not a regular file$/ });
    await t.throwsAsync(ArmtSnapshot.load(path.join(folder, "none")), { message: /^cannot read .*: no such file/ });
    const header = await ArmtSnapshot.inspect(file);
    t.like(header, { tokensRead: 21, segmentsClosed: 2, openTokens: 5, hasTokenIds: true, segmentSize: 8 });
});

test("a damaged file changes nothing in the sequence that loads it", async (t) => {
    const { model } = await loadTiny(t, { segmentSize: 8 });
    const folder = temporaryFolder(t);
    const file = path.join(folder, "memory.armt");
    await withSequence(model, {}, async (sequence) => {
        await sequence.evaluateWithoutGeneratingNewTokens(textIds(21, 96) as Token[]);
        await sequence.armt!.save(file);
        const bytes = readFileSync(file);
        bytes[bytes.length - 100]! ^= 1;
        writeFileSync(file, bytes);
        await sequence.evaluateWithoutGeneratingNewTokens(textIds(9, 96, 2) as Token[]);
        const before = await sequence.armt!.snapshot();
        await t.throwsAsync(sequence.armt!.load(file), { message: /its contents have a wrong checksum/ });
        t.is(sequence.nextTokenIndex, 30);
        t.deepEqual((await sequence.armt!.snapshot()).parts.state, before.parts.state);
    });
});

test("a snapshot that contradicts itself changes nothing", async (t) => {
    const { model } = await loadTiny(t, { segmentSize: 8 });
    await withSequence(model, {}, async (sequence) => {
        const ids = textIds(21, 96) as Token[];
        await sequence.evaluateWithoutGeneratingNewTokens(ids);
        const { header, state } = (await sequence.armt!.snapshot()).parts;
        const forged = new ArmtSnapshot({
            header: { ...header, tokensRead: 5, hasTokenIds: false },
            tokens: undefined,
            state
        });
        await t.throwsAsync(sequence.armt!.restore(forged), {
            message: "the state is damaged: it holds 21 tokens from position 0 on, instead of 5 from position 0 on"
        });
        t.is(sequence.nextTokenIndex, 21);
        t.is(sequence.armt!.tokens, 21);
        t.deepEqual((await sequence.armt!.snapshot()).parts.state, state);
    });
});

fullDiskTest("a full disk fails the save, and the old file stays", async (t) => {
    const { file, bytes } = await savedSnapshot(t);
    const snapshot = await ArmtSnapshot.load(file);
    await withFullDisk(t, 64 * 1024, async (disk) => {
        const target = path.join(disk, "memory.armt");
        copyFileSync(file, target);
        fillDisk(disk);
        await t.throwsAsync(snapshot.save(target), {
            instanceOf: ArmtError,
            message: /^cannot write .*: no space left on the device$/
        });
        t.deepEqual(readFileSync(target), bytes);
        t.deepEqual(readdirSync(disk).sort(), ["filler", "memory.armt"]);
    });
});
