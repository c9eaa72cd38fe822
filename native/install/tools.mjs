import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { BuildError } from "./errors.mjs";

/** What `native/CMakeLists.txt` asks for. */
const minCmake = "3.18";

/**
 * How to get each program, by `process.platform`.
 * @type {Readonly<Record<string, Record<"compiler" | "cmake" | "git" | "python" | "make", string>>> & {readonly linux: Record<"compiler" | "cmake" | "git" | "python" | "make", string>}}
 */
const remedies = {
    linux: {
        compiler: "`apt-get install g++`",
        cmake: "`apt-get install cmake`",
        git: "`apt-get install git`",
        python: "`apt-get install python3`",
        make: "`apt-get install make`"
    },
    darwin: {
        compiler: "with `xcode-select --install`",
        cmake: "`brew install cmake`",
        git: "with `xcode-select --install`",
        python: "with `xcode-select --install`",
        make: "with `xcode-select --install`"
    },
    win32: {
        compiler: 'Visual Studio 2022 with "Desktop development with C++"',
        cmake: "`winget install Kitware.CMake`",
        git: "`winget install Git.Git`",
        python: "`winget install Python.Python.3.12`",
        make: 'Visual Studio 2022 with "Desktop development with C++"'
    }
};

/**
 * A program that the build runs.
 * @typedef {object} Tool
 * @property {string} path absolute path
 * @property {string} version first line of its `--version`
 */

/**
 * @typedef {object} Tools
 * @property {Tool} compiler on Windows, CMake and node-gyp look for Visual Studio themselves, so its path is empty
 * @property {Tool} cmake
 * @property {Tool} git
 * @property {Tool} python for node-gyp
 * @property {Tool | null} make for node-gyp, and for CMake if Ninja is missing; null on Windows, where both use MSBuild
 * @property {string | null} ninja path, used if present
 * @property {string | null} ccache path, used if present
 */

/**
 * Finds the programs that the build needs. Throws a `BuildError` that names the first one that is missing and how to get it.
 * @param {NodeJS.ProcessEnv} env `PATH`, and `CXX` for another compiler
 * @param {string} [system] `process.platform`; for tests, another one than this
 * @returns {Tools}
 */
export function findTools(env, system = process.platform) {
    const get = remedies[system] ?? remedies.linux;
    const compiler = findCompiler(env, system);
    if (compiler == null)
        throw new BuildError(
            env.CXX
                ? `the C++ compiler of the environment variable CXX (${env.CXX}) does not run; correct or unset CXX`
                : `no C++ compiler was found; install one with C++17, e.g. ${get.compiler}`
        );
    const python = system === "win32" ? (findProgram("python", env) == null ? "python3" : "python") : "python3";
    const tools = {
        compiler,
        cmake: need("cmake", "CMake", get.cmake, env),
        git: need("git", "git", get.git, env),
        python: need(python, "Python 3 (node-gyp needs it)", get.python, env),
        make: system === "win32" ? null : need("make", "make (node-gyp needs it)", get.make, env),
        // MSBuild uses neither
        ninja: system === "win32" ? null : findProgram("ninja", env),
        ccache: system === "win32" ? null : findProgram("ccache", env)
    };
    const cmakeVersion = tools.cmake.version.match(/(\d+)\.(\d+)/)?.[0] ?? "0.0";
    if (olderThan(cmakeVersion, minCmake))
        throw new BuildError(
            `CMake ${cmakeVersion} is too old; install ${minCmake} or newer, e.g. \`pip install cmake\``
        );
    return tools;
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {string} [system]
 * @returns {Tool | null} the compiler that CMake and node-gyp would take
 */
export function findCompiler(env, system = process.platform) {
    if (system === "win32") return { path: "", version: "Visual Studio" };
    const names = env.CXX ? [env.CXX] : ["c++", "g++", "clang++"];
    for (const name of names) {
        const tool = probe(name, env);
        if (tool != null) return tool;
    }
    return null;
}

/**
 * @param {string} name
 * @param {string} title
 * @param {string} remedy
 * @param {NodeJS.ProcessEnv} env
 * @returns {Tool}
 */
function need(name, title, remedy, env) {
    const tool = probe(name, env);
    if (tool == null) throw new BuildError(`${title} was not found; install it, e.g. ${remedy}`);
    return tool;
}

/**
 * @param {string} name
 * @param {NodeJS.ProcessEnv} env
 * @returns {Tool | null} null where the program is missing or does not run
 */
function probe(name, env) {
    const file = findProgram(name, env);
    if (file == null) return null;
    try {
        const output = execFileSync(file, ["--version"], {
            env,
            encoding: "utf8",
            stdio: ["ignore", "pipe", "ignore"]
        });
        return { path: file, version: output.split("\n")[0] ?? "" };
    } catch {
        return null;
    }
}

/**
 * @param {string} name name or path of a program
 * @param {NodeJS.ProcessEnv} env
 * @returns {string | null}
 */
export function findProgram(name, env) {
    const folders = /[/\\]/.test(name) ? [""] : (env.PATH ?? env.Path ?? "").split(path.delimiter).filter(Boolean);
    const endings = process.platform === "win32" && path.extname(name) === "" ? [".exe", ".cmd", ".bat"] : [""];
    for (const folder of folders)
        for (const ending of endings) {
            const file = path.resolve(folder, `${name}${ending}`);
            try {
                fs.accessSync(file, fs.constants.X_OK);
                if (fs.statSync(file).isFile()) return file;
            } catch {
                // not in this folder
            }
        }
    return null;
}

/**
 * @param {string} version
 * @param {string} limit
 */
function olderThan(version, limit) {
    const [major = 0, minor = 0] = version.split(".").map(Number);
    const [limitMajor = 0, limitMinor = 0] = limit.split(".").map(Number);
    return major < limitMajor || (major === limitMajor && minor < limitMinor);
}
