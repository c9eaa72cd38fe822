import type { Token } from "../../plugin/index.js";
import { resolveModel } from "../../plugin/model/model-cache.js";
import type { ArmtHints } from "../convert/armt-config.js";
import { armtFlags, type CheckpointArguments, loraFlags } from "../convert/checkpoint-arguments.js";
import { dialectOf } from "../convert/dialects.js";
import { openCheckpoint } from "../convert/open-checkpoint.js";
import { type ArmtModelKeys, validateArmtFile } from "../formats/gguf/armt-model.js";
import { checkFiniteWeights } from "../formats/gguf/finite-weights.js";
import { openGguf } from "../formats/gguf/reader.js";
import { openModel } from "../model/open-model.js";
import type { ModelOptions } from "../model/options.js";
import { checkTokenIds, readTokenIds } from "../model/token-ids.js";
import { ArmtError, quote } from "../util/errors.js";
import { createProgressBar } from "../util/progress.js";
import { segmentLengths } from "../util/segment-lengths.js";
import { compareLogits, relativeError, toleranceOf } from "./compare.js";
import { openParts } from "./open-parts.js";
import { type PlainResult, runPlainModel } from "./plain-model.js";
import { runPlainRecurrent } from "./plain-recurrent.js";
import { judge, type VerifyReport } from "./report.js";

export interface VerifyOptions extends Omit<ModelOptions, "model" | "kvType">, CheckpointArguments {
    model: string;
    against: string;
    /** The memory's file; `against` is a stock GGUF file of its base then. */
    memory?: string;
    /** Number of whole segments before the last one, which is half full. */
    segments: number;
    /** JSON file with the token ids to read. */
    tokens?: string;
    tolerance?: number;
    json: boolean;
}

/**
 * Default number of tokens in a segment, unless the model's segments are smaller. Each token takes the plain model
 * about a second per 10^9 weights.
 */
const DEFAULT_SEGMENT = 16;

/**
 * Runs the same tokens through the engine and the plain model and compares the results. The report says whether they
 * differ.
 * @throws {ArmtError} if either can't be opened or their shapes differ
 */
export async function verifyModel(options: VerifyOptions, signal: AbortSignal): Promise<VerifyReport> {
    const { against, segments: segmentCount } = options;
    const model = resolveModel(options.model);
    const { info, type, tolerance } = await readInfo(model);
    const source = { flags: armtFlags(options), lora: loraFlags(options), hints: hintsOf(info) };
    const checkpoint =
        options.memory === undefined
            ? await openCheckpoint({ checkpoint: against, base: options.base, ...source })
            : await openParts({ base: against, memory: options.memory, ...source });
    const bar = createProgressBar("computing the plain model");
    try {
        const { base, armt } = checkpoint;
        checkSizes(options.model, info, base);
        const size = options.segmentSize ?? Math.min(info.segmentSize, DEFAULT_SEGMENT);
        const ids =
            options.tokens === undefined
                ? randomIds(segmentCount * size + Math.ceil(size / 2), info.vocabSize)
                : await readTokenIds(options.tokens);
        checkTokenIds(ids, info.vocabSize);
        // run the engine first: its errors appear within seconds
        const engine = await runEngine({ ...options, segmentSize: size }, ids, signal);
        const onLayer = bar.update;
        const run = armt.memoryKind === "recurrent" ? runPlainRecurrent : runPlainModel;
        const plain = await run(checkpoint, ids, { segmentSize: size, onLayer, signal });
        const lengths = segmentLengths(ids.length, size, armt.segmentAlignment);
        return judge({
            model: options.model,
            checkpoint: against,
            baseArchitecture: base.architecture,
            type,
            gpu: engine.gpu,
            tolerance: options.tolerance ?? tolerance,
            segments: compareSegments(plain, engine.logits, lengths, info.vocabSize),
            memories: plain.memories.map(({ a, z }, layer) => {
                const { a: actualA, z: actualZ } = engine.memories[layer]!;
                const difference = { layer, a: relativeError(a, actualA) };
                return actualZ === undefined ? difference : { ...difference, z: relativeError(z, actualZ) };
            })
        });
    } finally {
        bar.stop();
        await checkpoint.weights.close();
    }
}

