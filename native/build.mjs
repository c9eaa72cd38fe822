#!/usr/bin/env node
// Builds libllama with the ARMT engine, and the addon: `node native/build.mjs [--force | --check] [--gpu cuda | vulkan] [--tuned] [--cuda-arch 90]`.
// Runs as this package's install step and behind `armt build`, so it uses nothing but Node and the installed packages.

import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildAddon } from "./install/addon.mjs";
import { buildBackend, findCudaGpu, findNvcc, prebuiltRunsOn, resolveArchitecture } from "./install/backend.mjs";
import { BuildError } from "./install/errors.mjs";
import { installedVariant, resolveLayout } from "./install/layout.mjs";
import { findPrebuilt } from "./install/libraries.mjs";
import { buildLibrary } from "./install/library.mjs";
import { withBuildLock } from "./install/lock.mjs";
import { prepareSource } from "./install/source.mjs";
import { backendStamp, computeStamp, readStamp, writeStamp } from "./install/stamp.mjs";
import { openTerminal } from "./install/terminal.mjs";
import { findCompiler, findTools } from "./install/tools.mjs";

export { BuildError, findCompiler, findCudaGpu, findTools, installedVariant, prebuiltRunsOn, resolveLayout };

/** Folder of this package. */
export const packageRoot = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");

export { findLibraries } from "./install/libraries.mjs";
export { defaultVariant } from "./install/platforms.mjs";

/**
 * @typedef {object} BuildOptions
 * @property {string} [root] folder of the package; for tests
 * @property {NodeJS.ProcessEnv} [env] environment of all commands. Default: that of this process
 * @property {boolean} [force] starts from nothing. Default: false
 * @property {import("./install/platforms.mjs").Variant} [gpu] variant of node-llama-cpp. Default: the platform's first (the CPU variant, or Metal on a Mac with an ARM processor), unless another one alone is installed
 * @property {boolean} [tuned] with `gpu: "cuda"`: builds ggml's CUDA backend too, with fused kernels. Default: where `gpu` is given and the driver cannot run the prebuilt one
 * @property {string} [cudaArch] compute capability that it is for, without the dot. Default: that of the first GPU
 * @property {(line: string) => void} [onStep] gets a short line for each step
 * @property {(percent: number) => void} [onProgress] gets the progress of the compilation
 */

/**
 * Brings libllama and the addon up to date. Throws a `BuildError` that names the missing part or the failed step.
 * @param {BuildOptions} [options]
 * @returns {Promise<{built: boolean, library: string, addon: string}>} built: whether anything had to be done
 */
export async function build({
    root = packageRoot,
    env = process.env,
    force = false,
    gpu,
    tuned,
    cudaArch,
    onStep = () => {},
    onProgress = () => {}
} = {}) {
    // an hour of compilation needs an explicit request
    if (gpu == null && cudaArch == null) tuned ??= false;
    const layout = resolveLayout(root, {}, gpu ?? installedVariant(root));
    const results = { library: layout.library, addon: layout.addon };
    const backend = planBackend(layout, env, { tuned, cudaArch });
    const hasBackend =
        backend == null || (readStamp(layout).backend === backend.stamp && fs.existsSync(layout.backend));
    if (!force && hasBackend && isUpToDate(layout, env)) return { built: false, ...results };

    const tools = findTools(env);
    fs.mkdirSync(layout.buildDir, { recursive: true });
    await withBuildLock(layout, async () => {
        fs.writeFileSync(layout.log, "");
        if (force)
            for (const dir of [layout.tree, layout.cmakeDir, ...(backend == null ? [] : [layout.backendCmakeDir])])
                fs.rmSync(dir, { recursive: true, force: true });
        const wanted = { ...computeStamp(layout, tools.compiler.version), backend: backend?.stamp };
        const done = force ? {} : readStamp(layout);
        if (done.compiler !== wanted.compiler) Object.assign(done, { library: "", addon: "" });
        done.compiler = wanted.compiler;

        /**
         * @param {"source" | "library" | "addon" | "backend"} part
         * @param {string} result
         * @param {string} title
         * @param {() => Promise<void>} work
         */
        const step = async (part, result, title, work) => {
            if (done[part] === wanted[part] && fs.existsSync(result)) return;
            onStep(title);
            done[part] = "";
            writeStamp(layout, done);
            await work();
            done[part] = wanted[part];
            writeStamp(layout, done);
        };
        await step("source", layout.tree, `unpacking and patching llama.cpp ${layout.release}`, () =>
            prepareSource(layout, tools, env)
        );
        await step(
            "library",
            layout.library,
            `compiling libllama with the ARMT engine, about 3 minutes on 2 cores; log: ${layout.log}`,
            () => buildLibrary(layout, tools, env, onProgress)
        );
        if (backend != null)
            await step(
                "backend",
                layout.backend,
                `compiling the CUDA backend for ${backend.arch} (an hour of one core)`,
                () => buildBackend(layout, tools, backend.nvcc, backend.arch, env, onProgress)
            );
        await step("addon", layout.addon, "compiling the addon", () => buildAddon(layout, tools, env));
    });
    return { built: true, ...results };
}

