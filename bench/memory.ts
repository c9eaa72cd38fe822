// `npm run bench:memory`: what storing the memory of a long text costs and gains, compared with llama.cpp's state of
// the same base model after the same text.

import { mkdir, mkdtemp, rm, stat } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import {
    ArmtMemoryStore,
    getLlama,
    type Llama,
    type LlamaContext,
    type LlamaContextSequence,
    LlamaLogLevel,
    type Token
} from "../plugin/index.js";
import { availableCores } from "../plugin/native/threads.js";
import { describeMachine } from "../src/bench/machine.js";
import { writePlainGguf } from "../src/bench/plain-gguf.js";
import { summarize } from "../src/bench/statistics.js";
import { convertCheckpoint } from "../src/convert/convert.js";
import { makeTinyCheckpoint } from "../src/tiny/checkpoint.js";
import { resolveTinyOptions, type TinyConfig } from "../src/tiny/options.js";
import { listTensors } from "../src/tiny/weights.js";
import { writeAtomically } from "../src/util/atomic-file.js";
import { seededRandom } from "../src/util/random.js";

const args = await yargs(hideBin(process.argv))
    .usage("Measures snapshots, the memory store and llama.cpp's state files on one text, with random weights.")
    .options({
        tokens: { type: "number", default: 131_072, describe: "Tokens of the text" },
        repeats: { type: "number", default: 7, describe: "Times that a file is saved and loaded" },
        out: { type: "string", default: "bench/results", describe: "Folder for the JSON file" }
    })
    .strict()
    .parse();

/** A small model, since the time of stock's attention grows with the square of the text's length. */
const readModel = resolveTinyOptions({
    layers: 2,
    hidden: 64,
    heads: 1,
    kvHeads: 1,
    ffn: 256,
    vocab: 4096,
    segmentSize: 512,
    memTokens: 16,
    dMem: 64,
    dtype: "F16"
});

/**
 * A small model with a memory as large as in the published checkpoints of Llama-3.2-1B: 16 layers with a hidden size of
 * 2048 and keys of 64.
 */
const wideModel = resolveTinyOptions({
    layers: 16,
    hidden: 2048,
    heads: 1,
    kvHeads: 1,
    headDim: 64,
    ffn: 32,
    vocab: 512,
    segmentSize: 64,
    memTokens: 16,
    dMem: 64,
    dtype: "F16"
});

const threads = availableCores();
const question = 16;

/** Runs `work`, and returns its result and the time that it took. Unit: milliseconds. */
async function timed<T>(work: () => Promise<T>): Promise<{ ms: number; value: T }> {
    const start = performance.now();
    const value = await work();
    return { ms: performance.now() - start, value };
}

function randomIds(count: number, vocab: number, seed: number): Token[] {
    const random = seededRandom(seed, "bench");
    return Array.from({ length: count }, () => Math.floor(random() * vocab)) as Token[];
}

async function firstToken(sequence: LlamaContextSequence, ids: Token[]): Promise<void> {
    for await (const _ of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) return;
}

async function makeModel(folder: string, name: string, config: TinyConfig): Promise<string> {
    const checkpoint = path.join(folder, name);
    const armt = path.join(folder, `${name}.gguf`);
    await makeTinyCheckpoint(checkpoint, config);
    await convertCheckpoint({ checkpoint, output: armt, outType: "f16" });
    return armt;
}

/** Saves and loads the state of a sequence several times. */
async function saveAndLoad(
    sequence: LlamaContextSequence,
    file: string,
    { save, load }: { save: () => Promise<unknown>; load: () => Promise<unknown> }
) {
    const saves: number[] = [];
    const loads: number[] = [];
    const held = sequence.nextTokenIndex;
    for (let i = 0; i < args.repeats; i++) {
        saves.push((await timed(save)).ms);
        await sequence.clearHistory();
        loads.push((await timed(load)).ms);
        if (sequence.nextTokenIndex !== held) throw new Error("a load restored less than was saved");
    }
    return { bytes: (await stat(file)).size, saveMs: summarize(saves), loadMs: summarize(loads) };
}

async function withContext<T>(
    llama: Llama,
    modelPath: string,
    options: object,
    work: (context: LlamaContext) => Promise<T>
): Promise<T> {
    const model = await llama.loadModel({ modelPath });
    const context = await model.createContext({ batchSize: 512, threads, ...options });
    try {
        return await work(context);
    } finally {
        await model.dispose();
    }
}

