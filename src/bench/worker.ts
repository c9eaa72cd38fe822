import { readFileSync } from "node:fs";
import process from "node:process";
import type { Llama, LlamaContext, LlamaContextSequence, Token } from "node-llama-cpp";
import type { ArmtContextOptions, ArmtSchedule } from "../../plugin/index.js";
import type { NativeProduct, NativeProductTimes } from "../../plugin/native/addon.js";
import { seededRandom } from "../util/random.js";

/** Options of a worker process, passed as JSON in its first argument. */
export type WorkerOptions = {
    gpu: "cuda" | "vulkan" | "metal" | false;
    threads: number;
    /** `published` loads node-llama-cpp as published, without the engine. */
    library: "published" | "engine";
    /** Without it, the worker loads no model and measures only matrix products. */
    model?: {
        path: string;
        vocab: number;
        /** Context size of a sequence of a plain model; an ARMT model has no limit. Unit: tokens. */
        contextSize?: number;
        batchSize: number;
        sequences: number;
        /** Context options of an ARMT model. */
        armt?: Pick<ArmtContextOptions, "maxCells" | "textsPerLayer" | "precision" | "fp8Products"> & {
            schedule: ArmtSchedule;
            segmentSize: number;
        };
    };
};

/** Requests to a worker, one at a time. */
export type WorkerRequest =
    /** Read a random prompt. */
    | { kind: "prompt"; tokens: number }
    /** Generate `count` tokens in each of `sequences`, each after a random prompt. */
    | { kind: "decode"; prompt: number; count: number; sequences: number }
    /** Read a random text of each length, each in its own sequence: one after the other, or all at once. */
    | { kind: "documents"; lengths: number[]; together: boolean }
    | { kind: "products"; product: NativeProduct };

/** Replies of a worker: first `ready`, then one for each request. */
export type WorkerReply =
    | { kind: "ready"; device: string; threads: number; schedule?: ArmtSchedule }
    | { kind: "prompt"; milliseconds: number; processorMilliseconds: number; graphs?: GraphCounts; memory: MemoryUse }
    | { kind: "decode"; milliseconds: number; processorMilliseconds: number; memory: MemoryUse }
    | {
          kind: "documents";
          milliseconds: number;
          processorMilliseconds: number;
          graphs?: GraphCounts;
          /** The context's. */
          textsPerLayer: number;
          memory: MemoryUse;
      }
    | { kind: "products"; times: NativeProductTimes }
    | { kind: "error"; message: string };

/** Numbers of graph evaluations for a prompt: all, reused and replayed. */
export type GraphCounts = {
    graphs: number;
    reused: number;
    replayed: number;
    /** With FP8: the products that were computed in it, and those that were left in 16 bits. */
    fp8?: { computed: number; left: number };
};

/** Memory that a worker uses. Unit: bytes. */
export type MemoryUse = {
    /** Largest resident set of the process so far. */
    peakResident: number;
    /** Increase in device memory use since before the model was loaded; only for a GPU. */
    device?: number;
};

const options = JSON.parse(process.argv[2]!) as WorkerOptions;
const random = seededRandom(1, "prompt");
let llama: Llama | undefined;
let context: LlamaContext | undefined;
let deviceBefore = 0;
/** All sequences of the context. Prompts share them, since their number is fixed. */
const sequences: LlamaContextSequence[] = [];

// the parent decides when to stop: an interrupt must not lose results
process.on("SIGINT", () => {});
process.on("disconnect", () => void end());
process.on("message", (request: WorkerRequest) => {
    answer(request).then(reply, (error: unknown) => reply({ kind: "error", message: describe(error) }));
});
start().then(reply, (error: unknown) => reply({ kind: "error", message: describe(error) }));

async function start(): Promise<WorkerReply> {
    const { gpu, threads, library, model } = options;
    const { getLlama, LlamaLogLevel } = await (library === "published"
        ? import("node-llama-cpp")
        : import("../../plugin/index.js"));
    llama = await getLlama({
        gpu,
        build: "never",
        maxThreads: threads,
        progressLogs: false,
        logLevel: LlamaLogLevel.error
    });
    if (llama.gpu !== gpu)
        throw new Error(`node-llama-cpp runs on ${llama.gpu || "the CPU"}, not on ${gpu || "the CPU"}`);
    const [device = ""] = gpu === false ? [] : await llama.getGpuDeviceNames();
    if (model !== undefined) {
        deviceBefore = gpu === false ? 0 : (await llama.getVramState()).used;
        const { path, contextSize, batchSize, armt } = model;
        const loaded = await llama.loadModel({ modelPath: path, gpuLayers: gpu === false ? undefined : "max" });
        context = await loaded.createContext({
            contextSize,
            batchSize,
            threads,
            sequences: model.sequences,
            ...(armt === undefined ? {} : { armt })
        });
        for (let i = 0; i < model.sequences; i++) sequences.push(context.getSequence());
    }
    return { kind: "ready", device, threads, schedule: context?.armt?.schedule };
}