/**
 * @param {import("./install/layout.mjs").Layout} layout
 * @param {NodeJS.ProcessEnv} env
 * @param {Pick<BuildOptions, "tuned" | "cudaArch">} options
 * @returns what the tuned CUDA backend is built with; null if none is to be built
 */
function planBackend(layout, env, { tuned, cudaArch }) {
    if (layout.gpu !== "cuda") {
        if (tuned || cudaArch != null) throw new BuildError("--tuned and --cuda-arch need --gpu cuda");
        return null;
    }
    if (tuned && !layout.platform.name.startsWith("linux-"))
        throw new BuildError("--tuned is for Linux; on other systems, CUDA runs on node-llama-cpp's prebuilt backend");
    const card = findCudaGpu(env);
    if (!(tuned ?? (card != null && !prebuiltRunsOn(card)))) return null;
    const arch = resolveArchitecture(cudaArch, card);
    const nvcc = findNvcc(env);
    return { arch, nvcc, stamp: backendStamp(layout, nvcc.version, arch) };
}

/**
 * Whether the last build is whole and from what is there now. A compiler that is gone does not make it stale.
 * @param {import("./install/layout.mjs").Layout} layout
 * @param {NodeJS.ProcessEnv} [env]
 */
export function isUpToDate(layout, env = process.env) {
    const done = readStamp(layout);
    const wanted = computeStamp(layout, findCompiler(env)?.version ?? done.compiler ?? "");
    const same = Object.entries(wanted).every(
        ([key, value]) => done[/** @type {keyof typeof wanted} */ (key)] === value
    );
    return same && fs.existsSync(layout.library) && fs.existsSync(layout.addon);
}

/** Values of `--gpu`. */
const gpus = /** @type {const} */ (["cuda", "vulkan", "metal"]);

/**
 * @param {string} name
 * @returns {name is typeof gpus[number]}
 */
function isGpu(name) {
    return gpus.some((gpu) => gpu === name);
}

/** @param {string[]} args */
function parseOptions(args) {
    const { values } = parseArgs({
        args,
        options: {
            force: { type: "boolean" },
            check: { type: "boolean" },
            gpu: { type: "string" },
            tuned: { type: "boolean" },
            "cuda-arch": { type: "string" }
        }
    });
    const { gpu } = values;
    if (gpu != null && !isGpu(gpu)) throw new Error(`--gpu is ${gpu}; it has to be one of ${gpus.join(", ")}`);
    return { ...values, gpu };
}

/** @param {string[]} args */
async function main(args) {
    /** @type {ReturnType<typeof parseOptions>} */
    let options;
    try {
        options = parseOptions(args);
    } catch (error) {
        process.stderr.write(`armt build: ${/** @type {Error} */ (error).message}\n`);
        return 2;
    }
    try {
        if (options.check) {
            resolveLayout(packageRoot, {}, installedVariant(packageRoot));
            findTools(process.env);
            return 0;
        }
        let shown = 0;
        const started = performance.now();
        const tell = openTerminal(process.env);
        /** @param {string} text */
        const say = (text) => {
            process.stdout.write(`armt build: ${text}\n`);
            tell(`armt build: ${text}`);
        };
        const { built } = await build({
            force: options.force,
            gpu: options.gpu,
            tuned: options.tuned,
            cudaArch: options["cuda-arch"],
            onStep: say,
            onProgress: (percent) => {
                if (percent < shown + 25) return;
                shown = percent;
                say(`${percent} % after ${Math.round((performance.now() - started) / 1000)} s`);
            }
        });
        const seconds = ((performance.now() - started) / 1000).toFixed(1);
        if (built) say(`done in ${seconds} s`);
        else process.stdout.write("armt build: up to date\n");
        return 0;
    } catch (error) {
        const message =
            error instanceof BuildError ? error.message : String(error instanceof Error ? error.stack : error);
        process.stderr.write(`armt build: ${message}\n`);
        return 1;
    }
}

/** The install step, which asks for nothing in particular, needs no compiler where a prebuilt package is. */
function isPrebuilt() {
    try {
        return findPrebuilt(packageRoot) != null;
    } catch {
        // one that does not fit is none
        return false;
    }
}

/** Whether this file was started, not imported. With `--eval` and standard input, the second argument is any text. */
function isStarted() {
    const script = process.argv[1];
    return script !== undefined && fs.existsSync(script) && fs.realpathSync(script) === fileURLToPath(import.meta.url);
}

if (isStarted()) {
    const args = process.argv.slice(2);
    if (args.length === 0 && isPrebuilt())
        process.stdout.write("armt build: the prebuilt package is installed, so there is nothing to compile\n");
    else process.exitCode = await main(args);
}
