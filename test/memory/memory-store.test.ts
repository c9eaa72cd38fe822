import { chmodSync, copyFileSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import {
    ArmtError,
    ArmtMemoryStore,
    ArmtSnapshot,
    DisposedError,
    type LlamaModel,
    type Token
} from "../../plugin/index.js";
import { chooseCheckpoints } from "../../plugin/memory/checkpoint-spacing.js";
import { writeSnapshotFile } from "../../plugin/memory/snapshot-file.js";
import { SnapshotFolder } from "../../plugin/memory/snapshot-folder.js";
import { assertClose } from "../helpers/compare.js";
import {
    generateGreedy,
    loadTiny,
    readLogits,
    type TestContextOptions,
    withContext,
    withSequence
} from "../helpers/contexts.js";
import { fillDisk, fullDiskTest, withFullDisk } from "../helpers/full-disk.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";
import { until } from "../helpers/until.js";

const vocab = 96;
const segmentSize = 8;
const book = textIds(20 * segmentSize + 3, vocab) as Token[];
const probe = textIds(11, vocab, 5);

async function openStore(
    t: ExecutionContext,
    options: Parameters<typeof ArmtMemoryStore.open>[0] = {}
): Promise<ArmtMemoryStore> {
    const store = await ArmtMemoryStore.open({ checkpointInterval: 1, ...options });
    t.teardown(() => store.dispose());
    return store;
}

/** Logits after a prompt, read without a store. */
function truth(model: LlamaModel, options: TestContextOptions, prompt: Token[]): Promise<Float32Array> {
    return withSequence(model, options, async (sequence) => {
        await sequence.evaluateWithoutGeneratingNewTokens(prompt);
        return readLogits(sequence, probe);
    });
}

const variants: [what: string, tiny: Parameters<typeof loadTiny>[1], options: TestContextOptions][] = [
    ["sequential", {}, { schedule: "sequential" }],
    ["diagonal", {}, { schedule: "diagonal", batchSize: 13 }],
    ["growing segments", {}, { schedule: "sequential", segmentOverflow: "extend" }]
];
for (const [what, tiny, options] of variants) {
    test(`a prompt starts from the longest prefix shared with another, ${what}`, async (t) => {
        const { model } = await loadTiny(t, { segmentSize, vocab, layers: 3, ...tiny });
        const store = await openStore(t);
        const prompts: [tokens: Token[], cached: number][] = [
            [book, 0],
            // the last token must be evaluated, and its segment stays open
            [book, 20 * segmentSize],
            [book.slice(0, 20 * segmentSize), 19 * segmentSize],
            [[...book, ...book], 20 * segmentSize],
            // differs within the third segment
            [[...book.slice(0, 2 * segmentSize + 4), ...textIds(80, vocab, 6)] as Token[], 2 * segmentSize],
            [book.slice(0, segmentSize), 0],
            [book.slice(3), 0]
        ];
        for (const [prompt, cached] of prompts) {
            await withSequence(model, { ...options, memoryStore: store }, async (sequence) => {
                await sequence.evaluateWithoutGeneratingNewTokens(prompt);
                t.is(sequence.armt!.cachedTokens, cached);
                t.is(sequence.armt!.tokens, prompt.length);
                t.deepEqual(sequence.contextTokens, prompt);
                const close = { within: 1e-4, rowLength: vocab, what: `${what}, ${prompt.length} tokens:` };
                assertClose(t, await readLogits(sequence, probe), await truth(model, options, prompt), close);
            });
        }
        t.like(store.stats, { hits: 4, misses: 2, cachedTokens: 79 * segmentSize - 18 * segmentSize });
    });
}

for (const alignment of ["right", "center"] as const) {
    test(`a prompt that is cut differently shares nothing, ${alignment} alignment`, async (t) => {
        const { model } = await loadTiny(t, { segmentSize, vocab, alignment });
        const store = await openStore(t);
        const cached = async (prompt: Token[]) =>
            withSequence(model, { memoryStore: store }, async (sequence) => {
                await sequence.evaluateWithoutGeneratingNewTokens(prompt);
                const close = { within: 1e-4, rowLength: vocab, what: `${prompt.length} tokens:` };
                assertClose(t, await readLogits(sequence, probe), await truth(model, {}, prompt), close);
                return sequence.armt!.cachedTokens;
            });
        t.is(await cached(book), 0);
        t.true((await cached(book)) > 18 * segmentSize);
        t.is(await cached(book.slice(0, -1)), 0);
        // the same first segment
        const same = await cached(book.slice(0, -5 * segmentSize));
        if (alignment === "right") t.true(same > 10 * segmentSize);
        else t.is(same, 0);
    });
}

test("memories of other models or options are not found", async (t) => {
    const store = await openStore(t, { folder: temporaryFolder(t) });
    const first = await loadTiny(t, { segmentSize, vocab });
    const second = await loadTiny(t, { segmentSize, vocab, seed: 2 });
    const cached = (model: LlamaModel, options: TestContextOptions) =>
        withSequence(model, { ...options, memoryStore: store }, async (sequence) => {
            await sequence.evaluateWithoutGeneratingNewTokens(book);
            return sequence.armt!.cachedTokens;
        });
    t.is(await cached(first.model, {}), 0);
    t.is(await cached(second.model, {}), 0);
    t.is(await cached(first.model, { segmentSize: 4 }), 0);
    t.is(await cached(first.model, { kvType: "F16" }), 0);
    t.is(await cached(first.model, { segmentOverflow: "extend" }), 0);
    t.true((await cached(first.model, {})) > 0);
    // the schedules agree
    t.true((await cached(first.model, { schedule: "diagonal" })) > 0);
});

test("generation after a stored prefix gives the same tokens, and continues", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab, seed: 3 });
    const expected = await withSequence(model, {}, (sequence) => generateGreedy(sequence, book, 30));
    const store = await openStore(t, { folder: temporaryFolder(t) });
    for (const cached of [0, 20 * segmentSize]) {
        await withSequence(model, { memoryStore: store }, async (sequence) => {
            t.deepEqual(await generateGreedy(sequence, book, 30), expected);
            t.is(sequence.armt!.cachedTokens, cached);
        });
    }
});

