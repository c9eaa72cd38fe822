import path from "node:path";
import {
    getLlama as getPlainLlama,
    type LastBuildOptions,
    type Llama,
    type LlamaModelOptions,
    type LlamaOptions,
    readGgufFileInfo
} from "node-llama-cpp";
import { validateArmtFile } from "../src/gguf/armt-model.js";
import { openGguf } from "../src/gguf/reader.js";
import { type Engine, loadEngine } from "./engine.js";
import { ArmtModelError, ArmtNativeError, ArmtUnsupportedError } from "./errors.js";
import { armtArchitecture } from "./facts.js";
import { knowsArchitecture } from "./internals.js";
import { decorateModel } from "./model.js";
import { availableCores } from "./threads.js";

/**
 * node-llama-cpp's `getLlama`, with the ARMT engine in it. The options are the same, but for two defaults:
 *
 * - `gpu`: `false` unless it, or the environment variable `NODE_LLAMA_CPP_GPU`, is given, since the engine is part of the CPU variant only. With a GPU
 *   variant plain models work as usual, and loading an ARMT model throws `ArmtUnsupportedError`.
 * - `maxThreads`: the cores that this process can really use.
 *
 * @throws {ArmtNativeError} where the engine is not built, or where node-llama-cpp's own `getLlama` ran first in this process
 */
export async function getLlama(options?: LlamaOptions): Promise<Llama>;
export async function getLlama(type: "lastBuild", lastBuildOptions?: LastBuildOptions): Promise<Llama>;
export async function getLlama(
    options: LlamaOptions | "lastBuild" = {},
    lastBuildOptions?: LastBuildOptions
): Promise<Llama> {
    const engine = await loadEngine();
    const llama =
        options === "lastBuild"
            ? await getPlainLlama("lastBuild", withThreads(lastBuildOptions ?? {}))
            : await getPlainLlama(withThreads({ ...options, gpu: options.gpu ?? defaultGpu() }));
    return decorateLlama(llama, engine);
}

function withThreads<T extends { maxThreads?: number }>(options: T): T {
    return { ...options, maxThreads: options.maxThreads ?? availableCores() };
}

function defaultGpu(): LlamaOptions["gpu"] {
    return process.env.NODE_LLAMA_CPP_GPU === undefined ? false : undefined;
}

function decorateLlama(llama: Llama, { addon }: Engine): Llama {
    const runsArmt = usesEngine(llama, addon);
    const loadModel = llama.loadModel.bind(llama);
    Object.defineProperty(llama, "loadModel", {
        value: async (options: LlamaModelOptions) => {
            if (runsArmt) await checkArmtModel(options.modelPath);
            else await refuseArmtModel(llama, options.modelPath);
            return decorateModel(await loadModel(options), addon, path.resolve(options.modelPath));
        }
    });
    return llama;
}

/** GPU variants and local builds bring libraries of other names; a prebuilt CPU variant without our library is a fault. */
function usesEngine(llama: Llama, addon: Engine["addon"]): boolean {
    if (llama.gpu !== false || llama.buildType !== "prebuilt") return false;
    const library = addon.verify();
    if (!knowsArchitecture(llama, armtArchitecture))
        throw new ArmtNativeError(`${library} does not know ARMT models; run \`npx armt build --force\``);
    return true;
}

/** Refuses a bad ARMT model file before anything native reads it. Whatever else the file is, node-llama-cpp is the judge. */
async function checkArmtModel(modelPath: string): Promise<void> {
    const file = await openGguf(modelPath).catch(() => undefined);
    try {
        const architecture = file?.metadata.get("general.architecture");
        if (file !== undefined && architecture?.type === "STRING" && architecture.value === armtArchitecture)
            validateArmtFile(file);
    } catch (error) {
        throw new ArmtModelError((error as Error).message, undefined, { cause: error });
    } finally {
        await file?.close();
    }
}

async function refuseArmtModel(llama: Llama, modelPath: string): Promise<void> {
    const info = await readGgufFileInfo(modelPath, { sourceType: "filesystem" });
    if (String(info.metadata.general.architecture) !== armtArchitecture) return;
    throw new ArmtUnsupportedError(
        llama.gpu === false
            ? "ARMT models need the prebuilt libraries of node-llama-cpp, and it uses a local build; remove that with `npx node-llama-cpp source clear builds`"
            : `ARMT models run on the CPU only so far, and this is node-llama-cpp's ${llama.gpu} variant; use the Llama of getLlama({gpu: false})`
    );
}
