import type {
    ArmtMemoryStore,
    ArmtProgress,
    ArmtSnapshotOrigin,
    Llama,
    LlamaContext,
    LlamaContextOptions,
    LlamaModel
} from "../../plugin/index.js";
import { resolveModel } from "../../plugin/model/model-cache.js";
import { ArmtError, quote } from "../util/errors.js";
import { UsageError } from "../util/failure.js";
import { checkModelFile } from "./check-model-file.js";
import { embeddedModel } from "./embedded-model.js";
import { startLlama, wantedGpu } from "./gpu.js";
import { NativeLog } from "./NativeLog.js";
import { contextOptions, type ModelOptions } from "./options.js";
import { usableThreads } from "./usable-threads.js";
import { verifyWithProgress } from "./verify-with-progress.js";

/** A loaded model. */
export interface OpenModel {
    readonly llama: Llama;
    readonly model: LlamaModel;
    /** The file that it was loaded from. */
    readonly file: string;
    readonly vocabSize: number;
    /**
     * Makes a context as the command line asks for it.
     * @throws {UsageError} if an option of the command line is out of the model's range
     */
    createContext(options?: OpenContextOptions): Promise<LlamaContext>;
}

/** What a command adds to the command line's options. */
export interface OpenContextOptions extends Pick<LlamaContextOptions, "sequences" | "batching"> {
    /** For an ARMT model only. */
    onProgress?: (progress: ArmtProgress) => void;
    /** For an ARMT model only. */
    memoryStore?: ArmtMemoryStore;
    /** The context must fit this snapshot; this overrides the command line. */
    like?: ArmtSnapshotOrigin;
}

/**
 * Checks and loads a model file; by default, the included model. Keeps llama.cpp's log off the terminal, except its
 * last error.
 * @throws {ArmtError} if the file is not a whole model file
 */
export async function openModel(options: ModelOptions): Promise<OpenModel> {
    const { verify, verbose = false } = options;
    const threads = usableThreads(options.threads);
    const modelPath = options.model === undefined ? embeddedModel() : resolveModel(options.model);
    const gpu = wantedGpu(options.gpu);
    const isArmt = await checkModelFile(modelPath);
    if (isArmt && verify) await verifyWithProgress(modelPath);
    const { LlamaLogLevel } = await import("../../plugin/index.js");
    const log = new NativeLog(verbose);
    const llama = await startLlama(gpu, isArmt, {
        // a compilation of plain llama.cpp would take minutes and could not run ARMT models
        build: "never",
        maxThreads: threads,
        logLevel: verbose ? LlamaLogLevel.info : LlamaLogLevel.error,
        progressLogs: false,
        logger: log.logger
    });
    try {
        const model = await llama.loadModel({ modelPath });
        const createContext: OpenModel["createContext"] = async ({ onProgress, memoryStore, like, ...more } = {}) => {
            const { armt, ...rest } = contextOptions({ ...options, threads }, like);
            try {
                const extended = model.armt === undefined ? armt : { ...armt, onProgress, memoryStore };
                return await model.createContext({ ...rest, ...more, armt: extended });
            } catch (error) {
                if (error instanceof RangeError) throw new UsageError(error.message);
                if (error instanceof ArmtError) throw error;
                throw new ArmtError(log.explain(error), { cause: error });
            }
        };
        return { llama, model, file: modelPath, vocabSize: vocabSizeOf(model), createContext };
    } catch (error) {
        await llama.dispose();
        throw new ArmtError(`cannot load ${quote(modelPath)}: ${log.explain(error)}`, { cause: error });
    }
}

function vocabSizeOf(model: LlamaModel): number {
    return model.armt?.vocabSize ?? model.fileInfo.metadata.tokenizer?.ggml?.tokens?.length ?? 0;
}
