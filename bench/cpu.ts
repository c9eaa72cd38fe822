// `npm run bench:cpu`: the engine's speed and memory on a CPU, compared with stock node-llama-cpp's, for each type of
// weights. All cases of a type run in one rotation, so that no ratio spans two runs.

import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import { availableCores } from "../plugin/native/threads.js";
import { describeMachine } from "../src/bench/machine.js";
import { writePlainGguf } from "../src/bench/plain-gguf.js";
import { resolveShape, type ShapeName, shapeNames } from "../src/bench/shapes.js";
import { ratios, type Summary, summarize } from "../src/bench/statistics.js";
import { writeSyntheticModel } from "../src/bench/synthetic.js";
import type { WorkerOptions, WorkerRequest } from "../src/bench/worker.js";
import { BenchWorker } from "../src/bench/worker-client.js";
import { fileTypes, type QuantizeTarget } from "../src/convert/quantize/mixtures.js";
import { quantizeModel } from "../src/convert/quantize/quantize.js";
import { writeAtomically } from "../src/util/atomic-file.js";
import { textTable } from "../src/util/table.js";

const args = await yargs(hideBin(process.argv))
    .usage("Compares speed and memory on a CPU with stock node-llama-cpp, by type of weights.")
    .options({
        types: { type: "string", default: "q4_0,q4_k_m,q6_k,q8_0,bf16,f16", describe: "Types of weights" },
        shape: { choices: shapeNames, default: "110m" as ShapeName, describe: "Shape of the random model" },
        layers: { type: "number", describe: "Layers of the random model [default: the shape's]" },
        segment: { type: "number", default: 512, describe: "Tokens in a segment" },
        segments: { type: "string", default: "1,4", describe: "Lengths of the prompts, in segments" },
        generate: { type: "number", default: 16, describe: "Tokens generated and timed after half a segment" },
        runs: { type: "number", default: 7, describe: "Rounds; every case runs once in each" },
        threads: { type: "number", default: availableCores(), describe: "CPU threads" },
        clock: {
            choices: ["wall", "processor"] as const,
            default: "wall" as const,
            describe: "Processor time suits a busy machine, with one thread: threads that wait spin"
        },
        "cache-folder": { type: "string", describe: "Folder for the models, which stay for the next run" },
        out: { type: "string", describe: "JSON file [default: none]" }
    })
    .strict()
    .parse();

const types = args.types.split(",").map((type) => {
    if (!Object.hasOwn(fileTypes, type)) throw new Error(`--types: ${type} is none of ${Object.keys(fileTypes)}`);
    return type as QuantizeTarget;
});
const lengths = args.segments.split(",").map((count) => Number(count) * args.segment);
const shape = resolveShape(args.shape, { layers: args.layers });
const folder = args.cacheFolder ?? (await mkdtemp(path.join(os.tmpdir(), "armt-bench-")));
await mkdir(folder, { recursive: true });

/**
 * What runs: stock on the plain file, and the engine as it is and with the stacks of the file. A second process of
 * stock on the same file shows how far equal cases differ.
 */
const cases = ["stock", "sequential", "diagonal", "sequential, stacks", "stock again"] as const;
type CaseName = (typeof cases)[number];

const pairs: readonly (readonly [CaseName, CaseName])[] = [
    ["sequential", "stock"],
    ["diagonal", "sequential"],
    ["sequential, stacks", "stock"],
    ["stock again", "stock"]
];

function isStock(name: CaseName): boolean {
    return name === "stock" || name === "stock again";
}

interface Work {
    readonly label: string;
    readonly tokens: number;
    readonly cases: Record<CaseName, { milliseconds: Summary; tokensPerSecond: number }>;
    /** Speed of one case as a multiple of another's, from the same rounds. */
    readonly ratios: ({ name: string } & Summary)[];
}

interface Row {
    readonly type: QuantizeTarget;
    readonly fileBytes: { readonly armt: number; readonly plain: number };
    readonly work: Work[];
    /** Largest resident set of each case's process. */
    readonly peakBytes: Record<CaseName, number>;
}

try {
    const machine = await describeMachine();
    const rows: Row[] = [];
    for (const type of types) {
        rows.push(await measure(type));
        console.log(`${type}: measured`);
    }
    const { threads, runs, segment, clock } = args;
    const result = {
        format: "armt bench cpu 1",
        date: new Date().toISOString(),
        machine,
        settings: { shape: args.shape, layers: shape.layers, segment, threads, runs, clock },
        rows
    };
    console.log(`${machine.cpu}, threads: ${threads}, ${clock} time`);
    process.stdout.write(table(rows));
    if (args.out !== undefined) {
        const text = Buffer.from(`${JSON.stringify(result, undefined, 4)}\n`);
        await writeAtomically(args.out, { overwrite: true }, (target) => target.write(text));
        console.log(`written to ${args.out}`);
    }
} finally {
    if (args.cacheFolder === undefined) await rm(folder, { recursive: true, force: true });
}

