import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { type Llama, LlamaLogLevel, type Token } from "../../plugin/index.js";
import { segmentAlignments } from "../convert/armt-config.js";
import { type ConvertOptions, convertCheckpoint } from "../convert/convert.js";
import { readLosses } from "../eval/perplexity/losses.js";
import { validateArmtModel } from "../formats/gguf/armt-model.js";
import { rewriteKeys } from "../formats/gguf/rewrite.js";
import { startLlama, wantedGpu } from "../model/gpu.js";
import { contextOptions, type ModelOptions } from "../model/options.js";
import { chooseThreads } from "../model/usable-threads.js";
import { ArmtError, quote } from "../util/errors.js";
import { type Detection, detection, type Measured, rank } from "./compare.js";
import { type Candidates, firstRound, secondRound, type Variant, variantKeys } from "./variants.js";

export type DetectOptions = Omit<ConvertOptions, "output" | "overwrite" | "onProgress"> & {
    /** How the model is run. */
    computing: Omit<ModelOptions, "model" | "segmentSize" | "verify">;
    /** The text, or its tokens. */
    text: string | readonly Token[];
    /**
     * Segment sizes to compare. Default: the one that the checkpoint's files or the flags give, otherwise 512 and 1024.
     */
    segmentSizes?: readonly number[];
    /** Maximum number of tokens of the text to read. Default: 9 of the largest segments. */
    maxTokens?: number;
    /** Called when a variant has been measured. */
    onVariant?: (done: number, variant: Variant) => void;
};

const defaultSegmentSizes = [512, 1024];
/**
 * The text is read in windows of this many of the largest segments, each from an empty memory. Models that were trained
 * on few segments drift in long texts, and the wrong variant may drift less. Not a whole number, since alignment shows
 * only if a segment is short.
 */
const WINDOW_SEGMENTS = 4.5;
const DEFAULT_WINDOWS = 2;
/** Fewer tokens say nothing. */
const MIN_SCORED_TOKENS = 16;

/**
 * Finds out how a checkpoint or a model file computes its memory: measures the loss of the later segments of a text
 * under each candidate variant. Keys and segment size are compared first, then correction and alignment.
 * @throws {ArmtError} for a text that is too short, and for whatever fails in the conversion
 */
export async function detectVariant(options: DetectOptions): Promise<Detection> {
    const folder = await mkdtemp(path.join(os.tmpdir(), "armt-detect-"));
    try {
        const { file, given } = await modelFile(options, folder);
        const known = await validateArmtModel(file);
        if (known.memory.kind === "recurrent")
            throw new ArmtError(
                `${quote(options.checkpoint)} is plain RMT, which has no keys, correction or other variants to compare`
            );
        const candidates = candidatesOf(options, given ? known.segmentSize : undefined);
        const start: Variant = {
            segmentSize: known.segmentSize,
            segmentAlignment: known.segmentAlignment,
            normalizeKeys: known.memory.normalizeKeys,
            correction: known.memory.correction,
            ...pick(options.flags)
        };
        const computing = { ...options.computing, threads: await chooseThreads(options.computing.threads)() };
        const llama = await startLlama(wantedGpu(computing.gpu), true, {
            build: "never",
            maxThreads: computing.threads,
            logLevel: LlamaLogLevel.error,
            progressLogs: false
        });
        try {
            const files = { model: file, variant: path.join(folder, "variant.gguf") };
            const measure = new Measurement(
                { ...options, computing },
                llama,
                files,
                Math.max(...candidates.segmentSize)
            );
            const first = [];
            for (const variant of firstRound(candidates, start)) first.push(await measure.run(variant));
            const best = rank(first).results[0]!.variant;
            const second = [];
            for (const variant of secondRound(candidates, best)) second.push(await measure.run(variant));
            return detection(first, second);
        } finally {
            await llama.dispose();
        }
    } finally {
        await rm(folder, { recursive: true, force: true });
    }
}

