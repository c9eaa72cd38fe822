import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import type { Writable } from "node:stream";
import { resolveModel } from "../../../plugin/model/model-cache.js";
import { availableCores } from "../../../plugin/native/threads.js";
import { describeMachine } from "../../bench/machine.js";
import {
    type BenchModel,
    decodeSequences,
    type MeasureHooks,
    measureDecode,
    measureDocuments,
    measurePrompt,
    stepsOfDecode,
    stepsOfDocuments,
    stepsOfPrompt
} from "../../bench/measure.js";
import { writePlainGguf } from "../../bench/plain-gguf.js";
import { benchPlot, benchTable } from "../../bench/report.js";
import { type BenchResults, type BenchSettings, keptGroups, readResults, writeResults } from "../../bench/results.js";
import { resolveShape } from "../../bench/shapes.js";
import { writeSyntheticModel } from "../../bench/synthetic.js";
import { validateArmtFile } from "../../formats/gguf/armt-model.js";
import { openGguf } from "../../formats/gguf/reader.js";
import { readFp8Products } from "../../model/fp8-products.js";
import { type GpuWish, gpuForArmt, missingGpu, wantedGpu } from "../../model/gpu.js";
import { writeAtomically } from "../../util/atomic-file.js";
import { ArmtError, quote } from "../../util/errors.js";
import { UsageError } from "../../util/failure.js";
import { formatLength, parseLength } from "../../util/lengths.js";
import { makeFolder } from "../../util/make-folder.js";
import { dashed } from "../../util/option-names.js";
import { createProgressBar } from "../../util/progress.js";
import { requireWritable } from "../shared/write-text.js";
import type { BenchOptions } from "./options.js";

type BenchGroup = BenchResults["groups"][number];

/** The smallest number of rounds whose median says something. */
const fewRuns = 5;

/** Measures, and writes a table, a JSON file and a plot. If interrupted, it leaves a file that `--resume` continues. */
export async function bench(options: BenchOptions, signal: AbortSignal, output: Writable): Promise<void> {
    if (options.resume && options.force)
        throw new UsageError("--resume keeps the JSON file, --force replaces it; give one");
    const settings = await settingsOf(options);
    const { json, resume, force } = options;
    const plot = options.plot ?? path.format({ ...path.parse(json), base: undefined, ext: ".svg" });
    if (!resume && !force && existsSync(json))
        throw new ArmtError(`${quote(json)} exists; --resume continues it, --force replaces it`);
    await requireWritable(json, plot);
    if (settings.runs < fewRuns)
        process.stderr.write(
            `with fewer than ${fewRuns} runs a median says little; for figures to publish, leave --runs\n`
        );
    const folder = await mkdtemp(path.join(os.tmpdir(), "armt-bench-"));
    try {
        const model = await prepareModel(options, settings, folder, signal);
        const results = await begin(options, model, settings);
        if (resume && existsSync(json)) results.groups = keptGroups(await readResults(json), results, json);
        await measureAll(model, results, textsOf(options), json, signal);
        output.write(benchTable(results));
        await writeAtomically(plot, {}, (target) => target.write(Buffer.from(benchPlot(results))));
    } finally {
        await rm(folder, { recursive: true, force: true });
    }
}

async function settingsOf(options: BenchOptions): Promise<BenchSettings> {
    const lengths = readLengths("lengths", options.lengths);
    const segments = readLengths("segments", options.segments);
    const { schedule, stock, stockLimit, stockLibrary, runs, maxCells, decode, documents } = options;
    if (!options.prompts && !decode && documents === undefined)
        throw new UsageError("--no-prompts leaves nothing to measure without --decode or --documents");
    textsOf(options);
    const fp8Products = readFp8Products(options);
    const gpu = await gpuForArmt(wantedGpu(options.gpu));
    const batchSize = options.batchSize ?? Math.max(gpu === false ? 512 : 8192, ...segments);
    return {
        gpu,
        threads: options.threads ?? availableCores(),
        runs,
        lengths: options.prompts ? lengths : [],
        segments,
        batchSize,
        stockBatchSize: options.stockBatchSize ?? (gpu === false ? batchSize : 512),
        ...(maxCells === undefined ? {} : { maxCells }),
        schedules: schedule === "both" ? ["sequential", "diagonal"] : [schedule],
        ...(fp8Products === undefined ? {} : { fp8Products }),
        stock,
        ...(stockLimit === undefined ? {} : { stockLimit: readLengths("stock-limit", stockLimit)[0]! }),
        stockLibrary,
        decode,
        ...(documents === undefined ? {} : { documents })
    };
}