async function measure(type: QuantizeTarget): Promise<Row> {
    const files = await prepare(type);
    const workers = new Map<CaseName, BenchWorker>();
    try {
        for (const name of cases) workers.set(name, await start(name, files));
        const peaks = new Map<CaseName, number>();
        const work: Work[] = [];
        const measureWork = async (label: string, tokens: number, request: (name: CaseName) => WorkerRequest) => {
            const times = await runRounds(workers, peaks, request);
            work.push({ label, tokens, ...summarizeWork(times, tokens) });
        };
        for (const tokens of lengths)
            await measureWork(`prompt of ${tokens}`, tokens, () => ({ kind: "prompt", tokens }));
        // the K/V caches of all cases hold the same number of tokens
        const [open, count] = [args.segment / 2, args.generate];
        await measureWork("generation", count, (name) => ({
            kind: "decode",
            prompt: isStock(name) ? open : args.segment + open,
            count,
            sequences: 1
        }));
        const fileBytes = { armt: (await stat(files.armt)).size, plain: (await stat(files.plain)).size };
        return { type, fileBytes, work, peakBytes: record((name) => peaks.get(name)!) };
    } finally {
        for (const worker of workers.values()) await worker.stop();
    }
}

function record<T>(of: (name: CaseName) => T): Record<CaseName, T> {
    return Object.fromEntries(cases.map((name) => [name, of(name)])) as Record<CaseName, T>;
}

async function start(name: CaseName, { armt, plain }: { armt: string; plain: string }): Promise<BenchWorker> {
    const { segment, threads } = args;
    const common = { vocab: shape.vocab, batchSize: segment, sequences: 1 };
    const options: WorkerOptions = isStock(name)
        ? {
              gpu: false,
              threads,
              library: "published",
              model: { ...common, path: plain, contextSize: Math.max(...lengths) + segment }
          }
        : {
              gpu: false,
              threads,
              library: "engine",
              model: {
                  ...common,
                  path: armt,
                  armt: { schedule: name === "diagonal" ? "diagonal" : "sequential", segmentSize: segment }
              }
          };
    if (name === "sequential, stacks") process.env.ARMT_CPU_EXTRA_BUFFERS = "0";
    else delete process.env.ARMT_CPU_EXTRA_BUFFERS;
    return await BenchWorker.start(name, options);
}

/** Runs all cases in rotation, so that each comes first equally often. The first round only warms up. */
async function runRounds(
    workers: ReadonlyMap<CaseName, BenchWorker>,
    peaks: Map<CaseName, number>,
    request: (name: CaseName) => WorkerRequest
): Promise<Record<CaseName, number[]>> {
    const times = record<number[]>(() => []);
    for (let round = -1; round < args.runs; round++) {
        for (let i = 0; i < cases.length; i++) {
            const name = cases[(i + round + cases.length) % cases.length]!;
            const reply = await workers.get(name)!.ask<"prompt" | "decode">(request(name) as never);
            if (round >= 0) times[name].push(args.clock === "wall" ? reply.milliseconds : reply.processorMilliseconds);
            peaks.set(name, Math.max(peaks.get(name) ?? 0, reply.memory.peakResident));
        }
    }
    return times;
}

function summarizeWork(times: Record<CaseName, number[]>, tokens: number): Pick<Work, "cases" | "ratios"> {
    return {
        cases: record((name) => {
            const milliseconds = summarize(times[name]);
            return { milliseconds, tokensPerSecond: (1000 * tokens) / milliseconds.median };
        }),
        ratios: pairs.map(([a, b]) => ({ name: `${a} / ${b}`, ...ratios(times[b], times[a]) }))
    };
}

async function prepare(type: QuantizeTarget): Promise<{ armt: string; plain: string }> {
    const at = (name: string) => path.join(folder, `${args.shape}-${shape.layers}-${name}.gguf`);
    if (!existsSync(at("f16"))) await writeSyntheticModel({ shape, type: "f16", output: at("f16") });
    if (!existsSync(at(type))) await quantizeModel({ input: at("f16"), output: at(type), mixture: type });
    if (!existsSync(at(`${type}.plain`))) await writePlainGguf(at(type), at(`${type}.plain`));
    await rewrite(at(type));
    await rewrite(at(`${type}.plain`));
    return { armt: at(type), plain: at(`${type}.plain`) };
}

/**
 * Replaces a file by a copy, so that all files are written in the same way. Writes of other sizes leave a file in other
 * pages of the system's cache, and reading the mapped weights then takes up to 1.15 times as long.
 */
async function rewrite(file: string): Promise<void> {
    await copyFile(file, `${file}.copy`);
    await rename(`${file}.copy`, file);
}

function table(rows: readonly Row[]): string {
    const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
    return textTable(
        ["type", "", "stock, tokens/s", ...pairs.map(([a, b]) => `${a} / ${b}`), "peak MiB: stock", "seq.", "diag."],
        rows.flatMap(({ type, work, peakBytes }) =>
            work.map(({ label, cases: { stock }, ratios }) => [
                type,
                label,
                stock.tokensPerSecond.toFixed(1),
                ...ratios.map(({ median }) => median.toFixed(2)),
                ...(["stock", "sequential", "diagonal"] as const).map((name) => mebibytes(peakBytes[name]))
            ])
        )
    );
}
