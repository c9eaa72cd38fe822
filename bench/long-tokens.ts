// `npm run bench:long-tokens`: reads millions of random tokens into one sequence of a random model, and writes down
// speed and memory on the way. The tokens are made piece by piece. SIGTERM and `--seconds` end the reading early.

import { mkdir } from "node:fs/promises";
import path from "node:path";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import type { Token } from "../plugin/index.js";
import { describeMachine } from "../src/bench/machine.js";
import { resolveShape, type ShapeName, shapeNames } from "../src/bench/shapes.js";
import { type WeightType, weightTypes } from "../src/bench/synthetic.js";
import { writeAtomically } from "../src/util/atomic-file.js";
import { textTable } from "../src/util/table.js";
import { quietLlama } from "./quiet-llama.js";
import { randomTokens, withRandomModel } from "./random-model.js";

const args = await yargs(hideBin(process.argv))
    .usage("Reads a very long text into one sequence of a random model.")
    .options({
        shape: { choices: shapeNames, default: "160m" as ShapeName, describe: "Shape of the random model" },
        type: { choices: weightTypes, default: "bf16" as WeightType, describe: "Type of its large matrices" },
        model: { type: "string", describe: "File with such a model [default: it is written and removed]" },
        gpu: {
            choices: ["cuda", "vulkan", "metal", "off"] as const,
            default: "off" as "cuda" | "vulkan" | "metal" | "off"
        },
        tokens: { type: "number", default: 50_000_000, describe: "Length of the text" },
        segment: { type: "number", default: 1024, describe: "Tokens in a segment" },
        "batch-size": { type: "number", default: 8192 },
        "row-every": { type: "number", default: 5_000_000, describe: "Tokens between two rows of figures" },
        seconds: { type: "number", describe: "Ends the reading after this time [default: reads everything]" },
        threads: { type: "number", default: 1 },
        out: { type: "string", default: "bench/results", describe: "Folder for the JSON file" }
    })
    .parserConfiguration({ "strip-dashed": true })
    .strict()
    .parse();

interface Row {
    position: number;
    /** Since the row before. Unit: seconds. */
    seconds: number;
    tokensPerSecond: number;
    /** Used by all programs on the device. */
    deviceBytes?: number;
    /** What the context holds for its sequences. */
    contextBytes: number;
    rssBytes: number;
    heapBytes: number;
}

const shape = resolveShape(args.shape);
const gpu = args.gpu === "off" ? false : args.gpu;
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());

const llama = await quietLlama(gpu, args.threads);
const reading = await withRandomModel({ shape, type: args.type, given: args.model }, read);
const devices = gpu === false ? [] : await llama.getGpuDeviceNames();
await llama.dispose();

const date = new Date().toISOString();
const result = {
    format: "armt bench long tokens 1",
    date,
    machine: await describeMachine(),
    devices,
    settings: { ...args, model: undefined, out: undefined, _: undefined, $0: undefined },
    ...reading
};
await mkdir(args.out, { recursive: true });
const file = path.join(args.out, `long-tokens-${args.gpu}-${date.slice(0, 10)}.json`);
await writeAtomically(file, { overwrite: true }, (target) =>
    target.write(Buffer.from(`${JSON.stringify(result, undefined, 4)}\n`))
);
const mebibytes = (bytes: number | undefined) => (bytes === undefined ? "-" : (bytes / 2 ** 20).toFixed(0));
process.stdout.write(
    `${textTable(
        ["tokens", "s", "tokens/s", "device MiB", "context MiB", "resident MiB", "heap MiB"],
        reading.rows.map((row) => [
            String(row.position),
            row.seconds.toFixed(2),
            row.tokensPerSecond.toFixed(0),
            mebibytes(row.deviceBytes),
            mebibytes(row.contextBytes),
            mebibytes(row.rssBytes),
            mebibytes(row.heapBytes)
        ]),
        0
    )}${reading.position} of ${args.tokens} tokens in ${reading.seconds.toFixed(1)} s, `
);
process.stdout.write(`${reading.segmentsClosed} segments; ${path.basename(file)}\n`);

async function read(modelPath: string) {
    const model = await llama.loadModel({ modelPath, gpuLayers: gpu === false ? undefined : "max" });
    const context = await model.createContext({
        threads: args.threads,
        batchSize: args.batchSize,
        armt: { segmentSize: args.segment }
    });
    const sequence = context.getSequence();
    const armt = sequence.armt!;
    // compiles kernels and fills the pipeline once
    await armt.feed(randomTokens(2 * args.segment, shape.vocab, "warm-up"));
    await sequence.clearHistory();

    const rows: Row[] = [];
    const started = performance.now();
    let rowStarted = started;
    let given = 0;
    async function addRow(): Promise<void> {
        const now = performance.now();
        const position = sequence.nextTokenIndex;
        const seconds = (now - rowStarted) / 1000;
        rows.push({
            position,
            seconds,
            tokensPerSecond: (position - (rows.at(-1)?.position ?? 0)) / seconds,
            deviceBytes: gpu === false ? undefined : (await llama.getVramState()).used,
            contextBytes: context.armt!.totalBytes,
            rssBytes: process.memoryUsage.rss(),
            heapBytes: process.memoryUsage().heapUsed
        });
        rowStarted = performance.now();
    }
    async function* text(): AsyncGenerator<Token[], void, void> {
        for (const piece of randomTokens(args.tokens, shape.vocab, "text")) {
            if (stop.signal.aborted || (performance.now() - started) / 1000 > (args.seconds ?? Infinity)) return;
            // a feed takes the next piece when it has read the one before
            if (given - (rows.at(-1)?.position ?? 0) >= args.rowEvery) await addRow();
            given += piece.length;
            yield piece;
        }
    }
    await armt.feed(text());
    // the pipeline still holds the last segments
    await armt.closeSegment();
    await addRow();
    const seconds = (performance.now() - started) / 1000;
    const { nextTokenIndex: position } = sequence;
    const { segmentsClosed, segmentSize } = armt;
    const wanted = Math.ceil(given / segmentSize);
    if (position !== given || armt.tokens !== given || segmentsClosed !== wanted)
        throw new Error(
            `the sequence is at token ${position} (the engine at ${armt.tokens}) with ${segmentsClosed} segments; ` +
                `${given} tokens and ${wanted} segments were read`
        );
    let finite = true;
    for await (const logits of armt.evaluateLogits([1 as Token])) finite &&= logits.every(Number.isFinite);
    if (!finite) throw new Error(`the logits after ${position} tokens are not finite`);
    return { position, segmentsClosed, segmentSize, seconds, schedule: context.armt!.schedule, rows };
}
