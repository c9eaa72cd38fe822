import type { NativeProduct } from "../../plugin/native/addon.js";
import type { ArmtModelKeys } from "../formats/gguf/armt-keys.js";
import { type GgmlType, ggmlType } from "../formats/gguf/types.js";
import { countOperations } from "./operations.js";
import { packedWeights } from "./packed-weights.js";
import type { BenchSettings, CaseName, DecodeGroup, DocumentsGroup, MeasuredCase, PromptGroup } from "./results.js";
import { ratios, type Summary, summarize } from "./statistics.js";
import type { GraphCounts, MemoryUse, WorkerOptions } from "./worker.js";
import { BenchWorker } from "./worker-client.js";

/** The model to measure. */
export interface BenchModel {
    /** ARMT model file. */
    readonly file: string;
    /** The same base model as a plain file; absent if stock is not measured. */
    readonly plain?: string;
    readonly info: ArmtModelKeys;
    /** Type of the large matrices. */
    readonly type: GgmlType;
}

export interface MeasureHooks {
    signal: AbortSignal;
    /** Called after each case of a round, including the warm-up round. */
    onStep: () => void;
}

/** Uncounted first rounds: they warm up caches and clocks, and compile kernels on first use. */
export const warmUpRounds = 1;

/** Numbers of sequences to decode at the same time. */
export const decodeSequences = [1, 8] as const;

/** Largest total size of the weights in one measured product. Unit: bytes. */
const productBytes = 512 * 2 ** 20;

/** Spare room in stock's context, for the token after the prompt. Unit: tokens. */
const room = 256;

interface Case {
    readonly name: CaseName;
    readonly worker: BenchWorker;
    readonly milliseconds: number[];
    peakResident: number;
    /** Measured before the next case's process starts: the device does not report memory by process. Unit: bytes. */
    readonly device: number | undefined;
    graphs?: GraphCounts;
}

/** Cases of one group. Each has its own process, which runs until the whole group is measured. */
class Cases {
    readonly cases: Case[] = [];
    readonly failures: { name: CaseName; reason: string }[] = [];

    constructor(private readonly signal: AbortSignal) {}

    /**
     * Starts a case and warms it up. A failure of stock, such as running out of memory, is a result, and so is a
     * diagonal that the CPU does not run. A failure of ARMT throws, since nothing is left to compare.
     */
    async add(
        name: CaseName,
        options: WorkerOptions,
        warmUp: (worker: BenchWorker) => Promise<{ memory: MemoryUse }>
    ): Promise<void> {
        let worker: BenchWorker | undefined;
        try {
            worker = await BenchWorker.start(name, options);
            if (options.model?.armt?.schedule === "diagonal" && worker.schedule === "sequential") {
                this.failures.push({ name, reason: packedWeights });
                await worker.stop();
                return;
            }
            const { memory } = await warmUp(worker);
            this.cases.push({
                name,
                worker,
                milliseconds: [],
                peakResident: memory.peakResident,
                device: memory.device
            });
        } catch (error) {
            await worker?.stop();
            if (name !== "stock" || this.signal.aborted) throw error;
            this.failures.push({ name, reason: (error as Error).message });
        }
    }

    /** The cases in the order of a round. The order rotates, so that each case comes first equally often. */
    inRound(round: number): Case[] {
        return this.cases.map((_, i) => this.cases[(i + round) % this.cases.length]!);
    }

    async stop(): Promise<void> {
        await Promise.all(this.cases.map(({ worker }) => worker.stop()));
    }

    results(tokens: number, floor?: (name: CaseName) => readonly number[]): MeasuredCase[] {
        return this.cases.map(({ name, milliseconds, peakResident, device, graphs }) => {
            const summary = summarize(milliseconds);
            return {
                name,
                milliseconds: summary,
                tokensPerSecond: (1000 * tokens) / summary.median,
                peakBytes: peakResident,
                ...(device === undefined ? {} : { deviceBytes: device }),
                ...(graphs === undefined ? {} : { graphs }),
                ...(floor === undefined ? {} : { overFloor: ratios(milliseconds, floor(name)) })
            };
        });
    }

    /** The speedup of one case over another, for every pair, from the rounds of this group. */
    ratios(): ({ name: string } & Summary)[] {
        const of = (name: CaseName) => this.cases.find((one) => one.name === name)?.milliseconds;
        const pairs: [CaseName, CaseName][] = [
            ["sequential", "stock"],
            ["diagonal", "stock"],
            ["diagonal", "sequential"],
            ["sequential fp8", "sequential"],
            ["diagonal fp8", "diagonal"],
            ["together", "sequential"],
            ["together", "diagonal"]
        ];
        return pairs.flatMap(([faster, slower]) => {
            const [a, b] = [of(faster), of(slower)];
            return a === undefined || b === undefined ? [] : [{ name: `${faster} / ${slower}`, ...ratios(b, a) }];
        });
    }
}

/** Number of steps in a group, for its progress bar. */
export function stepsOfPrompt(settings: BenchSettings): number {
    return stepsOfDecode(settings) + settings.runs + warmUpRounds;
}

