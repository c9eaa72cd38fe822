import fs from "node:fs";
import path from "node:path";
import { BuildError } from "./errors.mjs";

/**
 * The platforms that node-llama-cpp has prebuilt ggml libraries for and whose loader this package knows.
 * @type {Readonly<Record<string, string>>}
 */
const platformPackages = Object.freeze({
    "linux-x64": "@node-llama-cpp/linux-x64",
    "linux-arm64": "@node-llama-cpp/linux-arm64"
});

/**
 * The same for the CUDA variant.
 * @type {Readonly<Record<string, string>>}
 */
const cudaPackages = Object.freeze({ "linux-x64": "@node-llama-cpp/linux-x64-cuda" });

/**
 * Every path that the build reads or writes.
 * @typedef {object} Layout
 * @property {string} root folder of this package
 * @property {string} bundle git bundle with llama.cpp's source, inside node-llama-cpp
 * @property {string} upstreamPatches folder of node-llama-cpp's own patches
 * @property {string} patches folder of this package's patches
 * @property {string} nativeDir folder with CMakeLists.txt, engine/ and addon/
 * @property {string} buildDir everything that the build of libllama writes
 * @property {string} tree llama.cpp's source, patched
 * @property {string} cmakeDir CMake's build folder
 * @property {string} libDir folder of the finished libllama
 * @property {string} library the finished libllama
 * @property {string} addon the finished addon
 * @property {string} log log of the last build
 * @property {string} prebuiltDir folder of the prebuilt ggml libraries
 * @property {string} nodeLlamaCppVersion installed version of node-llama-cpp
 * @property {boolean} coverage whether the engine counts the lines that run (`ARMT_COVERAGE=1`, see native/coverage.mjs)
 * @property {boolean} sanitize whether libllama is built with AddressSanitizer, next to the plain one (`ARMT_SANITIZE=1`, see native/sanitize.mjs)
 * @property {string} release llama.cpp release, e.g. `v0.5.0`
 * @property {string} suffix what the libraries' names have between `lib….` and `.so`: the release, `cuda.` before it in the CUDA variant
 * @property {"cuda" | false} gpu variant of node-llama-cpp that libllama is built for
 * @property {string} backend CUDA variant: the tuned CUDA backend, which is there where it was built
 * @property {string} backendCmakeDir CMake's build folder of that
 */

/**
 * Finds what is installed and derives every path. Throws a `BuildError` that names the first thing that is missing.
 * @param {string} root folder of this package
 * @param {{platform?: string, arch?: string, glibc?: string}} [host] for tests: the machine to assume
 * @param {"cuda" | false} [gpu] variant of node-llama-cpp. Default: `false`, the CPU variant
 * @returns {Layout}
 */
