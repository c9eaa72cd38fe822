import process from "node:process";
import type { Llama, LlamaOptions } from "node-llama-cpp";
import { cudaState, type Machine } from "../../plugin/native/cuda-state.js";
import { findGpu, gpuProblem, ordinaryVariant } from "../../plugin/native/variants.js";
import { ArmtError, quote } from "../util/errors.js";
import { UsageError } from "../util/failure.js";

/** Values of `--gpu`; `off` selects the CPU. */
export const gpuChoices = ["auto", "cuda", "vulkan", "metal", "off"] as const;

export type GpuChoice = (typeof gpuChoices)[number];

/** A GPU that models can run on. */
export type Gpu = "cuda" | "vulkan" | "metal";

/** Other values of node-llama-cpp's environment variable that select the CPU. */
const offWords = ["false", "none", "disable", "disabled"];

const advice =
    "`armt doctor` says what this machine has, and `armt build --gpu cuda` (or `vulkan`) builds the engine that ARMT " +
    "models need on a GPU";

/** The value from the command line or the environment, with `off` for every word that selects the CPU. */
export function readGpuChoice(value: unknown): unknown {
    return value === false || offWords.includes(String(value)) ? "off" : value;
}

/** A choice of GPU and its source. */
export interface GpuWish {
    readonly gpu: Gpu | "auto" | false;
    /** The option or variable as the user wrote it, for error messages. */
    readonly said: string;
}

/**
 * @param choice value from the command line; without one, the environment decides
 * @throws {UsageError} if `--gpu` occurs twice, or the environment's value is not a GPU
 */
export function wantedGpu(choice: GpuChoice | undefined, env: NodeJS.ProcessEnv = process.env): GpuWish {
    if (Array.isArray(choice)) throw new UsageError("--gpu is given more than once");
    if (choice !== undefined) return { gpu: toGpu(choice), said: `--gpu ${choice}` };
    const variable = env.NODE_LLAMA_CPP_GPU ?? "";
    if (variable === "") {
        const gpu = ordinaryVariant();
        return { gpu, said: `--gpu ${gpu || "off"}` };
    }
    const value = gpuChoices.find((name) => name === readGpuChoice(variable));
    if (value === undefined)
        throw new UsageError(
            `the environment variable NODE_LLAMA_CPP_GPU is ${quote(variable)}; it must be one of ` +
                `${gpuChoices.join(", ")}`
        );
    return { gpu: toGpu(value), said: `NODE_LLAMA_CPP_GPU=${variable}` };
}

function toGpu(choice: GpuChoice): GpuWish["gpu"] {
    return choice === "off" ? false : choice;
}

/**
 * The device that an ARMT model runs on. `auto` selects the first GPU that can run it, otherwise the CPU.
 * @throws {ArmtError} if the requested GPU cannot run ARMT models
 */
export async function gpuForArmt({ gpu, said }: GpuWish, machine: Machine = {}): Promise<Gpu | false> {
    if (gpu === false) return false;
    if (gpu !== "auto") {
        const problem = await gpuProblem(gpu, machine);
        if (problem !== undefined) throw new ArmtError(`${said}: ${problem}; \`armt doctor\` says more`);
        return gpu;
    }
    const found = await findGpu([], machine);
    if (found === "cuda") return found;
    const { card, problem } = await cudaState(machine);
    if (card !== null) process.stderr.write(`${said}: ${card.name} is not used: ${problem}\n`);
    return found ?? false;
}

/**
 * Starts node-llama-cpp on the requested GPU or the CPU, without a fallback.
 * @throws {ArmtError} if the device is not available
 */
export async function startLlama(wish: GpuWish, isArmt: boolean, options: LlamaOptions): Promise<Llama> {
    const { getLlama, NoBinaryFoundError } = await import("../../plugin/index.js");
    const gpu = isArmt ? await gpuForArmt(wish) : wish.gpu;
    let llama: Llama;
    try {
        llama = await getLlama({ ...options, gpu });
    } catch (error) {
        if (gpu !== false && error instanceof NoBinaryFoundError) throw await missingGpu(wish, error);
        throw error;
    }
    // node-llama-cpp falls back to another GPU on a platform that never has the requested one. If a platform has no
    // CPU variant, its GPU variant stands for it
    if (gpu === "auto" || llama.gpu === gpu || (gpu === false && llama.gpu === ordinaryVariant())) return llama;
    await llama.dispose();
    throw await missingGpu(wish);
}

/** The error if node-llama-cpp cannot start with a GPU. */
export async function missingGpu({ gpu, said }: GpuWish, cause?: unknown): Promise<ArmtError> {
    const found = gpu === "cuda" && (await cudaState()).card === null ? "; no NVIDIA GPU with a driver was found" : "";
    return new ArmtError(
        `${said}: node-llama-cpp cannot use ${gpu === "auto" ? "cuda" : gpu} on this machine${found}. ${advice}`,
        { cause }
    );
}
