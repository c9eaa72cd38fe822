import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { BuildError } from "./errors.mjs";
import { dropCacheOfAnotherBuild, readProgress } from "./library.mjs";
import { run } from "./run.mjs";
import { findProgram } from "./tools.mjs";

/** Architectures that the prebuilt CUDA backend has machine code for. */
const prebuiltArchitectures = ["8.6", "8.9", "12.0", "12.1"];
/** First driver that compiles the PTX which it has for all others. */
const prebuiltDriver = 590;

/**
 * The GPU that CUDA would take first.
 * @typedef {object} CudaGpu
 * @property {string} name
 * @property {string} driver e.g. `580.159.04`
 * @property {string} capability compute capability, e.g. `9.0`
 * @property {number} count GPUs of this machine
 */

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {CudaGpu | null} null without an NVIDIA GPU or its driver
 */
export function findCudaGpu(env) {
    const program = findProgram("nvidia-smi", env);
    if (program == null) return null;
    try {
        const args = ["--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"];
        const output = execFileSync(program, args, { env, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
        const lines = output.split("\n").filter((line) => line.trim() !== "");
        const [name, driver, capability] = (lines[0] ?? "").split(",").map((field) => field.trim());
        return name && driver && capability ? { name, driver, capability, count: lines.length } : null;
    } catch {
        return null;
    }
}

/**
 * @param {CudaGpu} gpu
 * @returns {boolean} whether the prebuilt CUDA backend runs on it
 */
export function prebuiltRunsOn({ driver, capability }) {
    return prebuiltArchitectures.includes(capability) || Number.parseInt(driver, 10) >= prebuiltDriver;
}

/**
 * @param {NodeJS.ProcessEnv} env `CUDACXX`, `CUDA_PATH` and `PATH`
 * @returns {import("./tools.mjs").Tool} throws a `BuildError` if there is none
 */
export function findNvcc(env) {
    const names = [
        env.CUDACXX,
        env.CUDA_PATH && path.join(env.CUDA_PATH, "bin", "nvcc"),
        "nvcc",
        "/usr/local/cuda/bin/nvcc"
    ];
    for (const name of names) {
        const file = name ? findProgram(name, env) : null;
        if (file == null) continue;
        try {
            const output = execFileSync(file, ["--version"], {
                env,
                encoding: "utf8",
                stdio: ["ignore", "pipe", "ignore"]
            });
            return { path: file, version: /release .*/.exec(output)?.[0] ?? "" };
        } catch {
            // does not run
        }
    }
    throw new BuildError(
        "nvcc was not found; install the CUDA toolkit, with cuBLAS, and name nvcc in the environment variable CUDACXX if it is not in PATH"
    );
}

/**
 * @param {string | undefined} arch of `--cuda-arch`
 * @param {CudaGpu | null} gpu
 * @returns {string} architecture for CMake
 */
export function resolveArchitecture(arch, gpu) {
    const chosen = arch ?? gpu?.capability.replace(".", "");
    if (chosen == null)
        throw new BuildError(
            "no NVIDIA GPU was found to build for; name its architecture, e.g. `--cuda-arch 90` for an H100"
        );
    if (!/^\d{2,3}[a-z]?$/.test(chosen))
        throw new BuildError(
            `--cuda-arch is ${JSON.stringify(chosen)}; it has to be a compute capability without its dot, e.g. 90`
        );
    return chosen;
}

/**
 * Builds the tuned CUDA backend, and puts the CPU backends next to it, so that both are loaded from one folder.
 * @param {import("./layout.mjs").Layout} layout
 * @param {import("./tools.mjs").Tools} tools
 * @param {import("./tools.mjs").Tool} nvcc
 * @param {string} arch
 * @param {NodeJS.ProcessEnv} env
 * @param {(percent: number) => void} onProgress
 */
export async function buildBackend(layout, tools, nvcc, arch, env, onProgress) {
    const generator = tools.ninja == null ? "Unix Makefiles" : "Ninja";
    const source = path.join(layout.nativeDir, "cuda");
    const definitions = {
        CMAKE_BUILD_TYPE: "Release",
        CMAKE_CUDA_COMPILER: nvcc.path,
        // 90a: Hopper's own instructions
        CMAKE_CUDA_ARCHITECTURES: `${arch === "90" ? "90a" : arch}-real`,
        CMAKE_CUDA_COMPILER_LAUNCHER: tools.ccache ?? "",
        ARMT_LLAMA_DIR: layout.tree,
        ARMT_PREBUILT_DIR: layout.prebuiltDir,
        ARMT_OUTPUT_DIR: layout.libDir
    };
    const args = Object.entries(definitions).map(([key, value]) => `-D${key}=${value}`);
    dropCacheOfAnotherBuild(layout.backendCmakeDir, [
        `CMAKE_GENERATOR:INTERNAL=${generator}`,
        `=${nvcc.path}`,
        `=${source}`
    ]);
    const options = { layout, env };
    const configure = ["-S", source, "-B", layout.backendCmakeDir, "-G", generator, ...args];
    await run("configuring the CUDA backend", tools.cmake.path, configure, options);
    const jobs = String(os.availableParallelism());
    await run("compiling the CUDA backend", tools.cmake.path, ["--build", layout.backendCmakeDir, "-j", jobs], {
        ...options,
        onLine: readProgress(onProgress)
    });
    if (!fs.existsSync(layout.backend))
        throw new BuildError(
            `the build ended without ${path.relative(layout.root, layout.backend)}; run it again with \`--force\``
        );
    for (const name of fs.readdirSync(layout.prebuiltDir).filter((file) => /^libggml-cpu.*\.so$/.test(file))) {
        const link = path.join(layout.libDir, name);
        fs.rmSync(link, { force: true });
        fs.symlinkSync(path.join(layout.prebuiltDir, name), link);
    }
}
