import { existsSync } from "node:fs";
import process from "node:process";
import type { CudaGpu, Host, Layout } from "../../native/build.mjs";
import { importBuildModule } from "./library.js";

/** What stands between this machine and ARMT models on an NVIDIA GPU. */
export interface CudaState {
    /** The first card; null where there is none, or no driver. */
    readonly card: CudaGpu | null;
    /** Paths of the CUDA variant; left out where its package is not whole. */
    readonly layout?: Layout;
    /** What has to be done before the card can be used; left out where nothing has. */
    readonly problem?: string;
    /** Whether ggml's CUDA backend was built here, too. */
    readonly tuned: boolean;
}

/** For tests: another folder of the package, another environment, and another system. */
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
                "the prebuilt backend has no machine code for this card, and the driver is older than the PTX it has (590 is needed); run `armt build --gpu cuda --tuned`"
        };
    return { card, layout, tuned };
}
