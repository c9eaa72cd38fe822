import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import type { Layout } from "../../../native/build.mjs";
import { getLlama } from "../../../plugin/index.js";
import { cudaState, type Machine } from "../../../plugin/native/cuda-state.js";
import { importBuildModule, loadEngine } from "../../../plugin/native/library.js";
import { availableCores } from "../../../plugin/native/threads.js";
import { startLlama } from "../../model/gpu.js";

/** One line of `armt doctor`. */
export interface Check {
    name: string;
    /** `warning`: it works, but not as well as it should. */
    state: "ok" | "warning" | "broken";
    detail: string;
}

/** Oldest Node version that the package is tested with. */
const minNode = [20, 19] as const;

/**
 * Checks everything from the machine to a running engine, and continues after a problem.
 * @param machine if it names another folder of the package, the engine in that folder is not loaded
 * @param startGpu starts the GPU variant and stops it. Default: as commands do with `--gpu cuda`, if the engine in this
 *   folder is meant
 */
export async function checkInstallation(machine: Machine = {}, startGpu?: () => Promise<void>): Promise<Check[]> {
    const { packageRoot, resolveLayout, findLibraries, findTools, installedVariant, isUpToDate } =
        await importBuildModule();
    const { root = packageRoot, env = process.env, host } = machine;
    const checks: Check[] = [
        checkNode(),
        { name: "platform", state: "ok", detail: `${os.type()} ${os.release()} ${process.arch}` }
    ];
    checks.push({ name: "cores", state: "ok", detail: `${availableCores()} usable of ${os.cpus().length}` });

    let layout: Layout | undefined;
    const variant = installedVariant(root, host);
    const packages = check("packages", () => {
        layout = resolveLayout(root, host, variant);
        const only = variant ? "; the CUDA variant alone, so models run with `--gpu cuda` only" : "";
        return `node-llama-cpp ${layout.nodeLlamaCppVersion}, llama.cpp ${layout.release}${only}`;
    });
    if (layout === undefined) {
        // without a local build, a prebuilt package is enough
        const prebuilt = check("packages", () => `prebuilt package, ${path.dirname(findLibraries(root, host).llama)}`);
        if (prebuilt.state !== "ok") return [...checks, packages];
        checks.push(prebuilt);
        if (root === packageRoot) checks.push(...(await checkEngine(false)));
        return checks;
    }
    checks.push(packages);

    let origin: "build" | "package" | undefined;
    const found = check("build", () => {
        origin = variant ? findCudaBuild(layout!) : findLibraries(root).origin;
        return "prebuilt package";
    });
    const tools = check("build tools", () => {
        const { compiler, cmake, ninja, ccache } = findTools(env);
        return [compiler.version, cmake.version, ninja && "Ninja", ccache && "ccache"].filter(Boolean).join(", ");
    });
    // the engine is already built, so missing build tools are not an error
    if (origin !== undefined && tools.state === "broken") tools.state = "warning";
    checks.push(tools);
    if (origin === "build") {
        const fresh = isUpToDate(layout, env);
        checks.push({
            name: "build",
            state: fresh ? "ok" : "warning",
            detail: fresh ? "up to date" : "older than its sources; run `armt build`"
        });
    } else checks.push(found);
    if (origin !== undefined && root === packageRoot) checks.push(...(await checkEngine(variant)));
    checks.push(await checkGpu(variant, machine, startGpu ?? (root === packageRoot ? startCuda : undefined)));
    return checks;
}

function findCudaBuild({ library, addon }: Layout): "build" {
    if (existsSync(library) && existsSync(addon)) return "build";
    throw new Error("the ARMT engine is not built yet; run `npx armt build`");
}

function checkNode(): Check {
    const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
    const old = major < minNode[0] || (major === minNode[0] && minor < minNode[1]);
    const detail = old ? `${process.version}; ${minNode.join(".")} or newer is needed` : process.version;
    return { name: "Node.js", state: old ? "broken" : "ok", detail };
}

/** The backend on which `--gpu cuda` and `getLlama({gpu: "cuda"})` would run ARMT models, and the reason. */
async function checkGpu(
    variant: "cuda" | false,
    machine: Machine,
    startGpu: (() => Promise<void>) | undefined
): Promise<Check> {
    const name = "GPU";
    const { card, layout, problem, tuned } = await cudaState(machine);
    if (card === null)
        return variant
            ? {
                  name,
                  state: "broken",
                  detail:
                      "no NVIDIA GPU with a driver, and the CPU variant of node-llama-cpp is not installed; run " +
                      `\`npm install --include=optional node-llama-cpp@${layout?.nodeLlamaCppVersion}\``
              }
            : { name, state: "ok", detail: "no NVIDIA GPU with a driver; models run on the CPU" };
    const described = `${card.name}, compute capability ${card.capability}, driver ${card.driver}`;
    if (problem !== undefined)
        return { name, state: variant ? "broken" : "warning", detail: `${described}; unused: ${problem}` };
    try {
        await startGpu?.();
    } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        return { name, state: variant ? "broken" : "warning", detail: `${described}; it does not start: ${reason}` };
    }
    const backend = tuned
        ? `tuned backend, ${layout?.backend}; its fused kernels are ${fusedKernels(card)}`
        : "prebuilt backend of node-llama-cpp, without fused kernels (`armt build --gpu cuda --tuned` has them)";
    return { name, state: "ok", detail: `${described}; ${backend}` };
}

/** Files can be complete and still not load, for example with a driver that is too old. */
async function startCuda(): Promise<void> {
    const wish = { gpu: "cuda", said: "--gpu cuda" } as const;
    const llama = await startLlama(wish, true, { build: "never", progressLogs: false });
    await llama.dispose();
}

/** Whether the fused kernels of native/cuda are on for a card. */
function fusedKernels({ capability }: { capability: string }): string {
    if (Number(capability) < 8) return "off, since they need compute capability 8.0";
    return process.env.ARMT_CUDA_FUSION ? "as ARMT_CUDA_FUSION says" : "on";
}

async function checkEngine(variant: "cuda" | false): Promise<Check[]> {
    try {
        const { addon } = await loadEngine(variant);
        // the CUDA variant starts only with a card, and a separate check covers that
        if (variant === false) {
            const llama = await getLlama({ gpu: false, build: "never", progressLogs: false });
            await llama.dispose();
        }
        const engine: Check = {
            name: "engine",
            state: "ok",
            detail: `interface version ${addon.apiVersion}, loaded from ${addon.verify()}`
        };
        return variant ? [engine] : [engine, { name: "CPU backend", state: "ok", detail: await loadedCpuBackend() }];
    } catch (error) {
        return [{ name: "engine", state: "broken", detail: error instanceof Error ? error.message : String(error) }];
    }
}

/** ggml picks the library that fits the processor. Only the list of loaded libraries shows which one. */
async function loadedCpuBackend(): Promise<string> {
    // only Linux has this file
    const maps = await readFile("/proc/self/maps", "utf8").catch(() => "");
    const file = /\S*libggml-cpu\S*\.so/.exec(maps)?.[0];
    return file === undefined ? "none found" : path.basename(file);
}

function check(name: string, work: () => string): Check {
    try {
        return { name, state: "ok", detail: work() };
    } catch (error) {
        return { name, state: "broken", detail: error instanceof Error ? error.message : String(error) };
    }
}