/** Numbers of documents that enter the diagonal together; 0: the engine chooses. */
function textsOf({ documents, textsPerLayer }: BenchOptions): number[] {
    if (documents === undefined) {
        if (textsPerLayer !== undefined) throw new UsageError("--texts-per-layer needs --documents");
        return [];
    }
    if (textsPerLayer === undefined) return [0];
    const numbers = String(textsPerLayer).split(",").map(Number);
    if (numbers.some((n) => !Number.isInteger(n) || n < 1 || n > 64))
        throw new UsageError(`--texts-per-layer ${textsPerLayer}: each number must be an integer from 1 to 64`);
    return [...new Set(numbers)];
}

function readLengths(option: string, text: string): number[] {
    try {
        return [...new Set(String(text).split(",").map(parseLength))];
    } catch (error) {
        throw new UsageError(`--${option}: ${error instanceof Error ? error.message : String(error)}`);
    }
}

interface PreparedModel extends BenchModel {
    readonly name: string;
    readonly bytes: number;
}

async function prepareModel(
    options: BenchOptions,
    settings: BenchSettings,
    folder: string,
    signal: AbortSignal
): Promise<PreparedModel> {
    const { synthetic = "15m", type, layers, memTokens } = options;
    const cache = options.cacheFolder ?? folder;
    const label = [
        synthetic,
        layers === undefined ? "" : `${layers}l`,
        memTokens === undefined ? "" : `${memTokens}m`,
        type
    ]
        .filter((part) => part !== "")
        .join("-");
    let file = options.model === undefined ? undefined : resolveModel(options.model);
    if (file === undefined) {
        await makeFolder(cache);
        file = path.join(cache, `${label}.gguf`);
        if (!existsSync(file)) {
            const bar = createProgressBar(`making ${label}`);
            try {
                const shape = resolveShape(synthetic, { layers, memTokens });
                const onProgress = (done: number, total: number) => bar.update(done, total);
                await writeSyntheticModel({ shape, type, output: file, signal, onProgress });
            } finally {
                bar.stop();
            }
        }
    }
    const gguf = await openGguf(file);
    try {
        const info = validateArmtFile(gguf);
        const plain = settings.stock
            ? path.join(
                  options.model === undefined ? cache : folder,
                  `${options.model === undefined ? label : "model"}.plain.gguf`
              )
            : undefined;
        if (plain !== undefined && !existsSync(plain)) await writePlainGguf(file, plain);
        const name = options.model === undefined ? label.replace(`-${type}`, "") : path.basename(options.model);
        const stack = gguf.tensors.get("blk.0.ffn_up.weight")!;
        return { file, plain, info, type: stack.type.name, name, bytes: gguf.size };
    } finally {
        await gguf.close();
    }
}

async function begin(
    options: BenchOptions,
    { name, type, bytes, info }: PreparedModel,
    settings: BenchSettings
): Promise<BenchResults> {
    const machine = await describeMachine();
    const { model, cacheFolder: _, json: __, plot: ___, ...rest } = options;
    return {
        format: "armt bench 1",
        date: new Date().toISOString(),
        // without paths, which are nobody's business
        command:
            "armt bench " +
            `${commandLine({ ...rest, model: model === undefined ? undefined : path.basename(model) })}`,
        device: settings.gpu === false ? machine.cpu : await gpuName(settings, wantedGpu(options.gpu)),
        machine,
        model: {
            name,
            type,
            fingerprint: info.fingerprint,
            bytes,
            layers: info.blockCount,
            hidden: info.embeddingLength,
            memoryTokens: info.memory.tokenCount,
            memoryKeyLength: info.memory.keyLength
        },
        settings,
        groups: []
    };
}

/** The options that say what is measured. */
function commandLine(options: Partial<BenchOptions>): string {
    const {
        model,
        synthetic,
        layers,
        type,
        memTokens,
        lengths,
        segments,
        runs,
        schedule,
        stock,
        stockLimit,
        prompts,
        decode,
        documents,
        textsPerLayer,
        maxCells,
        precision,
        fp8Products,
        batchSize,
        stockBatchSize,
        gpu,
        threads
    } = options;
    const parts = {
        model,
        synthetic,
        layers,
        type,
        memTokens,
        lengths: prompts ? lengths : undefined,
        segments,
        runs,
        schedule,
        noStock: !stock,
        stockLimit,
        noPrompts: !prompts,
        decode,
        documents,
        textsPerLayer,
        maxCells,
        precision,
        fp8Products,
        batchSize,
        stockBatchSize,
        gpu,
        threads
    };
    return Object.entries(parts)
        .filter(([, value]) => value !== undefined && value !== false)
        .map(([name, value]) => {
            const option = `--${dashed(name)}`;
            return value === true ? option : `${option} ${value}`;
        })
        .join(" ");
}

