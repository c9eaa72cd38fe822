import path from "node:path";
import {
    getLlama as getPlainLlama,
    type LastBuildOptions,
    type Llama,
    type LlamaModelOptions,
    type LlamaOptions
} from "node-llama-cpp";
import { ignoreFileSizeSignal } from "../src/util/file-size-signal.js";
import { ArmtNativeError, ArmtUnsupportedError } from "./errors.js";
import { decorateModel } from "./model/decorate-model.js";
import { readModelInfo } from "./model/model-file.js";
import { armtArchitecture } from "./model/model-info.js";
import { type ArmtModelOptions, resolvePlacement } from "./model/placement.js";
import { type Engine, loadEngine } from "./native/library.js";
import { loadPlaced } from "./native/place-model.js";
import { availableCores } from "./native/threads.js";
import { chooseVariant, gpuTitles, ordinaryVariant } from "./native/variants.js";
import { knowsArchitecture } from "./node-llama-cpp/architecture.js";
import { withReadableCi } from "./node-llama-cpp/ci-variable.js";
import { withArgumentsForFiles } from "./node-llama-cpp/exec-arguments.js";

/**
 * node-llama-cpp's `getLlama` with the ARMT engine. It takes the same options; two defaults differ:
 *
 * - `gpu`: `false`, unless the option or the environment variable `NODE_LLAMA_CPP_GPU` is set. With `"cuda"` and
 *   `"vulkan"`, ARMT models run on the GPU if the engine was built for it (`armt build --gpu cuda`). `"auto"` means the
 *   first of these that this machine can run, or else node-llama-cpp's own choice. If the engine is not built for a
 *   variant, plain models work on it as usual, and loading an ARMT model throws `ArmtUnsupportedError`. A process has
 *   one engine: that of its first `getLlama`. On Macs with an ARM processor, node-llama-cpp has its Metal variant only:
 *   it is the default, and `false` means that variant with `gpuLayers: 0` unless `loadModel` says otherwise.
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
    ignoreFileSizeSignal();
    if (options === "lastBuild") {
        const engine = await loadEngine(ordinaryVariant());
        return decorateLlama(
            await withReadableCi(() => getPlainLlama("lastBuild", withThreads(lastBuildOptions ?? {}))),
            engine
        );
    }
    const { engine: variant, gpu, keepOnCpu } = await chooseVariant(options.gpu, process.env.NODE_LLAMA_CPP_GPU);
    const engine = await loadEngine(variant);
    const llama = await withReadableCi(() =>
        withArgumentsForFiles(() => getPlainLlama(withThreads({ ...options, gpu })))
    );
    return decorateLlama(llama, engine, keepOnCpu ? { gpuLayers: 0 } : {});
}

function withThreads<T extends { maxThreads?: number }>(options: T): T {
    return { ...options, maxThreads: options.maxThreads ?? availableCores() };
}

/** @param defaults of the options of `loadModel` */
function decorateLlama(llama: Llama, engine: Engine, defaults: Partial<LlamaModelOptions> = {}): Llama {
    const { addon } = engine;
    const runsArmt = usesEngine(llama, engine);
    const loadModel = llama.loadModel.bind(llama);
    Object.defineProperty(llama, "loadModel", {
        value: async ({ armt, ...options }: LlamaModelOptions & { armt?: ArmtModelOptions }) => {
            const { modelPath } = options;
            const placement = resolvePlacement(armt, options.gpuLayers);
            const info = await readModelInfo(modelPath, addon.limits());
            if (info !== undefined && !runsArmt) throw new ArmtUnsupportedError(explainRefusal(llama, engine));
            if (placement !== undefined && info === undefined)
                throw new ArmtUnsupportedError(
                    `the option \`armt\` is for ARMT models, and ${path.basename(modelPath)} is a plain model`
                );
            const file = openablePath(modelPath);
            const model = await loadPlaced(engine, path.resolve(file), placement, () =>
                loadModel({ ...defaults, ...options, modelPath: file })
            );
            return decorateModel(model, addon, info, {
                modelPath: path.resolve(modelPath),
                hasServers: (placement?.rpc.length ?? 0) > 0
            });
        }
    });
    return llama;
}

/** The form of a path in which Windows opens it however long it is; llama.cpp passes it on as it gets it. */
function openablePath(file: string): string {
    return path.resolve(file).length < 248 ? file : path.toNamespacedPath(file);
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

function explainRefusal(llama: Llama, engine: Engine): string {
    if (llama.buildType !== "prebuilt")
        return (
            "ARMT models need the prebuilt libraries of node-llama-cpp, and it uses a local build; " +
            "remove that with `npx node-llama-cpp source clear builds`"
        );
    const name = (gpu: Llama["gpu"]) => (gpu === false ? "CPU" : gpu);
    if (llama.gpu !== false && engine.gpu === false)
        return (
            `this process loaded the engine for the CPU, and ARMT models on a GPU need the one for ` +
            `${gpuTitles[llama.gpu]}; run \`npx armt build --gpu ${llama.gpu}\`, and call ` +
            `getLlama({gpu: "${llama.gpu}"}) first, or use the Llama of getLlama({gpu: false})`
        );
    const gpu = engine.gpu === false ? "false" : JSON.stringify(engine.gpu);
    return (
        `this process runs ARMT models with the ${name(engine.gpu)} variant of node-llama-cpp, and this is its ` +
        `${name(llama.gpu)} variant; use the Llama of getLlama({gpu: ${gpu}})`
    );
}
