import path from "node:path";
import {
    getLlama as getPlainLlama,
    type LastBuildOptions,
    type Llama,
    type LlamaModelOptions,
    type LlamaOptions,
    readGgufFileInfo
} from "node-llama-cpp";
import { validateArmtFile } from "../src/formats/gguf/armt-model.js";
import { openGguf } from "../src/formats/gguf/reader.js";
import { cudaState } from "./cuda-state.js";
import { type Engine, installedVariant, loadEngine } from "./engine.js";
import { ArmtModelError, ArmtNativeError, ArmtUnsupportedError } from "./errors.js";
import { armtArchitecture } from "./facts.js";
import { knowsArchitecture } from "./internals.js";
import { decorateModel } from "./model.js";
import { availableCores } from "./threads.js";

/**
 * node-llama-cpp's `getLlama`, with the ARMT engine in it. The options are the same, but for two defaults:
 *
 * - `gpu`: `false` unless it, or the environment variable `NODE_LLAMA_CPP_GPU`, is given. With `"cuda"`, ARMT models run on the GPU where the engine was
 *   built for it (`armt build --gpu cuda`), and `"auto"` is `"cuda"` then if there is a card. With other variants plain models work as usual, and loading an ARMT model throws `ArmtUnsupportedError`. A
 *   process has one engine: that of its first `getLlama`.
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
    if (options === "lastBuild") {
        const engine = await loadEngine(false);
        return decorateLlama(await getPlainLlama("lastBuild", withThreads(lastBuildOptions ?? {})), engine);
    }
    const wanted = options.gpu ?? process.env.NODE_LLAMA_CPP_GPU;
    // among the GPUs that node-llama-cpp could choose, one that runs ARMT models comes first
    const prefersCuda = wanted === "auto" && (await runsOnCuda());
    const engine = await loadEngine(
        wanted === "cuda" || prefersCuda || (wanted === "auto" && (await installedVariant())) ? "cuda" : false
    );
    const gpu = prefersCuda ? "cuda" : (options.gpu ?? defaultGpu());
    const llama = await getPlainLlama(withThreads({ ...options, gpu }));
    return decorateLlama(llama, engine);
}

/** Whether there is a card, and an engine that is built for it. */
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
            if (runsArmt) await checkArmtModel(options.modelPath);
            else await refuseArmtModel(llama, engine, options.modelPath);
            return decorateModel(await loadModel(options), addon, path.resolve(options.modelPath));
        }
    });
    return llama;
}

/** Other variants and local builds bring libraries of other names; the engine's own prebuilt variant without our library is a fault. */
function usesEngine(llama: Llama, { addon, gpu }: Engine): boolean {
    if (llama.gpu !== gpu || llama.buildType !== "prebuilt") return false;
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

async function refuseArmtModel(llama: Llama, engine: Engine, modelPath: string): Promise<void> {
    const info = await readGgufFileInfo(modelPath, { sourceType: "filesystem" });
    if (String(info.metadata.general.architecture) !== armtArchitecture) return;
    throw new ArmtUnsupportedError(explainRefusal(llama, engine));
}

function explainRefusal(llama: Llama, engine: Engine): string {
    if (llama.buildType !== "prebuilt")
        return "ARMT models need the prebuilt libraries of node-llama-cpp, and it uses a local build; remove that with `npx node-llama-cpp source clear builds`";
    const name = (gpu: Llama["gpu"]) => (gpu === false ? "CPU" : gpu);
    if (llama.gpu === "cuda" && engine.gpu === false)
        return 'ARMT models need an engine that is built for CUDA, before this process loads that for the CPU; run `npx armt build --gpu cuda`, and ask for getLlama({gpu: "cuda"}) first, or use the Llama of getLlama({gpu: false})';
    return `this process runs ARMT models with the ${name(engine.gpu)} variant of node-llama-cpp, and this is its ${name(llama.gpu)} variant; use the Llama of getLlama({gpu: ${engine.gpu === false ? false : JSON.stringify(engine.gpu)}})`;
}
