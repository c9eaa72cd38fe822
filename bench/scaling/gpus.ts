// `npm run bench:gpus`: reads a text, and half of it, with the layers of a random model on one GPU and on several of
// this machine, in turn, and asks nvidia-smi how long each GPU worked. It compares the logits after a few segments: a
// random model amplifies rounding from segment to segment, so those of a long text say nothing. With `--rpc`, servers
// take the GPUs' place.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import type { ArmtModelOptions, LlamaContext, LlamaContextSequence, Token } from "../../plugin/index.js";
import { describeMachine } from "../../src/bench/machine.js";
import { resolveShape, type ShapeName, shapeNames } from "../../src/bench/shapes.js";
import { ratios, summarize } from "../../src/bench/statistics.js";
import { type WeightType, weightTypes } from "../../src/bench/synthetic.js";
import { writeAtomically } from "../../src/util/atomic-file.js";
import { textTable } from "../../src/util/table.js";
import { quietLlama } from "../quiet-llama.js";
import { randomTokens, withRandomModel } from "../random-model.js";
import { relativeError } from "../relative-error.js";
import { evenly } from "./simulate.js";

const args = await yargs(hideBin(process.argv))
    .usage("Times the layers of a random model on one GPU and on several, and compares their logits.")
    .options({
        shape: { choices: shapeNames, default: "llama-3.2-1b" as ShapeName, describe: "Shape of the random model" },
        type: { choices: weightTypes, default: "bf16" as WeightType, describe: "Type of its large matrices" },
        model: { type: "string", describe: "File with such a model [default: it is written and removed]" },
        gpu: { choices: ["cuda", "vulkan", "off"] as const, default: "cuda" as "cuda" | "vulkan" | "off" },
        devices: { type: "number", default: 2, describe: "Number of GPUs to split the layers over" },
        rpc: { type: "string", describe: "Servers instead of GPUs, as host:port,host:port [default: none]" },
        segment: { type: "number", default: 1024, describe: "Tokens in a segment" },
        tokens: { type: "number", default: 131_072, describe: "Length of the text" },
        "batch-size": { type: "number", default: 8192 },
        runs: { type: "number", default: 5, describe: "Rounds; every case runs once in each" },
        "compared-segments": { type: "number", default: 4, describe: "Length of the text whose logits are compared" },
        compared: { type: "number", default: 16, describe: "Its last tokens, whose logits are compared" },
        tolerance: { type: "number", default: 0.04, describe: "Largest relative difference of logits" },
        "use-seconds": { type: "number", default: 3, describe: "Time in which the use of the GPUs is sampled" },
        threads: { type: "number", default: 1 },
        out: { type: "string", default: "bench/results", describe: "Folder for the JSON file" }
    })
    .parserConfiguration({ "strip-dashed": true })
    .strict()
    .parse();

const shape = resolveShape(args.shape);
const gpu = args.gpu === "off" ? false : args.gpu;
const servers = args.rpc?.split(",");
const count = servers?.length ?? args.devices;
const layers = evenly(shape.layers, count);
const text = [...randomTokens(args.tokens, shape.vocab, "text")].flat();
/** In half the text. */
const segments = Math.floor(text.length / args.segment / 2);

interface Case {
    readonly name: "one" | "one, sequential" | "several";
    readonly context: LlamaContext;
    readonly sequence: LlamaContextSequence;
    readonly samples: number[];
    /** Of half the text. */
    readonly halfSamples: number[];
}

/** Means of what nvidia-smi sampled for one GPU. */
interface Use {
    readonly index: number;
    /** Time with a kernel running. Unit: percent. */
    readonly busy: number;
    /** Unit: watts. */
    readonly power: number;
    readonly samples: number;
}

const llama = await quietLlama(gpu, args.threads);
const measured = await withRandomModel({ shape, type: args.type, given: args.model }, measure);
const gpus = gpu === false ? [] : await llama.getGpuDeviceNames();
await llama.dispose();

const date = new Date().toISOString();
const result = {
    format: "armt bench gpus 2",
    date,
    machine: await describeMachine(),
    gpus,
    peerAccess: process.env.GGML_CUDA_P2P !== undefined,
    settings: { ...args, model: undefined, out: undefined, _: undefined, $0: undefined },
    ...measured
};
await mkdir(args.out, { recursive: true });
const file = path.join(args.out, `gpus-${date.slice(0, 10)}.json`);
await writeAtomically(file, { overwrite: true }, (target) =>
    target.write(Buffer.from(`${JSON.stringify(result, undefined, 4)}\n`))
);
const { speedup, differences, cases } = measured;
process.stdout.write(
    textTable(
        ["case", "ms", "from", "to", "ms a segment", "parts a graph", "busy, %"],
        cases.map(({ name, milliseconds: { median, min, max }, perSegment, graphs, graphParts, use }) => [
            name,
            ...[median, min, max].map((value) => value.toFixed(1)),
            perSegment.toFixed(2),
            (graphParts / graphs).toFixed(1),
            use.map(({ busy }) => busy.toFixed(0)).join(", ")
        ]),
        1
    )
);
process.stdout.write(`${count} devices: ${speedup.median.toFixed(2)} x one (${speedup.min.toFixed(2)} to `);
process.stdout.write(`${speedup.max.toFixed(2)}); logits: ${JSON.stringify(differences)}; ${path.basename(file)}\n`);
if (!(differences.several <= args.tolerance)) {
    process.stderr.write(`the logits of ${count} devices differ by ${differences.several}, over ${args.tolerance}\n`);
    process.exitCode = 1;
}

