import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import type * as BuildModule from "../../native/build.mjs";
import type { Layout } from "../../native/build.mjs";
import { ArmtNativeError } from "../errors.js";
import type { ArmtAddon } from "./addon.js";

/** The engine of this process. */
export interface Engine {
    readonly addon: ArmtAddon;
    /** Absolute path of the libllama with the engine. */
    readonly library: string;
    /** The variant of node-llama-cpp that the engine is built for. */
    readonly gpu: "cuda" | false;
}

let loading: Promise<Engine> | undefined;

/**
 * Loads the libllama with the engine, once. This has to happen before the first `getLlama()` of node-llama-cpp: its
 * addon then finds a library with the name it needs in the process, and loads no other. A process has one engine, that
 * of the first call.
 * @param gpu variant to load; if the CUDA variant is not built, the CPU variant is loaded
 * @throws {ArmtNativeError} if the engine is not built or does not fit, or node-llama-cpp's own library was loaded
 * first
 */
export function loadEngine(gpu: "cuda" | false = false): Promise<Engine> {
    loading ??= load(gpu).catch((error: unknown) => {
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

/** The CPU variant, or the CUDA variant if only that is installed. */
export async function installedVariant(): Promise<"cuda" | false> {
    const build = await importBuildModule();
    return build.installedVariant(build.packageRoot);
}

/** The build script. It is plain JavaScript, since it runs before any TypeScript is compiled. */
export async function importBuildModule(): Promise<typeof BuildModule> {
    return await import(new URL("../../../native/build.mjs", import.meta.url).href);
}

async function load(wanted: "cuda" | false): Promise<Engine> {
    try {
        const { packageRoot, findLibraries, resolveLayout } = await importBuildModule();
        const cuda = findCuda();
        const libraries =
            cuda === undefined
                ? findLibraries(packageRoot)
                : {
                      addon: cuda.addon,
                      ggmlBase: path.join(cuda.prebuiltDir, "libggml-base.so"),
                      ggml: path.join(cuda.prebuiltDir, `libggml.${cuda.suffix}.so`),
                      llama: cuda.library
                  };
        const addon: ArmtAddon = createRequire(import.meta.url)(libraries.addon);
        addon.load({
            ggmlBase: libraries.ggmlBase,
            ggml: libraries.ggml,
            llama: libraries.llama,
            backends: cuda !== undefined && existsSync(cuda.backend) ? cuda.libDir : undefined
        });
        return { addon, library: libraries.llama, gpu: cuda?.gpu ?? false };

        function findCuda(): Layout | undefined {
            if (wanted === false) return undefined;
            try {
                const layout = resolveLayout(packageRoot, {}, wanted);
                return existsSync(layout.library) && existsSync(layout.addon) ? layout : undefined;
            } catch {
                return undefined; // node-llama-cpp's CUDA libraries are not installed
            }
        }
    } catch (error) {
        if (error instanceof ArmtNativeError) throw error;
        throw new ArmtNativeError(error instanceof Error ? error.message : String(error), { cause: error });
    }
}