export function stepsOfDecode(settings: BenchSettings): number {
    const { runs, schedules, fp8Products, stock } = settings;
    const precisions = fp8Products === undefined ? 1 : 2;
    return (runs + warmUpRounds) * (schedules.length * precisions + (stock ? 1 : 0));
}

/**
 * Measures one prompt length with one segment size. Each round runs all cases in rotation and measures the device's
 * rate of matrix products.
 */
export async function measurePrompt(
    model: BenchModel,
    settings: BenchSettings,
    { tokens, segmentSize }: { tokens: number; segmentSize: number },
    { signal, onStep }: MeasureHooks
): Promise<PromptGroup> {
    const cases = new Cases(signal);
    const { gpu, threads, runs } = settings;
    const products = await BenchWorker.start("matrix products", { gpu, threads, library: "engine" });
    const rates: number[] = [];
    let device = "";
    try {
        const withStock = settings.stockLimit === undefined || tokens <= settings.stockLimit;
        await addCases(
            cases,
            model,
            settings,
            { segmentSize, contextSize: tokens + room, sequences: 1, withStock },
            (worker) => worker.ask({ kind: "prompt", tokens: Math.min(tokens, 2 * segmentSize) }, signal)
        );
        for (let round = -warmUpRounds; round < runs; round++) {
            let rate = 0;
            for (const product of productsOf(model, settings, segmentSize)) {
                const { times } = await products.ask({ kind: "products", product }, signal);
                device = times.device;
                for (const { seconds } of times.buffers)
                    rate = Math.max(rate, times.operations / summarize(seconds).median);
            }
            onStep();
            if (round >= 0) rates.push(rate);
            for (const one of cases.inRound(Math.max(0, round))) {
                const reply = await one.worker.ask({ kind: "prompt", tokens }, signal);
                if (round >= 0) one.milliseconds.push(reply.milliseconds);
                one.peakResident = reply.memory.peakResident;
                one.graphs = reply.graphs;
                onStep();
            }
        }
    } finally {
        await products.stop();
        await cases.stop();
    }
    const operations = countOperations(model.info, tokens, segmentSize);
    const operationsOf = (name: CaseName) => (name === "stock" ? operations.stock : operations.armt);
    const floor = (name: CaseName) => rates.map((rate) => (1000 * operationsOf(name)) / rate);
    const rate = summarize(rates);
    return {
        kind: "prompt",
        tokens,
        segmentSize,
        cases: cases.results(tokens, floor),
        failures: cases.failures,
        ratios: cases.ratios(),
        floor: {
            device,
            rate,
            operations,
            milliseconds: {
                armt: (1000 * operations.armt) / rate.median,
                stock: (1000 * operations.stock) / rate.median
            }
        }
    };
}

/**
 * Measures generation. ARMT starts with one closed and one open segment. Stock's K/V cache starts with as many tokens
 * as the open segment.
 */
export async function measureDecode(
    model: BenchModel,
    settings: BenchSettings,
    { segmentSize, sequences }: { segmentSize: number; sequences: number },
    { signal, onStep }: MeasureHooks
): Promise<DecodeGroup> {
    const kvTokens = Math.max(1, Math.floor(segmentSize / 2));
    // the open segment must not fill up
    const count = Math.max(1, Math.min(32, segmentSize - kvTokens - 1));
    const cases = new Cases(signal);
    const ask = (worker: BenchWorker, name: CaseName) =>
        worker.ask(
            { kind: "decode", prompt: name === "stock" ? kvTokens : segmentSize + kvTokens, count, sequences },
            signal
        );
    try {
        const contextSize = kvTokens + count + room;
        await addCases(
            cases,
            model,
            settings,
            { segmentSize, contextSize, sequences, withStock: true },
            (worker, name) => ask(worker, name)
        );
        for (let round = -warmUpRounds; round < settings.runs; round++) {
            for (const one of cases.inRound(Math.max(0, round))) {
                const reply = await ask(one.worker, one.name);
                if (round >= 0) one.milliseconds.push(reply.milliseconds);
                one.peakResident = reply.memory.peakResident;
                onStep();
            }
        }
    } finally {
        await cases.stop();
    }
    return {
        kind: "decode",
        segmentSize,
        sequences,
        kvTokens,
        tokens: count,
        cases: cases.results(count * sequences),
        failures: cases.failures,
        ratios: cases.ratios()
    };
}

/** Steps of a group of documents: ARMT's schedules, and the diagonals that all documents share. */
export function stepsOfDocuments(settings: BenchSettings): number {
    return (settings.runs + warmUpRounds) * (settings.schedules.length + 1);
}

/** Whole segments of `count` documents: from 4 to 16, in equal steps, long and short ones in turn. */
export function documentSegments(count: number): number[] {
    const sizes = Array.from({ length: count }, (_, i) => (count === 1 ? 10 : 4 + Math.round((12 * i) / (count - 1))));
    return sizes.map((_, i) => (i % 2 === 0 ? sizes[i / 2]! : sizes[count - (i + 1) / 2]!));
}

