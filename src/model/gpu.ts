import process from "node:process";
import type { Llama, LlamaOptions } from "node-llama-cpp";
import { ArmtUnsupportedError } from "../../plugin/errors.js";
import { cudaState, type Machine } from "../../plugin/native/cuda-state.js";
import { ArmtError, quote } from "../util/errors.js";
import { UsageError } from "../util/failure.js";

/** Values of `--gpu`; `off` selects the CPU. */
export const gpuChoices = ["auto", "cuda", "vulkan", "metal", "off"] as const;

export type GpuChoice = (typeof gpuChoices)[number];

/** The choice as an option of `getLlama`. */
export type Gpu = "auto" | "cuda" | "vulkan" | "metal" | false;

/** Other values of node-llama-cpp's environment variable that select the CPU. */
const offWords = ["false", "none", "disable", "disabled"];

const advice =
    "`armt doctor` says what this machine has, and `armt build --gpu cuda` builds the engine that ARMT models need " +
    "on an NVIDIA GPU";

/** What the command line or the environment says, with `off` for all words that mean it. */
export function readGpuChoice(value: unknown): unknown {
    return value === false || offWords.includes(String(value)) ? "off" : value;
}

/** A choice of GPU and its source. */
export interface GpuWish {
    readonly gpu: Gpu;
    /** The option or variable as the user wrote it, for errors. */
    readonly said: string;
}

/**
 * @param choice of the command line; without one, the environment decides
 * @throws {UsageError} if there are two, or the environment's value is not a GPU
 */
export function wantedGpu(choice: GpuChoice | undefined, env: NodeJS.ProcessEnv = process.env): GpuWish {
    if (Array.isArray(choice)) throw new UsageError("--gpu is given more than once");
    if (choice !== undefined) return { gpu: toGpu(choice), said: `--gpu ${choice}` };
    const variable = env.NODE_LLAMA_CPP_GPU ?? "";
    if (variable === "") return { gpu: false, said: "--gpu off" };
    const value = gpuChoices.find((name) => name === readGpuChoice(variable));
    if (value === undefined)
        throw new UsageError(
            `the environment variable NODE_LLAMA_CPP_GPU is ${quote(variable)}; it must be one of ` +
                `${gpuChoices.join(", ")}`
        );
    return { gpu: toGpu(value), said: `NODE_LLAMA_CPP_GPU=${variable}` };
}

function toGpu(choice: GpuChoice): Gpu {
    return choice === "off" ? false : choice;
}

/**
 * What an ARMT model is to run on. `auto` is an NVIDIA GPU that the engine is built for, or the CPU.
 * @throws {ArmtError} if the requested GPU cannot run ARMT models
 */
export async function gpuForArmt({ gpu, said }: GpuWish, machine: Machine = {}): Promise<"cuda" | false> {
    if (gpu === false) return false;
    if (gpu === "vulkan" || gpu === "metal")
        throw new ArmtUnsupportedError(
            `${said}: ARMT models run on the CPU and on NVIDIA GPUs (cuda); ${gpu} is for plain models. ${advice}`
        );
    const { card, problem } = await cudaState(machine);
    if (gpu === "cuda") {
        // nvidia-smi may be missing although the driver works, so a card that was not found is not a reason alone
        const found = card === null ? "no NVIDIA GPU with a driver was found, and " : "";
        if (problem !== undefined) throw new ArmtError(`${said}: ${found}${problem}; \`armt doctor\` says more`);
        return "cuda";
    }
    if (card !== null && problem === undefined) return "cuda";
    if (card !== null) process.stderr.write(`${said}: ${card.name} is not used: ${problem}\n`);
    return false;
}

/**
 * Starts node-llama-cpp on the requested GPU or the CPU, and nothing else.
 * @throws {ArmtError} if it cannot be had
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
    // node-llama-cpp picks another GPU on a platform that never has the requested one
    if (gpu === "auto" || llama.gpu === gpu) return llama;
    await llama.dispose();
    throw await missingGpu(wish);
}

/** The error for a GPU that node-llama-cpp does not start with. */
export async function missingGpu({ gpu, said }: GpuWish, cause?: unknown): Promise<ArmtError> {
    const found = gpu === "cuda" && (await cudaState()).card === null ? "; no NVIDIA GPU with a driver was found" : "";
    return new ArmtError(
        `${said}: node-llama-cpp cannot use ${gpu === "auto" ? "cuda" : gpu} on this machine${found}. ${advice}`,
        { cause }
    );
}
