// `npm run bench:quantization`: what each type of weights costs. It measures recall and perplexity of the package's
// model, and size and speed of a random model with a well-known shape.

import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, stat } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import type { Llama, LlamaContextSequence, Token } from "../plugin/index.js";
import { availableCores } from "../plugin/native/threads.js";
import { describeMachine } from "../src/bench/machine.js";
import { resolveShape, type ShapeName, shapeNames } from "../src/bench/shapes.js";
import { summarize } from "../src/bench/statistics.js";
import { writeSyntheticModel } from "../src/bench/synthetic.js";
import { fileTypes, type QuantizeTarget } from "../src/convert/quantize/mixtures.js";
import { quantizeModel } from "../src/convert/quantize/quantize.js";
import { measurePerplexity } from "../src/eval/perplexity/perplexity.js";
import { makeHaystack } from "../src/eval/recall/haystack.js";
import { measureRecall } from "../src/eval/recall/measure.js";
import { readRecallTexts } from "../src/eval/recall/task.js";
import { recallModelPath } from "../src/model/embedded-model.js";
import { writeAtomically } from "../src/util/atomic-file.js";
import { seededRandom } from "../src/util/random.js";
import { textTable } from "../src/util/table.js";
import { quietLlama } from "./quiet-llama.js";

const args = await yargs(hideBin(process.argv))
    .usage("Measures what each type of weights costs.")
    .options({
        lengths: { type: "string", default: "4096:200,32768:60", describe: "Tokens read and questions asked of each" },
        "text-tokens": { type: "number", default: 16_384, describe: "Tokens of the text that perplexity is of" },
        shape: { choices: shapeNames, default: "llama-3.2-1b" as ShapeName, describe: "Shape of the random model" },
        layers: { type: "number", describe: "Layers of the random model [default: the shape's]" },
        prompt: { type: "number", default: 128, describe: "Tokens of the prompt that is timed" },
        generate: { type: "number", default: 8, describe: "Tokens generated and timed after it" },
        runs: { type: "number", default: 3, describe: "Rounds; every type runs once in each" },
        threads: { type: "number", default: availableCores(), describe: "CPU threads for the random model" },
        seed: { type: "number", default: 1, describe: "Of texts and questions" },
        "cache-folder": { type: "string", describe: "Folder for the models, which stay for the next run" },
        prepare: { type: "boolean", default: false, describe: "Only make the models" },
        out: { type: "string", default: "bench/results", describe: "Folder for the JSON file" }
    })
    .strict()
    .parse();

const types = Object.keys(fileTypes) as QuantizeTarget[];
/** The package's model is too small to benefit from a second thread. */
const qualityOptions = { threads: 1 };
const shape = resolveShape(args.shape, { layers: args.layers });

const cache = args.cacheFolder;
if (cache !== undefined) await mkdir(cache, { recursive: true });
const folder = cache ?? (await mkdtemp(path.join(os.tmpdir(), "armt-bench-")));

/** Makes a file of each type, from the package's model (with q8_0 weights) or from a random f16 model. */
async function modelsOf(name: string, input: string, requantize: boolean): Promise<Record<QuantizeTarget, string>> {
    const files: [QuantizeTarget, string][] = [];
    for (const type of types) {
        const output = path.join(folder, `${name}-${type}.gguf`);
        if (!existsSync(output)) {
            console.log(`making ${path.basename(output)}`);
            await quantizeModel({ input, output, mixture: type, requantize });
        }
        files.push([type, output]);
    }
    return Object.fromEntries(files) as Record<QuantizeTarget, string>;
}

async function withModel<T>(
    llama: Llama,
    modelPath: string,
    { segmentSize, threads }: { segmentSize?: number; threads: number },
    work: (sequence: LlamaContextSequence) => Promise<T>
): Promise<T> {
    const model = await llama.loadModel({ modelPath });
    try {
        const context = await model.createContext({
            batchSize: 512,
            threads,
            armt: { schedule: "sequential", segmentSize }
        });
        return await work(context.getSequence());
    } finally {
        await model.dispose();
    }
}

const texts = await readRecallTexts();

async function measureQuality(llama: Llama, modelPath: string) {
    const recall = [];
    for (const part of args.lengths.split(",")) {
        const [tokens = 0, questions = 0] = part.split(":").map(Number);
        recall.push(
            await withModel(llama, modelPath, qualityOptions, async ({ context, model }) => {
                const options = { tokens, questions, facts: 10, seed: args.seed, split: "heldOut" } as const;
                // a context has one sequence, and measureRecall needs its own
                const own = await model.createContext({ batchSize: 512, ...qualityOptions });
                await context.dispose();
                const { asked, right, interval, withoutMemory } = await measureRecall(model, own, texts, options);
                return { tokens, asked, right, recall: right / asked, interval, withoutMemory: withoutMemory.recall };
            })
        );
    }
    const perplexity = await withModel(llama, modelPath, qualityOptions, async (sequence) => {
        const { model } = sequence;
        const countTokens = (text: string) => model.tokenize(text).length;
        const haystack = makeHaystack(texts, { tokens: args.textTokens, facts: 40, seed: args.seed, countTokens });
        const { tokens, total } = await measurePerplexity(sequence, model.tokenize([...haystack.sentences()].join("")));
        return { tokens, withMemory: total.withMemory, withoutMemory: total.withoutMemory };
    });
    return { recall, perplexity, bytes: (await stat(modelPath)).size };
}

