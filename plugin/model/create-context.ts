import type { LlamaContext, LlamaContextOptions, LlamaModel } from "node-llama-cpp";
import { ArmtContext } from "../context/ArmtContext.js";
import { BatchQueue } from "../context/BatchQueue.js";
import { decorateContext } from "../context/decorate-context.js";
import { Evaluation } from "../context/evaluation.js";
import { QuestionCuts } from "../context/question-cuts.js";
import { ArmtMemoryStore } from "../memory/ArmtMemoryStore.js";
import type { ArmtAddon } from "../native/addon.js";
import { createNativeContext } from "../native/create-context.js";
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

/** Default of `batchSize` on a GPU, where one diagonal is faster than many calls with a few tokens each. */
const gpuBatchSize = 4096;

/** What a context is created from. */
export interface ContextSource {
    readonly model: LlamaModel;
    readonly addon: ArmtAddon;
    readonly info: ArmtModelInfo;
    /** Absolute path of the model file; empty if unknown. */
    readonly modelPath: string;
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
    { model, addon, info, modelPath, createPlainContext }: ContextSource,
    armtOptions: ArmtContextOptions | undefined,
    options: LlamaContextOptions
): Promise<LlamaContext> {
    const nativeOptions = resolveContextOptions(armtOptions);
    const { memoryStore, onProgress, closeBeforeQuestion } = armtOptions ?? {};
    if (memoryStore !== undefined && !(memoryStore instanceof ArmtMemoryStore))
        throw new TypeError("`armt.memoryStore` must come from ArmtMemoryStore.open()");
    const sizes = resolveSizes(options, model.llama.gpu !== false);
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
    const batches = new BatchQueue(context, decodeOf(context), strategy, (id) => engine.takeSequenceError(id));
    const evaluation = new Evaluation(armt, batches, onProgress);
    decorateContext(context, armt, evaluation, (sequence) => decorateSequence(sequence, armt, evaluation));
    return context;
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
