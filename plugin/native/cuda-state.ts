import { existsSync } from "node:fs";
import process from "node:process";
import type { CudaGpu, Host, Layout } from "../../native/build.mjs";
import { importBuildModule } from "./library.js";

/** Whether this machine can run ARMT models on an NVIDIA GPU. */
export interface CudaState {
    /** The first GPU; null without a GPU or driver. */
    readonly card: CudaGpu | null;
    /** Paths of the CUDA variant; undefined if its package is incomplete. */
    readonly layout?: Layout;
    /** What is wrong and what to do about it; undefined if the GPU is ready. */
    readonly problem?: string;
    /** Whether ggml's CUDA backend was built on this machine too. */
    readonly tuned: boolean;
}

/** For tests: another package folder, environment and system. */
export interface Machine {
    readonly root?: string;
    readonly env?: NodeJS.ProcessEnv;
    readonly host?: Host;
}

export async function cudaState({ root, env = process.env }: Machine = {}): Promise<CudaState> {
    const { packageRoot, resolveLayout, findCudaGpu, prebuiltRunsOn } = await importBuildModule();
    const card = findCudaGpu(env);
    let layout: Layout;
    try {
        layout = resolveLayout(root ?? packageRoot, {}, "cuda");
    } catch (error) {
        return { card, problem: (error as Error).message, tuned: false };
    }
    const tuned = existsSync(layout.backend);
    if (!existsSync(layout.library) || !existsSync(layout.addon))
        return { card, layout, tuned, problem: "the engine is not built for CUDA; run `armt build --gpu cuda`" };
    if (!tuned && card !== null && !prebuiltRunsOn(card))
        return {
            card,
            layout,
            tuned,
            problem:
                "the prebuilt backend has no machine code for this GPU, and the driver is too old for its PTX " +
                "(version 590 is required); run `armt build --gpu cuda --tuned`"
        };
    return { card, layout, tuned };
}