async function answer(request: WorkerRequest): Promise<WorkerReply> {
    if (request.kind === "products") {
        const { loadEngine } = await import("../../plugin/native/library.js");
        const { addon } = await loadEngine(options.gpu);
        return { kind: "products", times: await addon.measureProducts(request.product) };
    }
    if (request.kind === "documents") return await readDocuments(request.lengths, request.together);
    return request.kind === "prompt" ? await readPrompt(request.tokens) : await decode(request);
}

/**
 * Measures the time from the prompt to its first token, when the whole prompt has been read. The head computes logits
 * only for that token.
 */
async function readPrompt(tokens: number): Promise<WorkerReply> {
    const sequence = sequences[0]!;
    const ids = randomIds(tokens);
    await sequence.clearHistory();
    const before = countGraphs();
    const elapsed = startClocks();
    for await (const _ of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) break;
    const times = elapsed();
    return { kind: "prompt", ...times, graphs: graphsSince(before), memory: await measureMemory() };
}

/** Measures the time until every text has its first token. */
async function readDocuments(lengths: readonly number[], together: boolean): Promise<WorkerReply> {
    const texts = lengths.map(randomIds);
    for (const sequence of sequences) await sequence.clearHistory();
    const read = async (i: number) => {
        for await (const _ of sequences[i]!.evaluate(texts[i]!, { temperature: 0, yieldEogToken: true })) break;
    };
    const before = countGraphs();
    const elapsed = startClocks();
    if (together) await Promise.all(texts.map((_, i) => read(i)));
    else for (const i of texts.keys()) await read(i);
    const times = elapsed();
    const textsPerLayer = context?.armt?.textsPerLayer ?? 0;
    return {
        kind: "documents",
        ...times,
        graphs: graphsSince(before),
        textsPerLayer,
        memory: await measureMemory()
    };
}

function graphsSince(before: GraphCounts | undefined): GraphCounts | undefined {
    const after = countGraphs();
    if (before === undefined || after === undefined) return undefined;
    return {
        graphs: after.graphs - before.graphs,
        reused: after.reused - before.reused,
        replayed: after.replayed - before.replayed,
        ...(before.fp8 === undefined || after.fp8 === undefined
            ? {}
            : {
                  fp8: {
                      computed: after.fp8.computed - before.fp8.computed,
                      left: after.fp8.left - before.fp8.left
                  }
              })
    };
}

/** Time on the clock and processor time of all threads. The second does not grow if other programs interrupt. */
function startClocks(): () => { milliseconds: number; processorMilliseconds: number } {
    const start = performance.now();
    const usage = process.cpuUsage();
    return () => {
        const { user, system } = process.cpuUsage(usage);
        return { milliseconds: performance.now() - start, processorMilliseconds: (user + system) / 1000 };
    };
}

function countGraphs(): GraphCounts | undefined {
    const armt = context?.armt;
    if (armt === undefined) return undefined;
    return {
        graphs: armt.graphs,
        reused: armt.graphsReused,
        replayed: armt.graphsReplayed,
        ...(armt.precision === "fp8" ? { fp8: armt.fp8Counts } : {})
    };
}

async function decode({
    prompt,
    count,
    sequences: wanted
}: Extract<WorkerRequest, { kind: "decode" }>): Promise<WorkerReply> {
    const used = sequences.slice(0, wanted);
    for (const sequence of used) {
        await sequence.clearHistory();
        // generate one token: the engine does not compute an open segment before that
        for await (const _ of sequence.evaluate(randomIds(prompt), { temperature: 0, yieldEogToken: true })) break;
    }
    const [first] = randomIds(1);
    const elapsed = startClocks();
    await Promise.all(
        used.map(async (sequence) => {
            let left = count;
            for await (const _ of sequence.evaluate([first!], { temperature: 0, yieldEogToken: true }))
                if (--left <= 0) break;
        })
    );
    return { kind: "decode", ...elapsed(), memory: await measureMemory() };
}

function randomIds(count: number): Token[] {
    return Array.from({ length: count }, () => Math.floor(random() * options.model!.vocab)) as Token[];
}

async function measureMemory(): Promise<MemoryUse> {
    const memory: MemoryUse = { peakResident: peakResident() };
    if (options.gpu !== false) memory.device = Math.max(0, (await llama!.getVramState()).used - deviceBefore);
    return memory;
}

function peakResident(): number {
    try {
        // on Linux, getrusage starts from the parent's peak
        const [, kibibytes] = /^VmHWM:\s*(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
        if (kibibytes !== undefined) return Number(kibibytes) * 1024;
    } catch {
        // not Linux
    }
    return process.resourceUsage().maxRSS * 1024;
}

async function end(): Promise<void> {
    await llama?.dispose();
    process.exit();
}

function describe(error: unknown): string {
    return error instanceof Error ? error.message : String(error);
}

function reply(message: WorkerReply): void {
    if (process.connected) process.send!(message);
}
