// `npm run bench:host`: what a read through Node costs beyond the engine, by segment size and batch size. Each case is
// a process of its own, and the cases take turns.

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import type { LlamaContextSequence, Token } from "../plugin/index.js";
import { describeMachine } from "../src/bench/machine.js";
import { ratios, summarize } from "../src/bench/statistics.js";
import { convertCheckpoint } from "../src/convert/convert.js";
import { makeTinyCheckpoint } from "../src/tiny/checkpoint.js";
import { writeAtomically } from "../src/util/atomic-file.js";

const here = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const vocab = 1024;

const args = await yargs(hideBin(process.argv))
    .usage("Measures what a read through Node costs beyond the engine, with a tiny random model on one thread.")
    .options({
        tokens: { type: "number", default: 65_536 },
        segments: { type: "string", default: "32,128,1024", describe: "Segment sizes" },
        batches: { type: "string", default: "512,2048,8192", describe: "Batch sizes" },
        rounds: { type: "number", default: 3 },
        before: { type: "string", describe: "Another built checkout to compare with" },
        out: { type: "string", describe: "JSON file [default: none]" },
        child: { type: "string", hidden: true }
    })
    .strict()
    .parse();

/**
 * `engine`: all batches in one call of the addon. `node`: one evaluation by node-llama-cpp's API. `feed`: the tokens
 * through `sequence.armt.feed`. `before`: `node` with another build.
 */
type Case = "engine" | "node" | "feed" | "before";

interface ChildOptions {
    readonly root: string;
    readonly modelPath: string;
    readonly batchSize: number;
    readonly tokens: number;
    readonly name: Case;
}

/** Unit: milliseconds. */
interface Sample {
    readonly wall: number;
    readonly processor: number;
    /** Processor time of the thread that runs JavaScript. */
    readonly main: number;
}

if (args.child === undefined) await compare();
else console.log(JSON.stringify(await measure(JSON.parse(args.child) as ChildOptions)));

function mainThreadMs(): number {
    const file = `/proc/self/task/${process.pid}/schedstat`;
    return Number(readFileSync(file, "utf8").split(" ")[0]) / 1e6;
}

async function measure({ root, modelPath, batchSize, tokens, name }: ChildOptions): Promise<Sample> {
    const plugin: typeof import("../plugin/index.js") = await import(
        pathToFileURL(path.join(root, "dist/plugin/index.js")).href
    );
    const llama = await plugin.getLlama({ gpu: false, maxThreads: 1, logLevel: plugin.LlamaLogLevel.error });
    const context = await (await llama.loadModel({ modelPath })).createContext({ batchSize, threads: 1 });
    const sequence = context.getSequence();
    const ids = Array.from({ length: tokens }, (_, i) => ((i * 7919 + (i >> 3) * 31) % vocab) as Token);
    const read = { engine: readNatively, node: readThroughNode, feed: readWithFeed, before: readThroughNode }[name];
    await readThroughNode(sequence, ids.slice(0, 2 * batchSize));
    await sequence.clearHistory();
    const [wall, main, all] = [performance.now(), mainThreadMs(), process.cpuUsage()];
    await read(sequence, ids, batchSize);
    const { user, system } = process.cpuUsage(all);
    const sample = {
        wall: performance.now() - wall,
        main: mainThreadMs() - main,
        processor: (user + system) / 1000
    };
    if (sequence.armt!.tokens !== tokens) throw new Error(`${sequence.armt!.tokens} tokens were read, not ${tokens}`);
    await llama.dispose();
    return sample;
}

async function readThroughNode(sequence: LlamaContextSequence, ids: Token[]): Promise<void> {
    await sequence.evaluateWithoutGeneratingNewTokens(ids);
}

async function readWithFeed(sequence: LlamaContextSequence, ids: Token[]): Promise<void> {
    await sequence.armt!.feed([ids]);
}

