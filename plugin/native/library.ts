import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import type * as BuildModule from "../../native/build.mjs";
import type { Libraries, Variant } from "../../native/build.mjs";
import { ArmtNativeError } from "../errors.js";
import type { ArmtAddon } from "./addon.js";

/** The engine of this process. */
export interface Engine {
    readonly addon: ArmtAddon;
    /** Absolute path of the libllama with the engine. */
    readonly library: string;
    /** Absolute path of ggml's RPC backend. */
    readonly rpc: string;
    /** The variant of node-llama-cpp that the engine is built for. */
    readonly gpu: Variant;
}

let loading: Promise<Engine> | undefined;

/**
 * Loads the libllama with the engine, once. This has to happen before the first `getLlama()` of node-llama-cpp: its
 * addon then finds a library with the name it needs in the process, and loads no other. A process has one engine, that
 * of the first call.
 * @param variant if it is not built, the default variant is loaded
 * @throws {ArmtNativeError} if the engine is not built or does not fit, or node-llama-cpp's own library was loaded
 * first
 */
export function loadEngine(variant: Variant): Promise<Engine> {
    loading ??= load(variant).catch((error: unknown) => {
        loading = undefined;
        throw error;
    });
    return loading;
}

/**
 * The engine for work that needs no device, such as rounding weights: this process's, or else the installed variant's.
 */
export async function loadAnyEngine(): Promise<Engine> {
    return await (loading ?? loadEngine(await installedVariant()));
}

/**
 * The engine of this process.
 * @throws {ArmtNativeError} if nothing has loaded it
 */
export async function loadedEngine(): Promise<Engine> {
    if (loading === undefined) throw new ArmtNativeError("the ARMT engine is not loaded; call getLlama() first");
    return await loading;
}

/** The platform's default variant, or another one if only that is installed. */
export async function installedVariant(): Promise<Variant> {
    const build = await importBuildModule();
    return build.installedVariant(build.packageRoot);
}

/** The build script. It is plain JavaScript, since it runs before any TypeScript is compiled. */
export async function importBuildModule(): Promise<typeof BuildModule> {
    return await import(new URL("../../../native/build.mjs", import.meta.url).href);
}

async function load(wanted: Variant): Promise<Engine> {
    try {
        const { packageRoot, defaultVariant, findLibraries } = await importBuildModule();
        const { addon: file, ggmlBase, ggml, llama, rpc, gpu } = findWanted();
        const addon: ArmtAddon = createRequire(import.meta.url)(file);
        const backends = gpu === "cuda" ? await tunedBackends() : undefined;
        addon.load({ ggmlBase, ggml, llama, backends });
        return { addon, library: llama, rpc, gpu };

        function findWanted(): Libraries {
            if (wanted === defaultVariant()) return findLibraries(packageRoot);
            try {
                return findLibraries(packageRoot, {}, wanted);
            } catch {
                return findLibraries(packageRoot, {}, defaultVariant()); // the variant is not installed, or not built
            }
        }
    } catch (error) {
        if (error instanceof ArmtNativeError) throw error;
        throw new ArmtNativeError(error instanceof Error ? error.message : String(error), { cause: error });
    }
}

/** The folder of the CUDA backend that was built on this machine. */
async function tunedBackends(): Promise<string | undefined> {
    const { packageRoot, resolveLayout } = await importBuildModule();
    const { backend, libDir } = resolveLayout(packageRoot, {}, "cuda");
    return existsSync(backend) ? libDir : undefined;
}