/** Measures the time to the first token after a prompt, and for each further token. Unit: milliseconds. */
async function timeOnce(llama: Llama, modelPath: string) {
    return await withModel(llama, modelPath, { segmentSize: 512, threads: args.threads }, async (sequence) => {
        const random = seededRandom(args.seed, "bench");
        const ids = Array.from({ length: args.prompt }, () => Math.floor(random() * shape.vocab)) as Token[];
        const generate = async (prompt: Token[], count: number) => {
            const start = performance.now();
            let first = 0;
            let tokens = 0;
            for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
                if (tokens++ === 0) first = performance.now();
                if (tokens > count) break;
            }
            return { prompt: first - start, token: (performance.now() - first) / count };
        };
        // warm up: the first run reads weights from disk and touches buffers
        await generate(ids, 1);
        await sequence.clearHistory();
        return await generate(ids, args.generate);
    });
}

try {
    const random = path.join(folder, `${args.shape}-${shape.layers}.gguf`);
    if (!existsSync(random)) await writeSyntheticModel({ shape, type: "f16", output: random });
    const trained = await modelsOf("recall", recallModelPath, true);
    const synthetic = await modelsOf(`${args.shape}-${shape.layers}`, random, false);
    if (!args.prepare) await measureAll(trained, synthetic);
} finally {
    if (cache === undefined) await rm(folder, { recursive: true, force: true });
}

async function measureAll(
    trained: Record<QuantizeTarget, string>,
    synthetic: Record<QuantizeTarget, string>
): Promise<void> {
    const llama = await quietLlama(false, args.threads);
    const times = new Map(types.map((type) => [type, { prompt: [] as number[], token: [] as number[] }]));
    for (let round = 0; round < args.runs; round++) {
        // each round begins with a different type, so that no type always runs at the same point
        for (let i = 0; i < types.length; i++) {
            const type = types[(i + round) % types.length]!;
            const { prompt, token } = await timeOnce(llama, synthetic[type]);
            times.get(type)!.prompt.push(prompt);
            times.get(type)!.token.push(token);
            console.log(`round ${round + 1}, ${type}: ${prompt.toFixed(0)} ms, then ${token.toFixed(0)} ms a token`);
        }
    }
    const rows = [];
    for (const type of types) {
        const quality = await measureQuality(llama, trained[type]);
        const { prompt, token } = times.get(type)!;
        rows.push({
            type,
            recallModel: quality,
            random: {
                bytes: (await stat(synthetic[type])).size,
                promptMilliseconds: summarize(prompt),
                tokenMilliseconds: summarize(token)
            }
        });
        console.log(`${type}: measured`);
    }
    await llama.dispose();
    const date = new Date().toISOString();
    const { $0: _, _: __, cacheFolder: ___, "cache-folder": ____, ...settings } = args;
    const result = {
        format: "armt bench quantization 1",
        date,
        machine: await describeMachine(),
        settings: { ...settings, layers: shape.layers },
        rows
    };
    await mkdir(args.out, { recursive: true });
    const file = path.join(args.out, `quantization-${date.slice(0, 10)}.json`);
    await writeAtomically(file, {}, (target) => target.write(Buffer.from(`${JSON.stringify(result, undefined, 4)}\n`)));
    const percent = (x: number) => `${(100 * x).toFixed(1)} %`;
    process.stdout.write(
        textTable(
            [
                "type",
                "MB",
                ...rows[0]!.recallModel.recall.map(({ tokens }) => `recall ${tokens}`),
                "perplexity",
                "MB",
                "prompt tokens/s",
                "generated tokens/s"
            ],
            rows.map(({ type, recallModel, random }) => [
                type,
                (recallModel.bytes / 1e6).toFixed(2),
                ...recallModel.recall.map(({ recall, asked }) => `${percent(recall)} of ${asked}`),
                recallModel.perplexity.withMemory.perplexity.toFixed(2),
                (random.bytes / 1e6).toFixed(0),
                ((1000 * args.prompt) / random.promptMilliseconds.median).toFixed(1),
                (1000 / random.tokenMilliseconds.median).toFixed(2)
            ])
        )
    );
    console.log(`written to ${file}`);
}
