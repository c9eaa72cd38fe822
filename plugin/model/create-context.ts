import os from "node:os";
import type { LlamaContext, LlamaContextOptions, LlamaModel } from "node-llama-cpp";
import { ArmtContext } from "../context/ArmtContext.js";
import { BatchQueue } from "../context/BatchQueue.js";
import { decorateContext } from "../context/decorate-context.js";
import { Evaluation } from "../context/evaluation.js";
import { QuestionCuts } from "../context/question-cuts.js";
import { ArmtError } from "../errors.js";
import { ArmtMemoryStore } from "../memory/ArmtMemoryStore.js";
import type { ArmtAddon, NativeContextOptions } from "../native/addon.js";
import { createNativeContext } from "../native/create-context.js";
import { segmentOverflows } from "../native/enums.js";
import { takeBatchStrategy } from "../node-llama-cpp/batching.js";
import { decodeOf } from "../node-llama-cpp/decode.js";
import { type ArmtContextOptions, resolveContextOptions } from "../options.js";
import { decorateSequence } from "../sequence/decorate-sequence.js";
import type { ArmtModelInfo } from "../types.js";
import { questionStart } from "./question-text.js";

/** Bound of `contextSize` × `sequences`: llama.cpp counts positions in 32 bits and rounds contexts up to 256 cells. */
const maxPositions = 2 ** 31 - 256;

/** Positions that a model file can name (`armt.context_length`); llama.cpp warns about more. */
const maxContextSize = 2 ** 30;

/** Largest segment size of the engine. Unit: tokens. */
const maxSegmentSize = 2 ** 20;

/** Default of `batchSize` on a GPU, where one diagonal is faster than many calls with a few tokens each. */
const gpuBatchSize = 4096;

/** What a context is created from. */
export interface ContextSource {
    readonly model: LlamaModel;
    readonly addon: ArmtAddon;
    readonly info: ArmtModelInfo;
    /** Absolute path of the model file; empty if unknown. */
    readonly modelPath: string;
    /** Whether RPC servers hold a part of the model. */
    readonly hasServers: boolean;
    /** node-llama-cpp's own `model.createContext`. */
    readonly createPlainContext: LlamaModel["createContext"];
}

/**
 * Creates a context of an ARMT model.
 * @throws {TypeError} for an option of the wrong kind
 * @throws {RangeError} for an option outside its range
 * @throws {ArmtNativeError} if the engine refuses the model, or another libllama created the context
 */
export async function createContext(
    { model, addon, info, modelPath, hasServers, createPlainContext }: ContextSource,
    armtOptions: ArmtContextOptions | undefined,
    options: LlamaContextOptions
): Promise<LlamaContext> {
    const nativeOptions = growOnlyFromLeft(
        resolveContextOptions(armtOptions, info.ask?.close === false ? "answer" : "close"),
        info
    );
    const { memoryStore, onProgress, closeBeforeQuestion } = armtOptions ?? {};
    if (memoryStore !== undefined && !(memoryStore instanceof ArmtMemoryStore))
        throw new TypeError("`armt.memoryStore` must come from ArmtMemoryStore.open()");
    checkMask(info, model, armtOptions);
    const sizes = resolveSizes(options, hasServers || model.llama.gpu !== false);
    const { context, engine } = await createNativeContext(addon, nativeOptions, () =>
        createPlainContext({ ...options, ...sizes })
    );
    const start = questionStart(model, info);
    const questions = start && new QuestionCuts(start);
    const armt = new ArmtContext({
        context,
        engine,
        model: info,
        memoryStore,
        questions,
        closeBeforeQuestion,
        modelPath
    });
    const strategy = await takeBatchStrategy(context);
    const takeError = (id: number) => engine.takeSequenceError(id);
    const { textsPerLayer, layers, segmentSize } = engine.info;
    const pipeline =
        textsPerLayer === 0
            ? undefined
            : {
                  layers,
                  segmentSize,
                  segmentsInFlight: (id: number) => addon.sequenceStats(engine.id, id)?.segmentsInFlight ?? 0
              };
    // node-llama-cpp does not let two contexts compute at the same time with Vulkan
    const native = model.llama.gpu === "vulkan" ? undefined : engine;
    const batches = new BatchQueue(context, decodeOf(context), strategy, takeError, pipeline, native);
    const evaluation = new Evaluation(armt, batches, onProgress);
    decorateContext(context, armt, evaluation, (sequence) => decorateSequence(sequence, armt, evaluation));
    return context;
}

/** `"answer"` is `"close"` where the size of segments depends on the whole prompt: a part of it cannot be cut again. */
function growOnlyFromLeft(options: NativeContextOptions, { segmentAlignment }: ArmtModelInfo): NativeContextOptions {
    if (segmentAlignment === "left" || segmentOverflows[options.segmentOverflow] !== "answer") return options;
    return { ...options, segmentOverflow: segmentOverflows.indexOf("close"), openSegmentLimit: 0 };
}

/** Bytes of a mask for each pair of a row that attends and a row that it may see. */
const maskBytes = 2;

/**
 * The engine holds the mask of a whole segment, and a second one for layers whose attention has a window.
 * @throws {ArmtError} if that does not fit into memory
 */
function checkMask(info: ArmtModelInfo, model: LlamaModel, options?: ArmtContextOptions): void {
    const size = options?.segmentSize ?? info.segmentSize;
    // the engine refuses it
    if (size > maxSegmentSize) return;
    const { memoryTokens, sinkTokens, rereadsPreviousSegment, seesPreviousSegment } = info;
    const rows = (rereadsPreviousSegment ? 2 : 1) * size + memoryTokens + sinkTokens;
    const seen = seesPreviousSegment ? rows + size : rows;
    const bytes = (hasWindow(model) ? 2 : 1) * maskBytes * rows * seen;
    const free = availableMemory();
    if (bytes < free) return;
    throw new ArmtError(
        `a segment of ${rows} rows needs ${formatBytes(bytes)} for its mask, and ${formatBytes(free)} of memory are ` +
            "free; create the context with a smaller segmentSize"
    );
}

function hasWindow({ fileInfo }: LlamaModel): boolean {
    const { armt } = fileInfo.metadata as { readonly armt?: { readonly attention?: { sliding_window?: unknown } } };
    return armt?.attention?.sliding_window !== undefined;
}

/** Unit: bytes. Older versions of Node.js know less about limits of containers. */
function availableMemory(): number {
    return process.availableMemory?.() ?? os.freemem();
}

function formatBytes(bytes: number): string {
    return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

/** ARMT contexts are unbounded by default. */
function resolveSizes(
    { contextSize, batchSize, sequences = 1 }: LlamaContextOptions,
    gpu: boolean
): Pick<LlamaContextOptions, "contextSize" | "batchSize"> {
    const count = Math.max(1, Math.floor(sequences));
    const unbounded = Math.min(maxContextSize, Math.floor(maxPositions / count / 256) * 256);
    const size = contextSize === undefined || contextSize === "auto" ? unbounded : contextSize;
    const gpuSize = gpu && typeof size === "number" ? Math.min(gpuBatchSize, size) : undefined;
    return { contextSize: size, batchSize: batchSize ?? gpuSize };
}