async function measure(modelPath: string) {
    const one: ArmtModelOptions =
        servers === undefined ? { splitMode: "none", mainGpu: 0 } : { rpc: servers.slice(0, 1) };
    // the output counts as a layer, the last one
    const tensorSplit = layers.map((n, device) => (device === count - 1 ? n + 1 : n));
    const several: ArmtModelOptions =
        servers === undefined ? { splitMode: "layer", tensorSplit } : { rpc: servers, tensorSplit };
    const gpuLayers = gpu === false ? undefined : "max";
    const alone = await llama.loadModel({ modelPath, gpuLayers, armt: one });
    const split = await llama.loadModel({ modelPath, gpuLayers, armt: several });
    const create = async (
        name: Case["name"],
        model: typeof alone,
        schedule: "diagonal" | "sequential"
    ): Promise<Case> => {
        const context = await model.createContext({
            threads: args.threads,
            batchSize: args.batchSize,
            armt: { segmentSize: args.segment, schedule }
        });
        return { name, context, sequence: context.getSequence(), samples: [], halfSamples: [] };
    };
    const timed = [await create("one", alone, "diagonal"), await create("several", split, "diagonal")] as const;
    for (let round = -1; round < args.runs; round++)
        for (const one of round % 2 === 0 ? timed : [...timed].reverse()) {
            const half = await read(one, text.slice(0, segments * args.segment));
            const milliseconds = await read(one, text);
            // the first round only warms up
            if (round < 0) continue;
            one.samples.push(milliseconds);
            one.halfSamples.push(half);
        }
    const uses = [];
    for (const one of timed) uses.push(await sampleUse(one));

    // how much another order of the same sums changes says what the difference between devices is worth
    const sequential = await create("one, sequential", alone, "sequential");
    const expected = await lastLogits(timed[0]);
    const differences = {
        segments: args.comparedSegments,
        tokens: args.compared,
        several: relativeError([await lastLogits(timed[1])], [expected]),
        again: relativeError([await lastLogits(timed[0])], [expected]),
        sequential: relativeError([await lastLogits(sequential)], [expected])
    };
    const cases = [];
    for (const [i, { name, context, samples, halfSamples }] of timed.entries())
        cases.push({
            name,
            schedule: context.armt!.schedule,
            devices: await context.armt!.devices(),
            milliseconds: summarize(samples),
            halfMilliseconds: summarize(halfSamples),
            // what a step takes that has cells in all layers; the rest of the time goes into the text's two ends
            perSegment:
                summarize(samples.map((all, round) => all - halfSamples[round]!)).median /
                (text.length / args.segment - segments),
            graphs: context.armt!.graphs,
            graphsReused: context.armt!.graphsReused,
            graphsReplayed: context.armt!.graphsReplayed,
            graphParts: context.armt!.graphParts,
            use: uses[i]!
        });
    return { layers, cases, speedup: ratios(timed[0].samples, timed[1].samples), differences };
}

/** Time from the tokens to the first one after them. */
async function read({ sequence }: Case, tokens: Token[]): Promise<number> {
    await sequence.clearHistory();
    const start = performance.now();
    for await (const _ of sequence.evaluate(tokens, { temperature: 0, yieldEogToken: true })) break;
    return performance.now() - start;
}

/** Logits of the last tokens of the text's first segments. */
async function lastLogits({ sequence }: Case): Promise<Float32Array> {
    const compared = text.slice(0, args.comparedSegments * args.segment);
    await sequence.clearHistory();
    await sequence.armt!.feed([compared.slice(0, -args.compared)]);
    const logits = new Float32Array(args.compared * shape.vocab);
    let done = 0;
    for await (const piece of sequence.armt!.evaluateLogits(compared.slice(-args.compared))) {
        logits.set(piece, done);
        done += piece.length;
    }
    if (done !== logits.length) throw new Error(`${done} logits were computed, not ${logits.length}`);
    return logits;
}

/** Reads for some seconds, and takes the mean of what nvidia-smi says meanwhile. Empty without nvidia-smi. */
async function sampleUse(one: Case): Promise<Use[]> {
    if (args.useSeconds <= 0) return [];
    const query = ["--query-gpu=index,utilization.gpu,power.draw", "--format=csv,noheader,nounits", "-lms", "100"];
    const child = spawn("nvidia-smi", query, { stdio: ["ignore", "pipe", "ignore"] });
    const ended = once(child, "close").then(
        () => true,
        () => false
    );
    const samples = new Map<number, { busy: number; power: number }[]>();
    const end = performance.now() + args.useSeconds * 1000;
    // the first figures are of the time before
    const from = performance.now() + 500;
    createInterface(child.stdout).on("line", (line) => {
        const [index = Number.NaN, busy = Number.NaN, power = Number.NaN] = line.split(",").map(Number);
        if (performance.now() < from || !Number.isFinite(index + busy)) return;
        samples.set(index, [...(samples.get(index) ?? []), { busy, power }]);
    });
    while (performance.now() < end) await read(one, text);
    child.kill();
    await ended;
    const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    return [...samples].map(([index, all]) => ({
        index,
        busy: mean(all.map(({ busy }) => busy)),
        power: mean(all.map(({ power }) => power)),
        samples: all.length
    }));
}
