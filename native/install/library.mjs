import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { BuildError } from "./errors.mjs";
import { run } from "./run.mjs";

/** Step counter of Ninja (`[3/140]`) and of CMake's makefiles (`[  2%]`). */
const progressLine = /^\[\s*(\d+)(?:\/(\d+)|%)\]/;

/**
 * Configures the build of libllama with the engine against the prebuilt ggml libraries.
 * @param {import("./layout.mjs").Layout} layout
 * @param {import("./tools.mjs").Tools} tools
 * @param {NodeJS.ProcessEnv} env
 */
export async function configureLibrary(layout, tools, env) {
    const generator = findGenerator(tools);
    const definitions = {
        CMAKE_BUILD_TYPE: "Release",
        ...(tools.compiler.path === "" ? {} : { CMAKE_CXX_COMPILER: tools.compiler.path }),
        CMAKE_C_COMPILER_LAUNCHER: tools.ccache ?? "",
        CMAKE_CXX_COMPILER_LAUNCHER: tools.ccache ?? "",
        ARMT_LLAMA_DIR: layout.tree,
        ARMT_PREBUILT_DIR: layout.prebuiltDir,
        ARMT_LLAMA_VERSION: layout.suffix,
        ARMT_OUTPUT_DIR: layout.libDir,
        ARMT_INSTRUMENT: layout.instrument ?? ""
    };
    const args = Object.entries(definitions).map(([key, value]) => `-D${key}=${value}`);
    dropCacheOfAnotherBuild(layout.cmakeDir, [
        ...(generator == null ? [] : [`CMAKE_GENERATOR:INTERNAL=${generator}`]),
        `=${tools.compiler.path}`,
        // CMake writes all paths with slashes
        `=${layout.nativeDir.replaceAll("\\", "/")}`
    ]);
    await run(
        "configuring libllama",
        tools.cmake.path,
        ["-S", layout.nativeDir, "-B", layout.cmakeDir, ...(generator == null ? [] : ["-G", generator]), ...args],
        { layout, env }
    );
}

/**
 * Builds libllama with the engine against the prebuilt ggml libraries.
 * @param {import("./layout.mjs").Layout} layout
 * @param {import("./tools.mjs").Tools} tools
 * @param {NodeJS.ProcessEnv} env
 * @param {(percent: number) => void} onProgress
 */
export async function buildLibrary(layout, tools, env, onProgress) {
    await configureLibrary(layout, tools, env);
    const jobs = String(os.availableParallelism());
    const args = ["--build", layout.cmakeDir, "--config", "Release", "--target", "llama", "ggml-rpc", "-j", jobs];
    await run("compiling libllama", tools.cmake.path, args, { layout, env, onLine: readProgress(onProgress) });
    if (!fs.existsSync(layout.library))
        throw new BuildError(
            `the build ended without ${path.relative(layout.root, layout.library)}; run it again with \`--force\``
        );
}

/**
 * @param {import("./tools.mjs").Tools} tools
 * @returns {string | null} null on Windows, where CMake takes the newest Visual Studio
 */
function findGenerator({ ninja, make }) {
    return ninja != null ? "Ninja" : make != null ? "Unix Makefiles" : null;
}

/**
 * @param {(percent: number) => void} onProgress
 * @returns {(line: string) => void} reader of a build's output
 */
export function readProgress(onProgress) {
    return (line) => {
        const [, done, total] = progressLine.exec(line) ?? [];
        if (done != null) onProgress(total == null ? Number(done) : Math.floor((100 * Number(done)) / Number(total)));
    };
}

/**
 * CMake refuses another generator in the same folder, and drops all definitions when a compiler changes.
 * @param {string} cmakeDir
 * @param {string[]} ends ends of lines that the cache of the same build has
 */
export function dropCacheOfAnotherBuild(cmakeDir, ends) {
    const cacheFile = path.join(cmakeDir, "CMakeCache.txt");
    if (!fs.existsSync(cacheFile)) return;
    const cache = fs.readFileSync(cacheFile, "utf8");
    if (!ends.every((line) => cache.includes(`${line}\n`))) fs.rmSync(cmakeDir, { recursive: true, force: true });
}
