import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { BuildError } from "./errors.mjs";

/** What `native/CMakeLists.txt` asks for. */
const minCmake = "3.18";

/**
 * A program that the build runs.
 * @typedef {object} Tool
 * @property {string} path absolute path
 * @property {string} version first line of its `--version`
 */

/**
 * @typedef {object} Tools
 * @property {Tool} compiler
 * @property {Tool} cmake
 * @property {Tool} git
 * @property {Tool} python for node-gyp
 * @property {Tool} make for node-gyp, and for CMake if Ninja is missing
 * @property {string | null} ninja path, used if present
 * @property {string | null} ccache path, used if present
 */

/**
 * Finds the programs that the build needs. Throws a `BuildError` that names the first one that is missing and how to get it.
 * @param {NodeJS.ProcessEnv} env `PATH`, and `CXX` for another compiler
 * @returns {Tools}
 */
export function findTools(env) {
    const compiler = findCompiler(env);
    if (compiler == null)
        throw new BuildError(
            env.CXX
                ? `the C++ compiler of the environment variable CXX (${env.CXX}) does not run; correct or unset CXX`
                : "no C++ compiler was found; install one with C++17, e.g. `apt-get install g++`"
        );
    const tools = {
        compiler,
        cmake: need("cmake", "CMake", `apt-get install cmake`, env),
        git: need("git", "git", "apt-get install git", env),
        python: need("python3", "Python 3 (node-gyp needs it)", "apt-get install python3", env),
        make: need("make", "make (node-gyp needs it)", "apt-get install make", env),
        ninja: findProgram("ninja", env),
        ccache: findProgram("ccache", env)
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
 * @returns {Tool | null} the compiler that CMake and node-gyp would take
 */
export function findCompiler(env) {
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
    if (tool == null) throw new BuildError(`${title} was not found; install it, e.g. \`${remedy}\``);
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
    const folders = name.includes("/") ? [""] : (env.PATH ?? "").split(path.delimiter).filter(Boolean);
    for (const folder of folders) {
        const file = path.resolve(folder, name);
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