/** Model file of a checkpoint, and whether its segment size is known. */
async function modelFile(options: DetectOptions, folder: string): Promise<{ file: string; given: boolean }> {
    if (options.checkpoint.endsWith(".gguf")) return { file: options.checkpoint, given: true };
    const output = path.join(folder, "model.gguf");
    const { flags, checkpoint, base, outType, lora, vocabFrom, pre, onWarning, signal } = options;
    const convert = (more: ConvertOptions["flags"]) =>
        convertCheckpoint({
            ...{ checkpoint, base, outType, lora, vocabFrom, pre, onWarning, signal, output },
            namesPublished: true,
            flags: { ...flags, normalizeKeys: flags?.normalizeKeys ?? true, ...more }
        });
    try {
        await convert({});
        return { file: output, given: true };
    } catch (error) {
        if (!(error instanceof ArmtError) || !error.message.startsWith("`segment_size` is unknown")) throw error;
        await convert({ segmentSize: options.segmentSizes?.[0] ?? defaultSegmentSizes[0] });
        return { file: output, given: false };
    }
}

function candidatesOf({ flags, segmentSizes }: DetectOptions, known: number | undefined): Candidates {
    const { normalizeKeys, segmentSize, segmentAlignment, correction } = flags ?? {};
    const sizes = known === undefined ? defaultSegmentSizes : [known];
    return {
        normalizeKeys: normalizeKeys === undefined ? [true, false] : [normalizeKeys],
        segmentSize: segmentSizes ?? (segmentSize === undefined ? sizes : [segmentSize]),
        segmentAlignment: segmentAlignment === undefined ? segmentAlignments : [segmentAlignment],
        correction: correction === undefined ? [true, false] : [correction]
    };
}

function pick(flags: DetectOptions["flags"] = {}): Partial<Variant> {
    const { normalizeKeys, segmentSize, segmentAlignment, correction } = flags;
    const values = { normalizeKeys, segmentSize, segmentAlignment, correction };
    return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/** Measures one variant after the other over the same tokens. */
class Measurement {
    private done = 0;

    constructor(
        private readonly options: DetectOptions,
        private readonly llama: Llama,
        private readonly files: { model: string; variant: string },
        /** Only tokens behind the longest first segment can gain from memory under all variants. */
        private readonly firstScored: number
    ) {}

    public async run(variant: Variant): Promise<Measured> {
        const { signal, onVariant } = this.options;
        signal?.throwIfAborted();
        await rewriteKeys(this.files.model, this.files.variant, variantKeys(variant), { overwrite: true, signal });
        const losses = await this.losses();
        onVariant?.(++this.done, variant);
        return { variant, losses };
    }

    private async losses(): Promise<Float64Array> {
        const size = Math.floor(WINDOW_SEGMENTS * this.firstScored);
        const { computing, text, signal, maxTokens = DEFAULT_WINDOWS * size } = this.options;
        const model = await this.llama.loadModel({ modelPath: this.files.variant });
        try {
            const ids = (typeof text === "string" ? model.tokenize(text) : text).slice(0, maxTokens);
            if (ids.length - 1 - this.firstScored < MIN_SCORED_TOKENS)
                throw new ArmtError(
                    `the text has ${ids.length} tokens; comparing takes at least ` +
                        `${this.firstScored + MIN_SCORED_TOKENS + 1}, more than one segment: pass a longer text`
                );
            const context = await model.createContext({ ...contextOptions({ ...computing, verify: false }) });
            const sequence = context.getSequence();
            const scored: number[] = [];
            for (let start = 0; ids.length - start - 1 > this.firstScored; start += size) {
                const window = ids.slice(start, start + size);
                const losses = new Float64Array(window.length - 1);
                await sequence.clearHistory();
                await readLosses(sequence, window, { ids: window, start: 0, losses, signal });
                for (const loss of losses.subarray(this.firstScored)) scored.push(loss);
            }
            return Float64Array.from(scored);
        } finally {
            await model.dispose();
        }
    }
}
