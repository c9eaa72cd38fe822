import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { BuildError } from "./errors.mjs";

/** What `native/CMakeLists.txt` asks for. */
const minCmake = "3.18";

/** @typedef {"compiler" | "cmake" | "git" | "python" | "make"} Need */

/**
 * A way to install programs: a package for each of them, and the command before the packages' names. `apart` has the
 * programs that another command installs.
 * @typedef {{command: string, packages: Readonly<Partial<Record<Need, string>>>, apart?: Readonly<Partial<Record<Need, string>>>}} Installer
 */

const xcode = "xcode-select --install";
/** @type {Readonly<Record<"apt" | "dnf" | "pacman" | "darwin" | "win32", Installer>>} */
const installers = {
    apt: {
        command: "apt-get install",
        packages: { compiler: "g++", cmake: "cmake", git: "git", python: "python3", make: "make" }
    },
    dnf: {
        command: "dnf install",
        packages: { compiler: "gcc-c++", cmake: "cmake", git: "git", python: "python3", make: "make" }
    },
    pacman: {
        command: "pacman -S",
        packages: { compiler: "gcc", cmake: "cmake", git: "git", python: "python", make: "make" }
    },
    darwin: {
        command: "brew install",
        packages: { cmake: "cmake" },
        apart: { compiler: xcode, git: xcode, python: xcode, make: xcode }
    },
    win32: {
        command: "winget install",
        // CMake and node-gyp look for Visual Studio themselves
        packages: { cmake: "Kitware.CMake", git: "Git.Git", python: "Python.Python.3.12" }
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
 * Finds the programs that the build needs. Throws a `BuildError` that names all that are missing or unfit, and the
 * command that installs them.
 * @param {NodeJS.ProcessEnv} env `PATH`, and `CXX` for another compiler
 * @param {string} [system] `process.platform`; for tests, another one than this
 * @returns {Tools}
 */
export function findTools(env, system = process.platform) {
    const isWindows = system === "win32";
    const python = isWindows ? (findProgram("python", env) == null ? "python3" : "python") : "python3";
    const [compiler, cmake, git, pythonTool] = [
        findCompiler(env, system),
        probe("cmake", env),
        probe("git", env),
        probe(python, env)
    ];
    // MSBuild takes its place, and uses neither Ninja nor ccache
    const make = isWindows ? null : probe("make", env);
    /** @type {[Need, string][]} */
    const missing = [];
    /** @type {string[]} */
    const faults = [];
    if (compiler == null && env.CXX)
        faults.push(`the C++ compiler of the environment variable CXX (${env.CXX}) does not run; correct or unset CXX`);
    else if (compiler == null) missing.push(["compiler", "a C++17 compiler"]);
    if (cmake == null) missing.push(["cmake", "CMake"]);
    if (git == null) missing.push(["git", "git"]);
    if (pythonTool == null) missing.push(["python", "Python 3 (node-gyp needs it)"]);
    if (make == null && !isWindows) missing.push(["make", "make"]);
    const cmakeVersion = cmake?.version.match(/(\d+)\.(\d+)/)?.[0] ?? "0.0";
    if (cmake != null && olderThan(cmakeVersion, minCmake))
        faults.push(`CMake ${cmakeVersion} is too old; install ${minCmake} or newer, e.g. \`pip install cmake\``);
    if (missing.length > 0) {
        const command = installCommand(
            missing.map(([need]) => need),
            env,
            system
        );
        const names = listOf(missing.map(([, name]) => name));
        const rest = missing.length > 1 ? "are missing; install them" : "is missing; install it";
        faults.unshift(`${names} ${rest} with \`${command}\``);
        throw new BuildError(faults.join("; "), command);
    }
    if (faults.length > 0 || compiler == null || cmake == null || git == null || pythonTool == null)
        throw new BuildError(faults.join("; "));
    const [ninja, ccache] = isWindows ? [null, null] : [findProgram("ninja", env), findProgram("ccache", env)];
    return { compiler, cmake, git, python: pythonTool, make, ninja, ccache };
}

/**
 * @param {readonly Need[]} needs
 * @param {NodeJS.ProcessEnv} env
 * @param {string} system
 * @returns {string} commands for a shell, joined with `&&`
 */
function installCommand(needs, env, system) {
    const { command, packages, apart = {} } = installerOf(env, system);
    const names = needs.flatMap((need) => packages[need] ?? []);
    const others = new Set(needs.flatMap((need) => apart[need] ?? []));
    return [...others, ...(names.length > 0 ? [`${command} ${names.join(" ")}`] : [])].join(" && ");
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {string} system
 * @returns {Installer}
 */
function installerOf(env, system) {
    if (system === "darwin" || system === "win32") return installers[system];
    if (findProgram("apt-get", env) != null) return installers.apt;
    if (findProgram("dnf", env) != null) return installers.dnf;
    return findProgram("pacman", env) == null ? installers.apt : installers.pacman;
}

/** @param {readonly string[]} names */
function listOf(names) {
    return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
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
