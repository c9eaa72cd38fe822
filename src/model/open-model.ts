import { ArmtDeviceError } from "../../plugin/errors.js";
import type {
    ArmtMemoryStore,
    ArmtProgress,
    ArmtSnapshotInfo,
    Llama,
    LlamaContext,
    LlamaContextOptions,
    LlamaModel
} from "../../plugin/index.js";
import { resolveModel } from "../../plugin/model/model-cache.js";
import { ArmtError, quote } from "../util/errors.js";
import { UsageError } from "../util/failure.js";
import { inCommandLineNames } from "../util/option-names.js";
import { checkModelFile } from "./check-model-file.js";
import { embeddedModel } from "./embedded-model.js";
import { startLlama, wantedGpu } from "./gpu.js";
import { NativeLog } from "./NativeLog.js";
import { contextOptions, type ModelOptions, placementOptions } from "./options.js";
import { chooseThreads } from "./usable-threads.js";
import { verifyWithProgress } from "./verify-with-progress.js";
import { withoutMemory } from "./without-memory.js";

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
    like?: ArmtSnapshotInfo;
}

/** Loads models into one llama.cpp. */
export interface ModelLoader {
    readonly llama: Llama;
    /**
     * Checks and loads one of the loader's files.
     * @param signal ends the loading
     * @throws {ArmtError} if the file is not a whole model file
     */
    load(file: string, signal?: AbortSignal): Promise<OpenModel>;
}

/**
 * Checks and loads a model file; by default, the included model. Keeps llama.cpp's log off the terminal, except its
 * last error.
 * @throws {ArmtError} if the file is not a whole model file
 */
export async function openModel(options: ModelOptions): Promise<OpenModel> {
    const file = options.model === undefined ? embeddedModel() : resolveModel(options.model);
    const loader = await openLoader(options, [file]);
    try {
        return await loader.load(file);
    } catch (error) {
        await loader.llama.dispose();
        throw error;
    }
}

/**
 * Checks model files, and starts llama.cpp for them.
 * @param options the same for all files
 * @param signal ends the checks
 * @throws {ArmtError} if one is not a model file
 */
export async function openLoader(
    options: Omit<ModelOptions, "model">,
    files: readonly string[],
    signal?: AbortSignal
): Promise<ModelLoader> {
    const { verify, verbose = false } = options;
    const endChoice = chooseThreads(options.threads);
    const gpu = wantedGpu(options.gpu);
    const armtFiles = new Set<string>();
    for (const file of files) if (await checkModelFile(file)) armtFiles.add(file);
    // an only model is verified while the threads are chosen
    const verified = new Set<string>();
    const check = async (file: string, signal: AbortSignal | undefined) => {
        if (verify && armtFiles.has(file) && !verified.delete(file)) await verifyWithProgress(file, signal);
    };
    const [first] = files;
    if (files.length === 1 && first !== undefined) {
        await check(first, signal);
        verified.add(first);
    }
    const { LlamaLogLevel } = await import("../../plugin/index.js");
    const threads = await endChoice();
    const log = new NativeLog(verbose);
    const llama = await startLlama(gpu, armtFiles.size > 0, {
        // a compilation of plain llama.cpp would take minutes and could not run ARMT models
        build: "never",
        maxThreads: threads,
        logLevel: verbose ? LlamaLogLevel.info : LlamaLogLevel.error,
        progressLogs: false,
        logger: log.logger
    });
    const load: ModelLoader["load"] = async (file, loadSignal) => {
        await check(file, loadSignal);
        const placement = placementOptions(options);
        const model = await llama.loadModel({ modelPath: file, loadSignal, ...placement }).catch((error: unknown) => {
            loadSignal?.throwIfAborted();
            if (error instanceof ArmtDeviceError) throw error;
            refuseOptions(error);
            throw new ArmtError(`cannot load ${quote(file)}: ${log.explain(error)}`, { cause: error });
        });
        const createContext: OpenModel["createContext"] = async ({ onProgress, memoryStore, like, ...more } = {}) => {
            if (like !== undefined && model.armt === undefined) throw withoutMemory(file);
            const { armt, ...rest } = contextOptions({ ...options, threads }, like);
            if (armt !== undefined && model.armt === undefined) throw plainModel(file, armt);
            try {
                const extended = model.armt === undefined ? armt : { ...armt, onProgress, memoryStore };
                return await model.createContext({ ...rest, ...more, armt: extended });
            } catch (error) {
                refuseOptions(error);
                if (error instanceof ArmtError) throw error;
                throw new ArmtError(log.explain(error), { cause: error });
            }
        };
        return { llama, model, file, vocabSize: vocabSizeOf(model), createContext };
    };
    return { llama, load };
}

function vocabSizeOf(model: LlamaModel): number {
    return model.armt?.vocabSize ?? model.fileInfo.metadata.tokenizer?.ggml?.tokens?.length ?? 0;
}

/** For options that a plain model does not have. */
function plainModel(file: string, armt: object): ArmtError {
    const given = Object.entries(armt).flatMap(([name, value]) => (value === undefined ? [] : [`\`${name}\``]));
    const names = inCommandLineNames(given.join(" and "));
    return new ArmtError(`${quote(file)} is a plain model without a memory; leave ${names} out`);
}

/** @throws {UsageError} if the plugin refused an option */
function refuseOptions(error: unknown): void {
    // other type errors are faults of the program
    const isRefused = error instanceof TypeError && error.message.startsWith("`armt");
    if (isRefused || error instanceof RangeError) throw new UsageError(inCommandLineNames(error.message));
}