test("a folder serves the next store, private to its user", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    const folder = path.join(temporaryFolder(t), "a", "b");
    const readBook = async (expected: number) => {
        const store = await ArmtMemoryStore.open({ folder, checkpointInterval: 1 });
        await withSequence(model, {}, async (sequence) => {
            const { cachedTokens, readTokens } = await store.prefill(sequence, book);
            t.is(cachedTokens, expected);
            t.is(readTokens, book.length - expected);
        });
        await store.dispose();
        t.true(store.disposed);
    };
    await readBook(0);
    const files = readdirSync(folder);
    t.true(files.length >= 5 && files.every((name) => /^[0-9a-f]{64}\.armt$/.test(name)));
    t.is(statSync(folder).mode & 0o77, 0);
    t.is(statSync(path.join(folder, files[0]!)).mode & 0o77, 0);
    await readBook(20 * segmentSize);
    t.deepEqual(readdirSync(folder), files);
});

test("damaged, missing and foreign files count as not stored", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    const folder = temporaryFolder(t);
    const cached = async () => {
        const store = await ArmtMemoryStore.open({ folder, checkpointInterval: 1 });
        const prefill = await withSequence(model, {}, (sequence) => store.prefill(sequence, book));
        await store.dispose();
        return prefill.cachedTokens;
    };
    t.is(await cached(), 0);
    writeFileSync(path.join(folder, "notes.txt"), "not ours");
    const names = readdirSync(folder).filter((name) => name.endsWith(".armt"));
    for (const [i, name] of names.entries()) {
        const file = path.join(folder, name);
        const bytes = readFileSync(file);
        if (i % 3 === 0) writeFileSync(file, bytes.subarray(0, bytes.length / 2));
        else if (i % 3 === 1) writeFileSync(file, "");
        // the name of another memory
        else writeFileSync(file, readFileSync(path.join(folder, names[(i + 1) % names.length]!)));
    }
    t.is(await cached(), 0);
    t.is(await cached(), 20 * segmentSize);
    t.true(readdirSync(folder).includes("notes.txt"));
});

