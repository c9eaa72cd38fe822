import { createRequire } from "node:module";
import type * as BuildModule from "../native/build.mjs";
import type { ArmtAddon } from "./addon.js";
import { ArmtNativeError } from "./errors.js";

/** The engine of this process. */
export interface Engine {
    readonly addon: ArmtAddon;
    /** Absolute path of the libllama with the engine. */
    readonly library: string;
}

let loading: Promise<Engine> | undefined;

/**
 * Loads the libllama with the engine, once. It has to happen before the first `getLlama()` of node-llama-cpp, whose addon then finds a library
 * of the name it needs in the process already and loads no other.
 * @throws {ArmtNativeError} where it is not built, does not fit, or node-llama-cpp's own library came first
 */
export function loadEngine(): Promise<Engine> {
    loading ??= load().catch((error: unknown) => {
        loading = undefined;
        throw error;
    });
    return loading;
}

/** The build script, which runs before there is any compiled TypeScript and so stays outside of it. */
export async function importBuildModule(): Promise<typeof BuildModule> {
    return await import(new URL("../../native/build.mjs", import.meta.url).href);
}

async function load(): Promise<Engine> {
    try {
        const { packageRoot, findLibraries } = await importBuildModule();
        const { addon: file, ggmlBase, ggml, llama } = findLibraries(packageRoot);
        const addon: ArmtAddon = createRequire(import.meta.url)(file);
        addon.load({ ggmlBase, ggml, llama });
        return { addon, library: llama };
    } catch (error) {
        if (error instanceof ArmtNativeError) throw error;
        throw new ArmtNativeError(error instanceof Error ? error.message : String(error), { cause: error });
    }
}
