// A CPU's extra buffer types (AMX, repacking) hold matrices in the order that its fastest kernels want. Which types of
// weights they take depends on the CPU, so every case loads its model with them and without them, and asks ggml which
// of the two should differ.

import { readFileSync, statSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { getLlama, type Llama, LlamaLogLevel, type LlamaModel, type Token } from "../../plugin/index.js";
import { loadEngine } from "../../plugin/native/library.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import type { MemoryType, QuantizeTarget } from "../../src/convert/quantize/mixtures.js";
import { quantizeModel } from "../../src/convert/quantize/quantize.js";
import { openGguf } from "../../src/formats/gguf/reader.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import type { TinyOptions } from "../../src/tiny/options.js";
import { readCheckpoint } from "../helpers/checkpoint.js";
import { generateGreedy, readLogits, withContext, withSequence } from "../helpers/contexts.js";
import { testWith } from "../helpers/needs.js";
import { runReference } from "../helpers/reference.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";
import { until } from "../helpers/until.js";

const vocab = 96;
const layers = 3;
const sizes = { vocab, layers, hidden: 256, heads: 4, kvHeads: 2, segmentSize: 16 };
const ids = textIds(16 * 4 + 5, vocab);

const cpu = os.cpus()[0]!.model;
const variable = "ARMT_CPU_EXTRA_BUFFERS";
const given = process.env[variable];

let log = "";
let llama: Llama;

test.before(async () => {
    llama = await getLlama({
        gpu: false,
        maxThreads: 1,
        logLevel: LlamaLogLevel.info,
        logger: (_, message) => {
            log += message;
        }
    });
});

async function load(t: ExecutionContext, modelPath: string, extra: boolean): Promise<LlamaModel> {
    log = "";
    if (extra) delete process.env[variable];
    else process.env[variable] = "0";
    try {
        const model = await llama.loadModel({ modelPath });
        t.teardown(() => model.dispose());
        return model;
    } finally {
        if (given === undefined) delete process.env[variable];
        else process.env[variable] = given;
    }
}

/** The types of buffers in which ggml said it put the weights. */
async function buffersOfWeights(model: LlamaModel): Promise<string[]> {
    // log lines arrive in later turns, in their order: what a context's creation logs comes after the weights
    const context = await model.createContext({ threads: 1 });
    await until(() => /compute buffer size/.test(log), "the buffers of the context are logged");
    await context.dispose();
    return [...log.matchAll(/(\S+) model buffer size/g)].map(([, name]) => name!).sort();
}

/**
 * The extra buffer types that hold a layer's matrices, by ggml's answer to the addon: of those that take a matrix, the
 * first, as in llama.cpp. AMX comes before repacking.
 */
async function expectedExtraBuffers(file: string): Promise<string[]> {
    const { addon } = await loadEngine(false);
    const gguf = await openGguf(file);
    const names = new Set<string>();
    try {
        for (const [name, { type, shape }] of gguf.tensors) {
            if (!/^blk\..*weight$/.test(name) || shape.length !== 3) continue;
            const [k = 0, n = 0] = shape;
            const sizes = { k, n, rows: 512, batch: 1, copies: 1, repeats: 1, threads: 1 };
            const { buffers } = await addon.measureProducts({ type: type.id, ...sizes, gpu: false });
            const extra = buffers.find(({ buffer }) => buffer !== "CPU");
            if (extra !== undefined) names.add(extra.buffer);
        }
    } finally {
        await gguf.close();
    }
    return [...names].sort();
}

async function makeModel(
    t: ExecutionContext,
    type: QuantizeTarget,
    memoryType?: MemoryType,
    options: TinyOptions = {}
) {
    const folder = temporaryFolder(t);
    const at = (name: string) => path.join(folder, name);
    await makeTinyCheckpoint(at("checkpoint"), { ...sizes, ...options });
    await convertCheckpoint({ checkpoint: at("checkpoint"), output: at("f16.gguf"), outType: "f16" });
    const file = at(`${type}.gguf`);
    if (type !== "f16") await quantizeModel({ input: at("f16.gguf"), output: file, mixture: type, memoryType });
    return { file, reference: await readCheckpoint(at("checkpoint")) };
}

/** Root mean square of the differences. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
    return Math.sqrt(sum / a.length);
}

const cases: readonly { type: QuantizeTarget; memoryType?: MemoryType; options?: TinyOptions; name?: string }[] = [
    { type: "f16" },
    { type: "bf16" },
    { type: "q8_0" },
    { type: "q6_k" },
    { type: "q4_k_m" },
    { type: "q4_0", memoryType: "q4_0", name: "q4_0, the memory's matrices too" },
    // far more matrices than the file has tensors
    { type: "q4_0", memoryType: "q4_0", options: { layers: 12 }, name: "q4_0, twelve layers" },
    // a stack of one layer is a matrix of its own in the file already
    { type: "q4_0", options: { layers: 1 }, name: "q4_0, one layer" },
    { type: "q4_0", options: { family: "gpt2", kvHeads: 4 }, name: "q4_0, biases and no gate" }
];

for (const { type, memoryType, options, name = type } of cases) {
    test.serial(`${name}: matrices in extra buffer types give the logits that stacks give`, async (t) => {
        const { file, reference } = await makeModel(t, type, memoryType, options);
        const wanted = await expectedExtraBuffers(file);
        t.log(`${cpu}: ${wanted.join(", ") || "no extra buffer type takes these weights"}`);

        const plain = await load(t, file, false);
        t.deepEqual(await buffersOfWeights(plain), ["CPU_Mapped"]);
        const packed = await load(t, file, true);
        t.deepEqual(await buffersOfWeights(packed), ["CPU_Mapped", ...wanted].sort());

        const read = (model: LlamaModel, options: Parameters<typeof withSequence>[1]) =>
            withSequence(model, options, (sequence) => readLogits(sequence, ids));
        const expected = await read(plain, { schedule: "sequential" });
        const exact = runReference(reference, ids).logits;
        const cost = distance(expected, exact);
        for (const schedule of ["sequential", "diagonal"] as const) {
            // a batch of one token is one row, which stacks multiply with the halves of a matrix
            for (const batchSize of [1, 7, 512]) {
                const logits = await read(packed, { schedule, batchSize, maxCells: layers });
                const what = `${schedule}, batches of ${batchSize}`;
                const difference = distance(logits, expected);
                const error = distance(logits, exact);
                // kernels quantize their input differently, so the logits differ, by less than the weights' type costs
                t.true(difference <= cost, `${what}: ${difference} from stacks, whose distance to float64 is ${cost}`);
                t.true(error <= 1.1 * cost, `${what}: ${error} from float64, stacks ${cost}`);
            }
        }
    });
}

test.serial("a CPU computes packed layers in sequence, and stacks as many at once as maxCells says", async (t) => {
    const { file } = await makeModel(t, "q4_0");
    const wanted = await expectedExtraBuffers(file);
    t.log(`${cpu}: ${wanted.join(", ") || "no extra buffer type takes these weights"}`);
    for (const extra of [false, true]) {
        const model = await load(t, file, extra);
        await withContext(model, { schedule: "diagonal", maxCells: layers }, async (context) => {
            const isPacked = extra && wanted.length > 0;
            t.is(context.armt!.maxCells, isPacked ? 1 : layers);
            t.is(context.armt!.schedule, isPacked ? "sequential" : "diagonal");
        });
    }
});

test.serial("several sequences share the products of packed layers", async (t) => {
    const { file } = await makeModel(t, "q4_0");
    const model = await load(t, file, true);
    t.log(cpu);
    const prompts = [ids, ids.slice(3), ids.slice(0, 20)];
    const alone: number[][] = [];
    for (const prompt of prompts)
        alone.push(await withSequence(model, {}, (sequence) => generateGreedy(sequence, prompt as Token[], 8)));
    await withContext(model, { sequences: prompts.length }, async (context) => {
        const together = prompts.map((prompt) => generateGreedy(context.getSequence(), prompt as Token[], 8));
        t.deepEqual(await Promise.all(together), alone);
    });
});

test.serial("weights in extra buffer types are checked and read as others are, mapped or not", async (t) => {
    const { file } = await makeModel(t, "q4_k_m");
    const expected = await withSequence(await load(t, file, true), {}, (sequence) => readLogits(sequence, ids));
    t.log(cpu);
    const model = await llama.loadModel({ modelPath: file, useMmap: false, checkTensors: true });
    t.teardown(() => model.dispose());
    t.deepEqual(await withSequence(model, {}, (sequence) => readLogits(sequence, ids)), expected);
});

/** Pages of a mapped file in this process. Unit: bytes. */
function residentBytes(file: string): number {
    let sum = 0;
    let isFile = false;
    for (const line of readFileSync("/proc/self/smaps", "utf8").split("\n")) {
        if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) isFile = line.endsWith(` ${file}`);
        else if (isFile && line.startsWith("Rss:")) sum += 1024 * Number(/\d+/.exec(line)![0]);
    }
    return sum;
}

const linuxTest = testWith({ needs: "Linux", available: process.platform === "linux", inCi: false });

linuxTest("the file's copy of packed matrices does not stay in the process", async (t) => {
    const { file } = await makeModel(t, "q4_0");
    const wanted = await expectedExtraBuffers(file);
    t.log(`${cpu}: ${wanted.join(", ") || "no extra buffer type takes these weights"}`);
    const { size } = statSync(file);
    await load(t, file, false);
    const stacks = residentBytes(file);
    t.true(stacks > 0.9 * size, `${stacks} of ${size} bytes with stacks`);
    if (wanted.length === 0) return;
    await load(t, file, true);
    const packed = residentBytes(file) - stacks;
    t.true(packed < 0.5 * size, `${packed} of ${size} bytes with packed matrices`);
});

test.after.always(() => llama.dispose());