test("a file under the name of another memory is removed, named and never answered from", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    const folder = temporaryFolder(t);
    const other = textIds(book.length, vocab, 9) as Token[];
    const warnings: string[] = [];
    const fill = async (prompt: Token[]) => {
        const onWarning = ({ message }: Error) => void warnings.push(message);
        const store = await ArmtMemoryStore.open({ folder, checkpointInterval: 1, onWarning });
        const cached = await withSequence(model, {}, async (sequence) => {
            const { cachedTokens } = await store.prefill(sequence, prompt);
            const close = { within: 1e-4, rowLength: vocab, what: `${cachedTokens} cached tokens:` };
            assertClose(t, await readLogits(sequence, probe), await truth(model, {}, prompt), close);
            return cachedTokens;
        });
        await store.dispose();
        return cached;
    };
    const files = () => new Set(readdirSync(folder).map((name) => path.join(folder, name)));
    t.is(await fill(book), 0);
    const own = files();
    t.is(await fill(other), 0);
    const byLength = new Map<number, string>();
    for (const file of own) byLength.set((await ArmtSnapshot.inspect(file)).tokensRead, file);
    // as many tokens, the same model, the same options and a right checksum
    const swapped: string[] = [];
    for (const file of files()) {
        if (own.has(file)) continue;
        const { tokensRead, storeKey } = await ArmtSnapshot.inspect(file);
        t.is(`${storeKey}.armt`, path.basename(file));
        copyFileSync(byLength.get(tokensRead)!, file);
        swapped.push(file);
    }
    t.true(swapped.length >= 5);
    t.is(await fill(other), 0);
    t.is(warnings.length, swapped.length);
    for (const file of swapped) {
        const about = warnings.filter((message) => message.includes(file));
        t.is(about.length, 1);
        t.regex(about[0]!, /^cannot load .*: it holds another memory than its name says, so it is removed/);
    }
    // they were written again
    t.is(await fill(other), 20 * segmentSize);
    t.is(await fill(book), 20 * segmentSize);
    // files of a version that wrote no key
    const longest = byLength.get(20 * segmentSize)!;
    const { header, ...rest } = (await ArmtSnapshot.load(longest)).parts;
    await writeSnapshotFile(longest, { header: { ...header, storeKey: undefined }, ...rest });
    warnings.length = 0;
    t.is(await fill(book), 19 * segmentSize);
    t.regex(warnings.join(), /^cannot load .*: it does not say which memory it holds, so it is removed/);
    t.is(await fill(book), 20 * segmentSize);
});

test("a memory that is larger than the limit is not kept, and the others stay", async (t) => {
    const snapshotOf = async (layers: number) => {
        const { model } = await loadTiny(t, { segmentSize, vocab, layers });
        return await withSequence(model, {}, async (sequence) => {
            await sequence.evaluateWithoutGeneratingNewTokens(book);
            return await sequence.armt!.snapshot();
        });
    };
    const [small, large] = [await snapshotOf(1), await snapshotOf(4)];
    const folder = await SnapshotFolder.open(temporaryFolder(t), large.bytes - 1);
    await folder.write("0".repeat(64), small);
    await t.throwsAsync(folder.write("1".repeat(64), large), {
        name: "ArmtError",
        message: /a memory of \d+ bytes is not kept .* the limit \(maxBytes\) is \d+ bytes/
    });
    t.deepEqual([...(await folder.list())], ["0".repeat(64)]);
});

test("a memory of a newer version, or one that cannot be read now, stays in the folder", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    const folder = temporaryFolder(t);
    const fill = async () => {
        const store = await ArmtMemoryStore.open({ folder, checkpointInterval: 1 });
        const prefill = await withSequence(model, {}, (sequence) => store.prefill(sequence, book));
        await store.dispose();
        return prefill.cachedTokens;
    };
    await fill();
    const files = readdirSync(folder).map((name) => path.join(folder, name));
    const newer = files.map((file) => {
        const bytes = readFileSync(file);
        bytes.writeUInt32LE(7, 8);
        writeFileSync(file, bytes);
        return bytes;
    });
    t.is(await fill(), 0);
    for (const [i, file] of files.entries()) t.deepEqual(readFileSync(file), newer[i]);
});

test("temporary files of a killed process are removed after a while, and not before", async (t) => {
    const folder = temporaryFolder(t);
    for (const name of [".old.armt.1-ab.tmp", ".new.armt.2-cd.tmp"]) writeFileSync(path.join(folder, name), "half");
    utimesSync(path.join(folder, ".old.armt.1-ab.tmp"), 1000, 1000);
    await openStore(t, { folder });
    t.deepEqual(readdirSync(folder), [".new.armt.2-cd.tmp"]);
});

