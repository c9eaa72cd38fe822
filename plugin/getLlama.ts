import path from "node:path";
import {
    getLlama as getPlainLlama,
    type LastBuildOptions,
    type Llama,
    type LlamaModelOptions,
    type LlamaOptions
} from "node-llama-cpp";
import { ArmtNativeError, ArmtUnsupportedError } from "./errors.js";
import { decorateModel } from "./model/decorate-model.js";
import { isArmtFile, readModelInfo } from "./model/model-file.js";
import { armtArchitecture } from "./model/model-info.js";
import { cudaState } from "./native/cuda-state.js";
import { type Engine, installedVariant, loadEngine } from "./native/library.js";
import { availableCores } from "./native/threads.js";
import { knowsArchitecture } from "./node-llama-cpp/architecture.js";

/**
 * node-llama-cpp's `getLlama` with the ARMT engine. It takes the same options; two defaults differ:
 *
 * - `gpu`: `false`, unless the option or the environment variable `NODE_LLAMA_CPP_GPU` is set. With `"cuda"`, ARMT
 *   models run on the GPU if the engine was built for it (`armt build --gpu cuda`). `"auto"` then means `"cuda"` if
 *   there is a GPU. With other variants plain models work as usual, and loading an ARMT model throws
 *   `ArmtUnsupportedError`. A process has one engine: that of its first `getLlama`.
 * - `maxThreads`: the number of cores that this process can really use.
 *
 * @throws {ArmtNativeError} if the engine is not built, or node-llama-cpp's own `getLlama` ran first in this process
 */
export async function getLlama(options?: LlamaOptions): Promise<Llama>;
export async function getLlama(type: "lastBuild", lastBuildOptions?: LastBuildOptions): Promise<Llama>;
export async function getLlama(
    options: LlamaOptions | "lastBuild" = {},
    lastBuildOptions?: LastBuildOptions
): Promise<Llama> {
    if (options === "lastBuild") {
        const engine = await loadEngine(false);
        return decorateLlama(await getPlainLlama("lastBuild", withThreads(lastBuildOptions ?? {})), engine);
    }
    const wanted = options.gpu ?? process.env.NODE_LLAMA_CPP_GPU;
    // of the GPUs that node-llama-cpp could choose, prefer one that runs ARMT models
    const prefersCuda = wanted === "auto" && (await runsOnCuda());
    const engine = await loadEngine(
        wanted === "cuda" || prefersCuda || (wanted === "auto" && (await installedVariant())) ? "cuda" : false
    );
    const gpu = prefersCuda ? "cuda" : (options.gpu ?? defaultGpu());
    const llama = await getPlainLlama(withThreads({ ...options, gpu }));
    return decorateLlama(llama, engine);
}

/** Whether there is a GPU and an engine that is built for it. */
async function runsOnCuda(): Promise<boolean> {
    const { card, problem } = await cudaState();
    return card !== null && problem === undefined;
}

function withThreads<T extends { maxThreads?: number }>(options: T): T {
    return { ...options, maxThreads: options.maxThreads ?? availableCores() };
}

function defaultGpu(): LlamaOptions["gpu"] {
    return process.env.NODE_LLAMA_CPP_GPU === undefined ? false : undefined;
}

function decorateLlama(llama: Llama, engine: Engine): Llama {
    const { addon } = engine;
    const runsArmt = usesEngine(llama, engine);
    const loadModel = llama.loadModel.bind(llama);
    Object.defineProperty(llama, "loadModel", {
        value: async (options: LlamaModelOptions) => {
            const { modelPath } = options;
            if (!runsArmt) await refuseArmtModel(llama, engine, modelPath);
            const info = runsArmt ? await readModelInfo(modelPath) : undefined;
            return decorateModel(await loadModel(options), addon, info, path.resolve(modelPath));
        }
    });
    return llama;
}

/**
 * Whether a Llama runs on the engine. Other variants and local builds load libraries with other names.
 * @throws {ArmtNativeError} if the engine's own variant did not load the engine
 */
function usesEngine(llama: Llama, { addon, gpu }: Engine): boolean {
    if (llama.gpu !== gpu || llama.buildType !== "prebuilt") return false;
    const library = addon.verify();
    if (!knowsArchitecture(llama, armtArchitecture))
        throw new ArmtNativeError(`${library} does not know ARMT models; run \`npx armt build --force\``);
    return true;
}

async function refuseArmtModel(llama: Llama, engine: Engine, modelPath: string): Promise<void> {
    if (!(await isArmtFile(modelPath))) return;
    throw new ArmtUnsupportedError(explainRefusal(llama, engine));
}

function explainRefusal(llama: Llama, engine: Engine): string {
    if (llama.buildType !== "prebuilt")
        return (
            "ARMT models need the prebuilt libraries of node-llama-cpp, and it uses a local build; " +
            "remove that with `npx node-llama-cpp source clear builds`"
        );
    const name = (gpu: Llama["gpu"]) => (gpu === false ? "CPU" : gpu);
    if (llama.gpu === "cuda" && engine.gpu === false)
        return (
            "this process loaded the engine for the CPU, and ARMT models on a GPU need the one for CUDA; run " +
            '`npx armt build --gpu cuda`, and call getLlama({gpu: "cuda"}) first, or use the Llama of ' +
            "getLlama({gpu: false})"
        );
    const gpu = engine.gpu === false ? "false" : JSON.stringify(engine.gpu);
    return (
        `this process runs ARMT models with the ${name(engine.gpu)} variant of node-llama-cpp, and this is its ` +
        `${name(llama.gpu)} variant; use the Llama of getLlama({gpu: ${gpu}})`
    );
}