async function readInfo(model: string): Promise<{ info: ArmtModelKeys; type: string; tolerance: number }> {
    await checkFiniteWeights(model);
    const file = await openGguf(model);
    try {
        return { info: validateArmtFile(file), ...toleranceOf(file) };
    } finally {
        await file.close();
    }
}

/** Settings to use where the checkpoint's files have none: only the model file records the converter's options. */
function hintsOf({ segmentSize, segmentAlignment, seesPreviousSegment, memory, ...info }: ArmtModelKeys): ArmtHints {
    const { headCount, normalizeKeys, useDenom, correction, gating } = memory;
    const slidingWindow = seesPreviousSegment;
    const { previousPositions } = info;
    const form = { mutualMemory: memory.mutual, previousPositions, disjointMemory: memory.disjoint };
    const dialect = dialectOf(form, slidingWindow);
    return {
        ...{ segmentSize, segmentAlignment, slidingWindow, dialect, headCount },
        ...{ normalizeKeys, useDenom, correction, gating },
        rereadsPrevious: info.rereadsPreviousSegment,
        positionsContinue: info.positions.type === "learned" && info.positions.continues
    };
}

function checkSizes(
    model: string,
    info: ArmtModelKeys,
    base: { architecture: string; vocabSize: number; hiddenSize: number; layerCount: number }
): void {
    for (const [what, ours, theirs] of [
        ["base model", alike(info.baseArchitecture), alike(base.architecture)],
        ["vocabulary", info.vocabSize, base.vocabSize],
        ["width", info.embeddingLength, base.hiddenSize],
        ["number of layers", info.blockCount, base.layerCount]
    ] as const)
        if (ours !== theirs)
            throw new ArmtError(
                `${quote(model)} was not made from this checkpoint: its ${what} is ${ours}, the checkpoint's ${theirs}`
            );
}

/** A stock Mistral file with attached memory is labelled as LLaMA, since their layers are the same. */
function alike(architecture: string): string {
    return architecture === "mistral" ? "llama" : architecture;
}

/** The same tokens on every run: the high bits of a linear congruential generator. */
function randomIds(count: number, vocabSize: number): number[] {
    let state = 1;
    return Array.from({ length: count }, () => {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        return Math.floor((state / 2 ** 32) * vocabSize);
    });
}

interface EngineResult {
    readonly gpu: string | false;
    /** [n, V] */
    readonly logits: Float32Array;
    readonly memories: readonly { a: Float32Array; z?: Float32Array }[];
}

async function runEngine(
    options: Omit<VerifyOptions, "tokens">,
    ids: readonly number[],
    signal: AbortSignal
): Promise<EngineResult> {
    const { llama, model, vocabSize, createContext } = await openModel({ ...options, kvType: "f32" });
    try {
        const { armt } = (await createContext()).getSequence();
        if (armt === undefined || model.armt === undefined)
            throw new ArmtError(`${quote(options.model)} is not an ARMT model`);
        const logits = new Float32Array(ids.length * vocabSize);
        let done = 0;
        for await (const rows of armt.evaluateLogits(ids as Token[])) {
            signal.throwIfAborted();
            logits.set(rows, done);
            done += rows.length;
        }
        await armt.closeSegment();
        const memories: EngineResult["memories"][number][] = [];
        const layers = model.armt.memoryKind === "recurrent" ? 1 : model.armt.layers;
        for (let layer = 0; layer < layers; layer++) memories.push(await armt.readMemory(layer));
        return { gpu: llama.gpu, logits, memories };
    } finally {
        await llama.dispose();
    }
}

function compareSegments(plain: PlainResult, logits: Float32Array, lengths: readonly number[], vocabSize: number) {
    let first = 0;
    return plain.logits.map((expected, s) => {
        const start = first * vocabSize;
        first += lengths[s]!;
        return compareLogits(expected, logits.subarray(start, first * vocabSize), vocabSize);
    });
}