test("the folder stays within its limit, and what was used last stays", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    const folder = temporaryFolder(t);
    const one = await withSequence(model, {}, async (sequence) => {
        await sequence.evaluateWithoutGeneratingNewTokens(book);
        return (await sequence.armt!.save(path.join(temporaryFolder(t), "a"), { closedOnly: true, tokenIds: false }))
            .bytes;
    });
    const maxBytes = 12 * one;
    const store = await openStore(t, { folder, maxBytes, maxMemoryBytes: 0 });
    const read = (ids: Token[]) => withSequence(model, {}, (sequence) => store.prefill(sequence, ids));
    await read(book);
    await store.flush();
    const [least, ...others] = readdirSync(folder);
    t.true(others.length >= 5);
    for (const [i, name] of others.entries()) utimesSync(path.join(folder, name), 1000 + i, 1000 + i);
    utimesSync(path.join(folder, least!), 10, 10);
    for (let seed = 10; seed < 14; seed++) {
        await read(textIds(40, vocab, seed) as Token[]);
        await store.flush();
        const { bytes, entries } = await store.measureFolder();
        t.true(bytes <= maxBytes, `${bytes} of ${maxBytes}`);
        t.true(entries > 0);
    }
    t.false(readdirSync(folder).includes(least!));
    t.is(store.stats.memoryBytes, 0);
    t.is(store.stats.failedWrites, 0);
});

test("memory stays within its limit", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    const roomy = await openStore(t);
    await withSequence(model, {}, (sequence) => roomy.prefill(sequence, book));
    const { memoryBytes, memoryEntries } = roomy.stats;
    const each = memoryBytes / memoryEntries;
    const small = await openStore(t, { maxMemoryBytes: 3 * each });
    await withSequence(model, {}, (sequence) => small.prefill(sequence, book));
    t.is(small.stats.memoryEntries, 3);
    const again = await withSequence(model, {}, (sequence) => small.prefill(sequence, book));
    t.is(again.cachedTokens, 20 * segmentSize);
    await roomy.clear();
    t.is(roomy.stats.memoryEntries, 0);
});

fullDiskTest("a store that cannot write reports it, and the evaluation continues", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    await withFullDisk(t, 256 * 1024, async (disk) => {
        const warnings: string[] = [];
        const store = await openStore(t, {
            folder: path.join(disk, "store"),
            onWarning: ({ message }) => warnings.push(message)
        });
        fillDisk(disk);
        await withSequence(model, {}, async (sequence) => {
            await store.prefill(sequence, book);
            await store.flush();
            t.true(store.stats.failedWrites > 0);
            t.is(warnings.length, store.stats.failedWrites);
            t.regex(warnings[0]!, /^cannot write .*: no space left on the device$/);
            t.is(sequence.armt!.tokens, book.length);
            // what is in memory is still used
            await sequence.clearHistory();
            t.is((await store.prefill(sequence, book)).cachedTokens, 20 * segmentSize);
        });
        t.deepEqual(
            readdirSync(path.join(disk, "store")).filter((name) => name.endsWith(".tmp")),
            []
        );
    });
});

test("a folder that cannot be created is refused", async (t) => {
    const file = path.join(temporaryFolder(t), "file");
    writeFileSync(file, "");
    chmodSync(file, 0o400);
    await t.throwsAsync(ArmtMemoryStore.open({ folder: path.join(file, "store") }), {
        instanceOf: ArmtError,
        message: /^cannot keep memories in .*: a part of the path is not a folder$/
    });
    for (const option of ["maxBytes", "maxMemoryBytes", "checkpointInterval"])
        await t.throwsAsync(ArmtMemoryStore.open({ [option]: -1 }), {
            instanceOf: RangeError,
            message: new RegExp(option)
        });
});

test("checkpoints are dense at both ends, and a million tokens leave about 20", (t) => {
    const ends = (segments: number, size: number) => Array.from({ length: segments }, (_, i) => (i + 1) * size);
    t.deepEqual(chooseCheckpoints(ends(20, 1), 1), [1, 2, 4, 5, 8, 13, 16, 17, 19, 20]);
    t.deepEqual(chooseCheckpoints([], 1), []);
    t.deepEqual(chooseCheckpoints([7], 512), [7]);
    for (const size of [512, 1024, 2048]) {
        const chosen = chooseCheckpoints(ends(Math.floor(1e6 / size), size), 512);
        t.true(chosen.length >= 15 && chosen.length <= 24, `${chosen.length} checkpoints of segments of ${size}`);
    }
    const apart = chooseCheckpoints(ends(1000, 16), 512);
    apart.slice(1).forEach((end, i) => {
        t.true(end - apart[i]! >= 512);
    });
});

test("checkpoints are kept where they are wanted, and counted", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    const store = await openStore(t, { checkpointInterval: 1e9 });
    const end = 13 * segmentSize;
    const other = [...book.slice(0, end + 3), ...textIds(5, vocab, 8)] as Token[];
    await withSequence(model, {}, async (sequence) => {
        const { keptTokens } = await store.prefill(sequence, book, { checkpointsAt: [end + 3, 2] });
        t.true(keptTokens >= end && keptTokens < book.length);
    });
    await withSequence(model, {}, async (sequence) => {
        t.like(await store.prefill(sequence, other), { cachedTokens: end, readTokens: other.length - end });
    });
});