export function resolveLayout(root, host = {}, gpu = false) {
    const platform = `${host.platform ?? process.platform}-${host.arch ?? process.arch}`;
    const packages = gpu === "cuda" ? cudaPackages : platformPackages;
    const platformPackage = packages[platform];
    if (platformPackage == null)
        throw new BuildError(
            `${platform} is not supported yet${gpu ? ` with ${gpu}` : ""}; supported platforms: ${Object.keys(packages).join(", ")}, with glibc`
        );
    if ((host.glibc ?? glibcVersion()) === "")
        throw new BuildError(
            "this Linux has no glibc (musl?), and the prebuilt ggml libraries of node-llama-cpp need it; use a glibc distribution such as Debian or Ubuntu"
        );

    const wanted = readJson(path.join(root, "package.json")).dependencies["node-llama-cpp"];
    const nodeLlamaCpp = findPackage(root, "node-llama-cpp");
    if (nodeLlamaCpp == null)
        throw new BuildError(
            `the package node-llama-cpp is not installed; run \`npm install node-llama-cpp@${wanted}\``
        );
    const nodeLlamaCppVersion = readJson(path.join(nodeLlamaCpp, "package.json")).version;
    if (nodeLlamaCppVersion !== wanted)
        throw new BuildError(
            `node-llama-cpp ${nodeLlamaCppVersion} is installed, but the patches fit ${wanted} only; run \`npm install node-llama-cpp@${wanted}\``
        );

    const llamaDir = path.join(nodeLlamaCpp, "llama");
    const bundle = path.join(llamaDir, "gitRelease.bundle");
    if (!fs.existsSync(bundle))
        throw new BuildError(
            `llama.cpp's source (llama/gitRelease.bundle) is missing from node-llama-cpp; reinstall it with \`npm install --force node-llama-cpp@${wanted}\``
        );
    const release = readJson(path.join(llamaDir, "binariesGithubRelease.json")).release;

    const suffix = gpu ? `${gpu}.${release}` : release;
    const prebuilt = findPackage(nodeLlamaCpp, platformPackage);
    if (prebuilt == null) {
        const other = gpu === false && isInstalled(nodeLlamaCpp, cudaPackages[platform]);
        throw new BuildError(
            `the prebuilt ggml libraries (${platformPackage}) are not installed; run \`npm install --include=optional node-llama-cpp@${wanted}\`${other ? ', or use the CUDA variant, which is installed: `armt build --gpu cuda`, then `--gpu cuda` or getLlama({gpu: "cuda"})' : ""}`
        );
    }
    const prebuiltDir = path.join(prebuilt, "bins", gpu ? `${platform}-${gpu}` : platform);
    const missing = ["libggml-base.so", `libggml.${suffix}.so`, ...(gpu ? [`libggml-${gpu}.so`] : [])].find(
        (file) => !fs.existsSync(path.join(prebuiltDir, file))
    );
    if (missing != null)
        throw new BuildError(
            `${missing} is missing from ${platformPackage}; reinstall it with \`npm install --force node-llama-cpp@${wanted}\``
        );

    const nativeDir = path.join(root, "native");
    const buildDir = path.join(nativeDir, "build");
    const sanitize = process.env.ARMT_SANITIZE === "1";
    const coverage = process.env.ARMT_COVERAGE === "1";
    const variant = sanitize ? "-sanitize" : coverage ? "-coverage" : gpu ? `-${gpu}` : "";
    const libDir = path.join(buildDir, `lib${variant}`);
    return {
        root,
        bundle,
        upstreamPatches: path.join(llamaDir, "patches"),
        patches: path.join(root, "patches"),
        nativeDir,
        buildDir,
        tree: path.join(buildDir, "llama.cpp"),
        cmakeDir: path.join(buildDir, `cmake${variant}`),
        libDir,
        library: path.join(libDir, `libllama.${suffix}.so`),
        addon: path.join(root, "build", "Release", "armt.node"),
        log: path.join(buildDir, "build.log"),
        prebuiltDir,
        nodeLlamaCppVersion,
        sanitize,
        coverage,
        release,
        suffix,
        gpu,
        backend: path.join(libDir, "libggml-cuda.so"),
        backendCmakeDir: path.join(buildDir, "cmake-ggml-cuda")
    };
}

/**
 * The variant that is built by default: the CPU variant, or the CUDA variant if only its package is installed.
 * @param {string} root folder of this package
 * @param {{platform?: string, arch?: string}} [host] for tests: the machine to assume
 * @returns {"cuda" | false}
 */
export function installedVariant(root, host = {}) {
    const platform = `${host.platform ?? process.platform}-${host.arch ?? process.arch}`;
    const nodeLlamaCpp = findPackage(root, "node-llama-cpp");
    if (nodeLlamaCpp == null || isInstalled(nodeLlamaCpp, platformPackages[platform])) return false;
    return isInstalled(nodeLlamaCpp, cudaPackages[platform]) ? "cuda" : false;
}

/**
 * @param {string} from
 * @param {string | undefined} name
 */
function isInstalled(from, name) {
    return name != null && findPackage(from, name) != null;
}

/**
 * Node's own search: node_modules of the folder and of all its parents. `require.resolve` is no help, since the packages
 * do not export their package.json.
 * @param {string} from
 * @param {string} name
 * @returns {string | null}
 */
export function findPackage(from, name) {
    for (let dir = fs.realpathSync(from); ; dir = path.dirname(dir)) {
        const candidate = path.join(dir, "node_modules", name);
        if (fs.existsSync(path.join(candidate, "package.json"))) return fs.realpathSync(candidate);
        if (dir === path.dirname(dir)) return null;
    }
}

/** @returns {string} version of the C library that this Node runs on; empty where it is not glibc */
function glibcVersion() {
    // without this the report looks up the name of every network peer
    process.report.excludeNetwork = true;
    const report = /** @type {{header: {glibcVersionRuntime?: string}}} */ (process.report.getReport());
    return report.header.glibcVersionRuntime ?? "";
}

/** @param {string} file */
function readJson(file) {
    return JSON.parse(fs.readFileSync(file, "utf8"));
}