/** All batches in one call of the addon: what the engine takes without Node. */
async function readNatively(sequence: LlamaContextSequence, ids: Token[], batchSize: number): Promise<void> {
    const { engine } = sequence.armt!.context.parts;
    const part = { sequenceId: sequence.armt!.handle.id, start: 0, tokens: new Int32Array(ids) };
    await engine.read([part], batchSize, 2 ** 30);
}

async function compare(): Promise<void> {
    const cases: Case[] = args.before === undefined ? ["engine", "node", "feed"] : ["engine", "node", "feed", "before"];
    const folder = await mkdtemp(path.join(os.tmpdir(), "armt-bench-"));
    const rows: object[] = [];
    try {
        for (const segmentSize of args.segments.split(",").map(Number)) {
            const modelFolder = path.join(folder, String(segmentSize));
            const modelPath = path.join(modelFolder, "armt.gguf");
            await makeTinyCheckpoint(modelFolder, { segmentSize, vocab, layers: 2, hidden: 64 });
            await convertCheckpoint({ checkpoint: modelFolder, output: modelPath, outType: "f32" });
            for (const batchSize of args.batches.split(",").map(Number)) {
                const samples: Record<Case, Sample[]> = { engine: [], node: [], feed: [], before: [] };
                for (let round = 0; round < args.rounds; round++)
                    for (const name of cases) samples[name].push(await start(name, modelPath, batchSize));
                rows.push({ segmentSize, batchSize, ...table(cases, samples), samples });
            }
        }
    } finally {
        await rm(folder, { recursive: true, force: true });
    }
    console.table(rows.map(({ samples: _, ...row }: { samples?: unknown }) => row));
    if (args.out === undefined) return;
    const result = {
        format: "armt bench host 2",
        date: new Date().toISOString(),
        command: `npm run bench:host -- ${process.argv.slice(2).join(" ")}`.replace(/ --(before|out)[= ]\S+/g, ""),
        machine: await describeMachine(),
        loadAverage: os.loadavg()[0],
        settings: { tokens: args.tokens, rounds: args.rounds, layers: 2, hidden: 64, vocab, threads: 1 },
        rows
    };
    const text = Buffer.from(`${JSON.stringify(result, undefined, 4)}\n`);
    await writeAtomically(args.out, { overwrite: true }, (target) => target.write(text));
}

async function start(name: Case, modelPath: string, batchSize: number): Promise<Sample> {
    const root = name === "before" ? path.resolve(args.before!) : here;
    const options: ChildOptions = { root, modelPath, batchSize, tokens: args.tokens, name };
    const script = fileURLToPath(import.meta.url);
    const { stdout } = await promisify(execFile)(process.execPath, [script, "--child", JSON.stringify(options)]);
    return JSON.parse(stdout.trim().split("\n").at(-1)!) as Sample;
}

/**
 * The engine's time, and what the other cases add to it in percent: on the clock, in processor time of all threads, and
 * in that of JavaScript's thread alone. Medians; the first two compare cases of the same round.
 */
function table(cases: readonly Case[], samples: Record<Case, readonly Sample[]>): Record<string, number> {
    const values = (name: Case, key: keyof Sample) => samples[name].map((sample) => sample[key]);
    const { median: worker } = summarize(samples.engine.map(({ processor, main }) => processor - main));
    const result: Record<string, number> = {
        engineMs: Math.round(summarize(values("engine", "wall")).median),
        engineProcessorMs: Math.round(summarize(values("engine", "processor")).median)
    };
    for (const name of cases) {
        if (name !== "engine")
            for (const key of ["wall", "processor"] as const) {
                const { median } = ratios(values(name, key), values("engine", key));
                result[`${name} ${key} %`] = Number((100 * (median - 1)).toFixed(2));
            }
        result[`${name} main %`] = Number(((100 * summarize(values(name, "main")).median) / worker).toFixed(2));
    }
    return result;
}