test("prefill continues from what the sequence holds, and after a rewind from the store", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    const store = await openStore(t);
    await withSequence(model, {}, async (sequence) => {
        await store.prefill(sequence, book);
        const longer = [...book, ...textIds(30, vocab, 7)] as Token[];
        t.like(await store.prefill(sequence, longer), { cachedTokens: book.length, readTokens: 30 });
        // back within a closed segment: the nearest checkpoint before it, not the start
        const back = [...book.slice(0, 17 * segmentSize + 2), ...textIds(5, vocab, 8)] as Token[];
        t.like(await store.prefill(sequence, back), { cachedTokens: 17 * segmentSize, readTokens: 7 });
        const close = { within: 1e-5, rowLength: vocab, what: "rewound:" };
        assertClose(t, await readLogits(sequence, probe), await truth(model, {}, back), close);
    });
});

test("an aborted prefill leaves the sequence at a known token, and the next one continues", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    const store = await openStore(t);
    const long = textIds(400 * segmentSize, vocab) as Token[];
    await withSequence(model, { batchSize: 64 }, async (sequence) => {
        const controller = new AbortController();
        const { signal } = controller;
        const reading = store.prefill(sequence, long, { signal });
        await until(() => sequence.armt!.tokens > 0, "some tokens are read");
        controller.abort(new Error("enough"));
        await t.throwsAsync(reading, { message: "enough" });
        const { tokens } = sequence.armt!;
        t.is(sequence.nextTokenIndex, tokens);
        t.true(tokens < long.length);
        t.deepEqual(sequence.contextTokens, long.slice(0, tokens));
        t.true((await store.prefill(sequence, long)).cachedTokens >= tokens);
        const close = { within: 1e-5, rowLength: vocab, what: "after an abort:" };
        assertClose(t, await readLogits(sequence, probe), await truth(model, {}, long), close);
    });
});

test("an abort takes effect at once, at any moment", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    const store = await openStore(t);
    const long = textIds(400 * segmentSize, vocab) as Token[];
    await withSequence(model, { batchSize: 64 }, async (sequence) => {
        for (const ticks of [0, 1, 2, 3, 5, 8, 13]) {
            const readings = [
                (signal: AbortSignal) => store.prefill(sequence, long, { signal }),
                (signal: AbortSignal) => sequence.armt!.feed([long], { signal })
            ];
            for (const read of readings) {
                const controller = new AbortController();
                const reading = read(controller.signal);
                reading.catch(() => {});
                for (let i = 0; i < ticks; i++) await null;
                controller.abort(new Error("enough"));
                await t.throwsAsync(reading, { message: "enough" }, `${ticks} ticks`);
                t.true(sequence.armt!.tokens < long.length, `${ticks} ticks: ${sequence.armt!.tokens}`);
                await sequence.clearHistory();
            }
        }
    });
});

test("sequences that read at the same time share what they find", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    const store = await openStore(t, { folder: temporaryFolder(t) });
    await withContext(model, { sequences: 3, memoryStore: store, batchSize: 20 }, async (context) => {
        const prompts = [
            book,
            [...book.slice(0, 90), ...textIds(50, vocab, 9)],
            [...textIds(60, vocab, 10)]
        ] as Token[][];
        for (let round = 0; round < 2; round++) {
            const sequences = prompts.map(() => context.getSequence());
            await Promise.all(sequences.map((sequence, i) => sequence.evaluateWithoutGeneratingNewTokens(prompts[i]!)));
            for (const [i, sequence] of sequences.entries()) {
                const close = { within: 1e-4, rowLength: vocab, what: `prompt ${i}:` };
                assertClose(t, await readLogits(sequence, probe), await truth(model, {}, prompts[i]!), close);
                if (round === 1) t.true(sequence.armt!.cachedTokens >= 7 * segmentSize);
                await sequence.dispose();
            }
        }
    });
});

test("a disposed store refuses every call, and contexts work without it", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab });
    const store = await ArmtMemoryStore.open();
    await store.dispose();
    await withSequence(model, { memoryStore: store }, async (sequence) => {
        await sequence.evaluateWithoutGeneratingNewTokens(book);
        t.is(sequence.armt!.tokens, book.length);
        await t.throwsAsync(store.prefill(sequence, book), { instanceOf: DisposedError });
    });
    t.is(store.stats.misses, 0);
});
