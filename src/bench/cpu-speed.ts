import { mkdir, mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import { convertCheckpoint } from "../convert/convert.js";
import { makeTinyCheckpoint } from "../tiny/checkpoint.js";
import { resolveTinyOptions, type TinyConfig } from "../tiny/options.js";
import { listTensors } from "../tiny/weights.js";
import { writeAtomically } from "../util/atomic-file.js";
import { describeMachine } from "./machine.js";
import { writePlainGguf } from "./plain-gguf.js";
import { ratios, summarize } from "./statistics.js";
import { BenchWorker } from "./worker-client.js";

/** Part of stock node-llama-cpp's speed that sequential ARMT has to reach. */
const SEQUENTIAL_TARGET = 0.85;
/** Part of the sequential schedule's speed that the diagonal has to reach. */
const DIAGONAL_TARGET = 0.95;

const args = await yargs(hideBin(process.argv))
    .usage("Measures ARMT on the CPU against stock node-llama-cpp on the same base model with random weights.")
    .options({
        layers: { type: "number", default: 12 },
        hidden: { type: "number", default: 768 },
        ffn: { type: "number", default: 2048 },
        vocab: { type: "number", default: 32_000 },
        "segment-size": { type: "number", default: 512, describe: "Text tokens in a segment" },
        "mem-tokens": { type: "number", default: 16 },
        segments: { type: "number", default: 6, describe: "Segments of the long prompt" },
        repeats: { type: "number", default: 7, describe: "Rounds; every case runs once a round" },
        out: { type: "string", default: "bench/results", describe: "Folder for the JSON file" }
    })
    .strict()
    .parse();

const heads = args.hidden / 64;
const model = resolveTinyOptions({
    layers: args.layers,
    hidden: args.hidden,
    heads,
    kvHeads: heads % 3 === 0 ? heads / 3 : heads,
    ffn: args.ffn,
    vocab: args.vocab,
    segmentSize: args.segmentSize,
    memTokens: args.memTokens,
    dMem: 64,
    dtype: "F16"
});

const folder = await mkdtemp(path.join(os.tmpdir(), "armt-bench-"));
try {
    await report(await measure(await makeModels(folder)));
} finally {
    await rm(folder, { recursive: true, force: true });
}

type Models = { plain: string; armt: string };

async function makeModels(target: string): Promise<Models> {
    const models = { plain: path.join(target, "plain.gguf"), armt: path.join(target, "armt.gguf") };
    await makeTinyCheckpoint(target, model);
    await convertCheckpoint({ checkpoint: target, output: models.armt, outType: "f16" });
    await writePlainGguf({ folder: target, converted: models.armt, output: models.plain }, model);
    return models;
}

/** The cases of a round, in its order. */
async function measure({ plain, armt }: Models) {
    const { segmentSize, vocab } = model;
    const long = args.segments * segmentSize;
    const common = { contextSize: long + 256, batchSize: segmentSize, vocab };
    const workers = [
        await BenchWorker.start({ ...common, modelPath: plain }),
        await BenchWorker.start({ ...common, modelPath: armt, schedule: "sequential" }),
        await BenchWorker.start({ ...common, modelPath: armt, schedule: "diagonal" })
    ] as const;
    const [stock, sequential, diagonal] = workers;
    const cases = [
        { name: "stock, one segment", worker: stock, tokens: segmentSize },
        { name: "sequential, one segment", worker: sequential, tokens: segmentSize },
        { name: "sequential", worker: sequential, tokens: long },
        { name: "diagonal", worker: diagonal, tokens: long }
    ];
    const samples = cases.map((): number[] => []);
    try {
        // the first round warms caches up and is thrown away
        for (let round = 0; round <= args.repeats; round++) {
            for (const [i, { worker, tokens }] of cases.entries()) {
                const speed = (1000 * tokens) / (await worker.readPrompt(tokens));
                if (round > 0) samples[i]!.push(speed);
            }
            process.stderr.write(`\rround ${round} of ${args.repeats}`);
        }
        process.stderr.write("\n");
    } finally {
        for (const worker of workers) await worker.stop();
    }
    return {
        cases: cases.map(({ name, tokens }, i) => ({ name, tokens, samples: samples[i]! })),
        threads: stock.threads
    };
}

async function report({ cases, threads }: Awaited<ReturnType<typeof measure>>): Promise<void> {
    const [stock, short, sequential, diagonal] = cases.map(({ samples }) => samples) as [
        number[],
        number[],
        number[],
        number[]
    ];
    const comparisons = [
        { name: "sequential, one segment / stock", ratio: ratios(short, stock), target: SEQUENTIAL_TARGET },
        { name: "sequential / stock, one segment", ratio: ratios(sequential, stock), target: SEQUENTIAL_TARGET },
        { name: "diagonal / sequential", ratio: ratios(diagonal, sequential), target: DIAGONAL_TARGET }
    ];
    const date = new Date().toISOString();
    const result = {
        date,
        command: ["node", path.relative(process.cwd(), process.argv[1]!), ...process.argv.slice(2)].join(" "),
        machine: describeMachine(),
        threads,
        model: { ...model, parameters: parameters(model) },
        unit: "tokens/s of a prompt, from its start to the first token after it",
        cases: cases.map(({ name, tokens, samples }) => ({ name, tokens, ...summarize(samples) })),
        comparisons: comparisons.map(({ name, ratio, target }) => ({
            name,
            target,
            met: ratio.median >= target,
            ...ratio
        }))
    };
    console.log(`${result.machine.cpu}, ${threads} threads, ${(parameters(model) / 1e6).toFixed(0)} M parameters, F16`);
    console.table(
        result.cases.map(({ name, tokens, median, min, max }) => ({
            case: name,
            tokens,
            "tokens/s": median.toFixed(1),
            spread: `${min.toFixed(1)} to ${max.toFixed(1)}`
        }))
    );
    console.table(
        result.comparisons.map(({ name, median, min, max, target, met }) => ({
            comparison: name,
            ratio: median.toFixed(3),
            spread: `${min.toFixed(3)} to ${max.toFixed(3)}`,
            target: `${target}, ${met ? "met" : "missed"}`
        }))
    );
    await mkdir(args.out, { recursive: true });
    const file = path.join(args.out, `cpu-${date.slice(0, 10)}.json`);
    const text = Buffer.from(`${JSON.stringify(result, undefined, 4)}\n`);
    await writeAtomically(file, {}, (target) => target.write(text));
    console.log(`written to ${file}`);
}

/** Parameters of the base model and the memory together. */
function parameters(config: TinyConfig): number {
    return listTensors(config).reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0);
}
