import process from "node:process";
import type { LlamaOptions } from "node-llama-cpp";
import type { Host, Variant } from "../../native/build.mjs";
import { cudaState, type Machine } from "./cuda-state.js";
import { importBuildModule, installedVariant } from "./library.js";
import { devicesOf } from "./trial.js";

/** The GPUs that ARMT models can run on, the fastest first. */
const gpus = ["cuda", "vulkan", "metal"] as const;

export type GpuName = (typeof gpus)[number];

/** How users write the names. */
export const gpuTitles = { cuda: "CUDA", vulkan: "Vulkan", metal: "Metal" } as const;

/**
 * The variant that `getLlama()` starts unasked: the CPU variant, or Metal on Macs with an ARM processor, for which
 * node-llama-cpp has no other.
 */
export function ordinaryVariant({ platform = process.platform, arch = process.arch }: Host = {}): Variant {
    return platform === "darwin" && arch === "arm64" ? "metal" : false;
}

/**
 * Why ARMT models cannot run on a GPU of this machine, and what to do about it.
 * @returns undefined if they can
 */
export async function gpuProblem(gpu: GpuName, machine: Machine = {}): Promise<string | undefined> {
    if (gpu === "cuda") {
        const { card, problem } = await cudaState(machine);
        if (problem === undefined) return undefined;
        // nvidia-smi may be missing although the driver works, so a missing card alone is not the reason
        return card === null ? `no NVIDIA GPU with a driver was found, and ${problem}` : problem;
    }
    const missing = await missingLibraries(gpu, machine);
    if (missing !== undefined || machine.root !== undefined || (await devicesOf(gpu)) !== undefined) return missing;
    return `node-llama-cpp's ${gpuTitles[gpu]} variant does not start on this machine; check the GPU's driver`;
}

/** What a variant lacks on disk, and what to do about it. */
async function missingLibraries(gpu: GpuName, { root, host }: Machine): Promise<string | undefined> {
    const { packageRoot, findLibraries } = await importBuildModule();
    try {
        findLibraries(root ?? packageRoot, host, gpu);
        return undefined;
    } catch (error) {
        return (error as Error).message;
    }
}

/**
 * The GPU that `"auto"` means: the first on which ARMT models run now, in node-llama-cpp's own order.
 * @returns undefined if there is none
 */
export async function findGpu(exclude: readonly Variant[] = [], machine: Machine = {}): Promise<GpuName | undefined> {
    for (const gpu of gpus) {
        if (exclude.includes(gpu)) continue;
        if (gpu === "cuda" && (await cudaState(machine)).card === null) continue;
        if ((await gpuProblem(gpu, machine)) === undefined) return gpu;
    }
    return undefined;
}

/** A value of the `gpu` option, resolved. */
export interface Choice {
    /** The variant whose engine to load. */
    readonly engine: Variant;
    /** What to ask node-llama-cpp for. */
    readonly gpu: LlamaOptions["gpu"];
    /** Whether the caller wants the CPU although the variant is a GPU's. */
    readonly keepOnCpu: boolean;
}

/**
 * @param option the option `gpu`
 * @param variable the environment variable `NODE_LLAMA_CPP_GPU`, which counts without the option
 */
export async function chooseVariant(option: LlamaOptions["gpu"], variable: string | undefined): Promise<Choice> {
    const ordinary = ordinaryVariant();
    const wanted = option ?? variable;
    if (wanted === undefined) return choice(ordinary);
    if (wanted === false) return { ...choice(ordinary), keepOnCpu: ordinary !== false };
    const named = gpus.find((gpu) => gpu === wanted);
    if (named !== undefined) return choice(named);
    // node-llama-cpp reads the variable's words for the CPU
    if (typeof wanted === "string" && wanted !== "auto") return { ...choice(ordinary), gpu: undefined };
    const exclude = typeof wanted === "object" ? (wanted.exclude ?? []) : [];
    const found = await findGpu(exclude);
    if (found !== undefined) return choice(found);
    // node-llama-cpp takes an installed Vulkan loader for a GPU
    const absent = (await devicesOf("vulkan")) === undefined ? (["vulkan"] as const) : [];
    return choice(await installedVariant(), { type: "auto", exclude: [...exclude, ...absent] });
}

function choice(engine: Variant, gpu: LlamaOptions["gpu"] = engine): Choice {
    return { engine, gpu, keepOnCpu: false };
}