/**
 * Measures how long several documents take, each with one token after its last whole segment. With each schedule, they
 * are read one after the other; then all at once, so that they share the diagonals. All cases have as many sequences.
 * @param textsPerLayer option of the last case; 0: the engine chooses
 */
export async function measureDocuments(
    model: BenchModel,
    settings: BenchSettings,
    { segmentSize, textsPerLayer }: { segmentSize: number; textsPerLayer: number },
    { signal, onStep }: MeasureHooks
): Promise<DocumentsGroup> {
    const documents = documentSegments(settings.documents ?? 1);
    const lengths = documents.map((segments) => segments * segmentSize + 1);
    const { gpu, threads, batchSize, maxCells, schedules, runs } = settings;
    const cases = new Cases(signal);
    const ask = (worker: BenchWorker, name: CaseName) =>
        worker.ask({ kind: "documents", lengths, together: name === "together" }, signal);
    const add = (name: CaseName, armt: NonNullable<NonNullable<WorkerOptions["model"]>["armt"]>) =>
        cases.add(
            name,
            {
                gpu,
                threads,
                library: "engine",
                model: {
                    path: model.file,
                    vocab: model.info.vocabSize,
                    batchSize,
                    sequences: documents.length,
                    armt
                }
            },
            (worker) => ask(worker, name)
        );
    let usedTextsPerLayer = 0;
    try {
        for (const schedule of schedules) await add(schedule, { schedule, segmentSize, maxCells, textsPerLayer: 0 });
        await add("together", {
            schedule: "diagonal",
            segmentSize,
            maxCells,
            ...(textsPerLayer === 0 ? {} : { textsPerLayer })
        });
        for (let round = -warmUpRounds; round < runs; round++) {
            for (const one of cases.inRound(Math.max(0, round))) {
                const reply = await ask(one.worker, one.name);
                if (round >= 0) one.milliseconds.push(reply.milliseconds);
                if (one.name === "together") usedTextsPerLayer = reply.textsPerLayer;
                one.peakResident = reply.memory.peakResident;
                one.graphs = reply.graphs;
                onStep();
            }
        }
    } finally {
        await cases.stop();
    }
    return {
        kind: "documents",
        segmentSize,
        documents,
        textsPerLayer,
        usedTextsPerLayer,
        cases: cases.results(lengths.reduce((sum, length) => sum + length, 0)),
        failures: cases.failures,
        ratios: cases.ratios()
    };
}

async function addCases(
    cases: Cases,
    { file, plain, info }: BenchModel,
    { gpu, threads, batchSize, stockBatchSize, maxCells, schedules, fp8Products, stockLibrary }: BenchSettings,
    {
        segmentSize,
        contextSize,
        sequences,
        withStock
    }: { segmentSize: number; contextSize: number; sequences: number; withStock: boolean },
    warmUp: (worker: BenchWorker, name: CaseName) => Promise<{ memory: MemoryUse }>
): Promise<void> {
    const common = { gpu, threads };
    const shape = { vocab: info.vocabSize, batchSize, sequences };
    if (plain !== undefined && withStock)
        await cases.add(
            "stock",
            {
                ...common,
                library: stockLibrary,
                model: { ...shape, batchSize: stockBatchSize, path: plain, contextSize }
            },
            (worker) => warmUp(worker, "stock")
        );
    const add = async (name: CaseName, armt: NonNullable<WorkerOptions["model"]>["armt"]) =>
        await cases.add(name, { ...common, library: "engine", model: { ...shape, path: file, armt } }, (worker) =>
            warmUp(worker, name)
        );
    for (const schedule of schedules) {
        await add(schedule, { schedule, segmentSize, maxCells });
        if (fp8Products !== undefined)
            await add(`${schedule} fp8`, { schedule, segmentSize, maxCells, precision: "fp8", fp8Products });
    }
}

/**
 * The matrix products that take most of the model's time, with the sizes of one layer and one segment. They run with
 * several weights one after another, as in the sequential schedule, and batched, as in the diagonal one.
 */
function productsOf({ info, type }: BenchModel, settings: BenchSettings, segmentSize: number): NativeProduct[] {
    const { embeddingLength: k, feedForwardLength, blockCount, memory } = info;
    const n = 2 * feedForwardLength;
    const { id, blockSize, blockBytes } = ggmlType(type);
    const bytes = ((k * n) / blockSize) * blockBytes;
    const weights = Math.max(1, Math.min(blockCount, 8, Math.floor(productBytes / bytes)));
    const rows = segmentSize + memory.tokenCount;
    const common = {
        type: id,
        k,
        n,
        rows,
        repeats: settings.gpu === false ? 3 : 20,
        threads: settings.threads,
        gpu: settings.gpu !== false
    };
    const one = { ...common, batch: 1, copies: weights };
    return weights === 1 ? [one] : [one, { ...common, batch: weights, copies: 1 }];
}