/** Asked of a process of its own, so that this one holds no device memory. */
async function gpuName({ gpu, threads }: BenchSettings, wish: GpuWish): Promise<string> {
    const { BenchWorker } = await import("../../bench/worker-client.js");
    try {
        const worker = await BenchWorker.start("the device", { gpu, threads, library: "engine" });
        await worker.stop();
        return worker.device;
    } catch (error) {
        // errors of another process are known by their text alone
        if (error instanceof Error && error.message.includes("NoBinaryFoundError")) throw await missingGpu(wish, error);
        throw error;
    }
}

/** Tells which of the wanted groups of a kind are not measured yet. A group has all that was wanted of it. */
function isMissing(kind: BenchGroup["kind"], groups: readonly BenchGroup[]): (wanted: object) => boolean {
    return (wanted) => {
        const properties = Object.entries({ kind, ...wanted });
        return !groups.some((group) =>
            properties.every(([name, value]) => (group as Record<string, unknown>)[name] === value)
        );
    };
}

async function measureAll(
    model: BenchModel,
    results: BenchResults,
    texts: readonly number[],
    json: string,
    signal: AbortSignal
): Promise<void> {
    const { settings, groups } = results;
    const prompts = settings.segments.flatMap((segmentSize) =>
        settings.lengths.map((tokens) => ({ tokens, segmentSize }))
    );
    const decodes = settings.decode
        ? settings.segments.flatMap((segmentSize) => decodeSequences.map((sequences) => ({ sequences, segmentSize })))
        : [];
    const documents = settings.segments.flatMap((segmentSize) =>
        texts.map((textsPerLayer) => ({ segmentSize, textsPerLayer }))
    );
    const missingPrompts = prompts.filter(isMissing("prompt", groups));
    const missingDecodes = decodes.filter(isMissing("decode", groups));
    const missingDocuments = documents.filter(isMissing("documents", groups));
    // documents have 10 segments on average
    const documentTokens = (segmentSize: number) => 10 * segmentSize * (settings.documents ?? 0);
    // time grows with the tokens, so they are the measure of the progress
    const weight = ({ tokens }: { tokens: number }) => tokens * stepsOfPrompt(settings);
    const total =
        missingPrompts.reduce((sum, group) => sum + weight(group), 0) +
        missingDecodes.length * stepsOfDecode(settings) * 256 +
        missingDocuments.reduce((sum, { segmentSize }) => sum + documentTokens(segmentSize), 0) *
            stepsOfDocuments(settings);
    let done = 0;
    const hooks = (label: string, step: number): MeasureHooks & { stop: () => void } => {
        const bar = createProgressBar(label);
        const onStep = () => {
            done += step;
            bar.update(Math.min(done, total), total);
        };
        return { signal, onStep, stop: () => bar.stop() };
    };
    // a file to resume from is there from the start
    await writeResults(json, results);
    const finish = async (group: BenchGroup) => {
        groups.push(group);
        await writeResults(json, results);
    };
    try {
        for (const wanted of missingPrompts) {
            const hook = hooks(
                `${formatLength(wanted.tokens)} tokens, segments of ${wanted.segmentSize}`,
                wanted.tokens
            );
            try {
                await finish(await measurePrompt(model, settings, wanted, hook));
            } finally {
                hook.stop();
            }
        }
        for (const wanted of missingDecodes) {
            const hook = hooks(`generating, ${wanted.sequences} at once`, 256);
            try {
                await finish(await measureDecode(model, settings, wanted, hook));
            } finally {
                hook.stop();
            }
        }
        for (const wanted of missingDocuments) {
            const label = `${settings.documents} documents, segments of ${wanted.segmentSize}`;
            const hook = hooks(label, documentTokens(wanted.segmentSize));
            try {
                await finish(await measureDocuments(model, settings, wanted, hook));
            } finally {
                hook.stop();
            }
        }
    } catch (error) {
        if (!signal.aborted) throw error;
        throw new ArmtError(
            `interrupted; ${quote(json)} has ${groups.length} of ` +
                `${prompts.length + decodes.length + documents.length} groups; continue with --resume`,
            { cause: error }
        );
    }
}