async function measureArmt(llama: Llama, modelPath: string, folder: string) {
    const prompt = randomIds(args.tokens + question, readModel.vocab, 1);
    const text = prompt.slice(0, args.tokens);
    const storeFolder = path.join(folder, "store");
    const readWithStore = async (armt: object) =>
        withContext(
            llama,
            modelPath,
            { armt },
            async (context) => (await timed(() => firstToken(context.getSequence(), prompt))).ms
        );

    const withoutStoreMs = await readWithStore({});
    const store = await ArmtMemoryStore.open({ folder: storeFolder });
    const fillingStoreMs = await readWithStore({ memoryStore: store });
    await store.dispose();
    const folderSize = await store.measureFolder();
    // reopen the store, so that memories come from the folder
    const next = await ArmtMemoryStore.open({ folder: storeFolder });
    const storedPrefixMs = await readWithStore({ memoryStore: next });
    const { cachedTokens } = next.stats;
    await next.dispose();

    const snapshot = await withContext(llama, modelPath, {}, async (context) => {
        const sequence = context.getSequence();
        await sequence.armt!.feed([text]);
        const file = path.join(folder, "text.armt");
        const armt = sequence.armt!;
        const withIds = await saveAndLoad(sequence, file, { save: () => armt.save(file), load: () => armt.load(file) });
        const withoutIds = await armt.save(file, { tokenIds: false });
        const { ms } = await timed(() => firstToken(sequence, prompt.slice(args.tokens)));
        return { ...withIds, bytesWithoutIds: withoutIds.bytes, firstTokenAfterLoadMs: ms };
    });
    return { withoutStoreMs, fillingStoreMs, storedPrefixMs, cachedTokens, checkpoints: folderSize, snapshot };
}

async function measureStock(llama: Llama, modelPath: string, folder: string) {
    const prompt = randomIds(args.tokens + question, readModel.vocab, 1);
    const contextSize = args.tokens + 1024;
    return await withContext(llama, modelPath, { contextSize }, async (context) => {
        const sequence = context.getSequence();
        const read = await timed(() => firstToken(sequence, prompt));
        await sequence.eraseContextTokenRanges([{ start: args.tokens, end: sequence.nextTokenIndex }]);
        const file = path.join(folder, "text.state");
        const state = await saveAndLoad(sequence, file, {
            save: () => sequence.saveStateToFile(file),
            load: () => sequence.loadStateFromFile(file, { acceptRisk: true })
        });
        const { ms } = await timed(() => firstToken(sequence, prompt.slice(args.tokens)));
        return { firstTokenMs: read.ms, state: { ...state, firstTokenAfterLoadMs: ms } };
    });
}

async function measureWide(llama: Llama, modelPath: string, folder: string) {
    return await withContext(llama, modelPath, {}, async (context) => {
        const sequence = context.getSequence();
        await sequence.armt!.feed([randomIds(150, wideModel.vocab, 2)]);
        const file = path.join(folder, "wide");
        const armt = sequence.armt!;
        return await saveAndLoad(sequence, file, { save: () => armt.save(file), load: () => armt.load(file) });
    });
}

const parameters = (config: TinyConfig) =>
    listTensors(config).reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0);

const folder = await mkdtemp(path.join(os.tmpdir(), "armt-bench-"));
try {
    const armt = await makeModel(folder, "read", readModel);
    const plain = path.join(folder, "plain.gguf");
    await writePlainGguf(armt, plain);
    const wide = await makeModel(folder, "wide", wideModel);
    const llama = await getLlama({ gpu: false, maxThreads: threads, logLevel: LlamaLogLevel.error });
    const date = new Date().toISOString();
    const result = {
        date,
        command: ["node", path.relative(process.cwd(), process.argv[1]!), ...process.argv.slice(2)].join(" "),
        machine: await describeMachine(),
        threads,
        unit: "milliseconds and bytes; a first token is that after the text and a question of 16 tokens",
        tokens: args.tokens,
        model: { ...readModel, parameters: parameters(readModel) },
        wideModel: { ...wideModel, parameters: parameters(wideModel) },
        wide: await measureWide(llama, wide, folder),
        armt: await measureArmt(llama, armt, folder),
        stock: await measureStock(llama, plain, folder)
    };
    await llama.dispose();
    report(result);
    await mkdir(args.out, { recursive: true });
    const file = path.join(args.out, `memory-${date.slice(0, 10)}.json`);
    await writeAtomically(file, {}, (target) => target.write(Buffer.from(`${JSON.stringify(result, undefined, 4)}\n`)));
    console.log(`written to ${file}`);
} finally {
    await rm(folder, { recursive: true, force: true });
}

type Saved = Awaited<ReturnType<typeof saveAndLoad>>;

function report({
    tokens,
    armt,
    stock,
    wide
}: {
    tokens: number;
    armt: Awaited<ReturnType<typeof measureArmt>>;
    stock: Awaited<ReturnType<typeof measureStock>>;
    wide: Saved;
}): void {
    const row = (what: string, { bytes, saveMs, loadMs }: Saved, first?: number, stored?: number) => ({
        what,
        bytes,
        "save ms": saveMs.median.toFixed(1),
        "load ms": loadMs.median.toFixed(1),
        "first token ms": first?.toFixed(0) ?? "",
        "with the stored text ms": stored?.toFixed(0) ?? ""
    });
    console.table([
        row(`ARMT, ${tokens} tokens`, armt.snapshot, armt.withoutStoreMs, armt.storedPrefixMs),
        row(
            `stock, ${tokens} tokens`,
            stock.state,
            stock.firstTokenMs,
            stock.state.loadMs.median + stock.state.firstTokenAfterLoadMs
        ),
        row("ARMT, memory of the 1B shape", wide)
    ]);
    console.log(
        `reading while checkpoints are taken: ${armt.fillingStoreMs.toFixed(0)} ms; ${armt.checkpoints.entries} ` +
            `checkpoints of ${armt.checkpoints.bytes} bytes together; ${armt.cachedTokens} tokens were remembered`
    );
}
