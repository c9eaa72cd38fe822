import fs from "node:fs";
import path from "node:path";
import { BuildError } from "./errors.mjs";
import { defaultVariant, findPlatform, hostName, librarySuffix, platforms, variantTitle } from "./platforms.mjs";

/** @typedef {import("./platforms.mjs").Host} Host */
/** @typedef {import("./platforms.mjs").Platform} Platform */
/** @typedef {import("./platforms.mjs").Variant} Variant */

/**
 * How libllama is instrumented for tests: with AddressSanitizer (native/sanitize.mjs), or its engine so that it counts the
 * lines that run (native/coverage.mjs) or with ThreadSanitizer (native/threads.mjs).
 * @typedef {"sanitize" | "coverage" | "threads"} Instrument
 */

/**
 * Every path that the build reads or writes.
 * @typedef {object} Layout
 * @property {string} root folder of this package
 * @property {Platform} platform
 * @property {string} bundle git bundle with llama.cpp's source, inside node-llama-cpp
 * @property {string} upstreamPatches folder of node-llama-cpp's own patches
 * @property {string} patches folder of this package's patches
 * @property {string} nativeDir folder with CMakeLists.txt, engine/ and addon/
 * @property {string} buildDir everything that the build of libllama writes
 * @property {string} tree llama.cpp's source, patched
 * @property {string} cmakeDir CMake's build folder
 * @property {string} libDir folder of the finished libllama
 * @property {string} library the finished libllama
 * @property {string} gypDir folder of the addon's binding.gyp, in which node-gyp works
 * @property {string} addon the finished addon
 * @property {string} log log of the last build
 * @property {string} prebuiltDir folder of the prebuilt ggml libraries
 * @property {string} nodeLlamaCppVersion installed version of node-llama-cpp
 * @property {Instrument | undefined} instrument how libllama is instrumented, which is built next to the plain one then
 * @property {string} variant what the names of this build's folders and files end with
 * @property {string} release llama.cpp release, e.g. `v0.5.0`
 * @property {string} suffix what the libraries' names have after `llama.` and `ggml.`: the release, the GPU before it in a GPU's variant
 * @property {Variant} gpu variant of node-llama-cpp that libllama is built for
 * @property {string} backend CUDA variant: the tuned CUDA backend, which is there where it was built
 * @property {string} backendCmakeDir CMake's build folder of that
 */

/** Each has an environment variable: `ARMT_SANITIZE=1` and so on. @type {readonly Instrument[]} */
const instruments = ["sanitize", "coverage", "threads"];

/**
 * Finds what is installed and derives every path. Throws a `BuildError` that names the first thing that is missing.
 * @param {string} root folder of this package
 * @param {Host} [host] for tests: the machine to assume
 * @param {Variant} [gpu] variant of node-llama-cpp. Default: the platform's first, which is the CPU variant except on Macs with an ARM processor
 * @returns {Layout}
 */
export function resolveLayout(root, host = {}, gpu = defaultVariant(host)) {
    const platform = findPlatform(host);
    const bins = platform?.variants.get(gpu);
    if (platform == null || bins == null) throw new BuildError(explainUnsupported(host, gpu));
    if (platform.name.startsWith("linux-") && (host.glibc ?? glibcVersion()) === "")
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

    const suffix = librarySuffix(gpu, release);
    const platformPackage = `@node-llama-cpp/${bins}`;
    const prebuilt = findPackage(nodeLlamaCpp, platformPackage);
    if (prebuilt == null) {
        const other = installedVariants(nodeLlamaCpp, platform).find((variant) => variant !== gpu);
        throw new BuildError(
            `the prebuilt ggml libraries (${platformPackage}) are not installed; run \`npm install --include=optional node-llama-cpp@${wanted}\`${other ? `, or use the ${variantTitle(other)} variant, which is installed: \`armt build --gpu ${other}\`, then \`--gpu ${other}\` or getLlama({gpu: "${other}"})` : ""}`
        );
    }
    const prebuiltDir = path.join(prebuilt, "bins", bins);
    const { library, backend } = platform;
    const missing = [
        library("ggml-base"),
        library(`ggml.${suffix}`),
        ...(gpu === false ? [] : [backend(`ggml-${gpu}`)])
    ].find((file) => !fs.existsSync(path.join(prebuiltDir, file)));
    if (missing != null)
        throw new BuildError(
            `${missing} is missing from ${platformPackage}; reinstall it with \`npm install --force node-llama-cpp@${wanted}\``
        );

    const nativeDir = path.join(root, "native");
    const buildDir = path.join(nativeDir, "build");
    const instrument = instruments.find((name) => process.env[`ARMT_${name.toUpperCase()}`] === "1");
    const variant = instrument ? `-${instrument}` : gpu ? `-${gpu}` : "";
    const libDir = path.join(buildDir, `lib${variant}`);
    return {
        root,
        platform,
        bundle,
        upstreamPatches: path.join(llamaDir, "patches"),
        patches: path.join(root, "patches"),
        nativeDir,
        buildDir,
        tree: path.join(buildDir, "llama.cpp"),
        cmakeDir: path.join(buildDir, `cmake${variant}`),
        libDir,
        library: path.join(libDir, library(`llama.${suffix}`)),
        gypDir: path.join(nativeDir, "gyp"),
        addon: path.join(buildDir, "armt.node"),
        log: path.join(buildDir, "build.log"),
        prebuiltDir,
        nodeLlamaCppVersion,
        instrument,
        variant,
        release,
        suffix,
        gpu,
        backend: path.join(libDir, backend("ggml-cuda")),
        backendCmakeDir: path.join(buildDir, "cmake-ggml-cuda")
    };
}

/**
 * @param {Host} host
 * @param {Variant} gpu
 */
function explainUnsupported(host, gpu) {
    const what = findPlatform(host) == null ? "" : ` in the ${variantTitle(gpu)} variant`;
    const having = platforms.filter(({ variants }) => what === "" || variants.has(gpu)).map(({ name }) => name);
    return `${hostName(host)} is not supported${what}, since node-llama-cpp has no prebuilt libraries for it; supported: ${having.join(", ")}`;
}

/**
 * The variant that is built by default: the platform's first, or another one if only its package is installed.
 * @param {string} root folder of this package
 * @param {Host} [host] for tests: the machine to assume
 * @returns {Variant}
 */
export function installedVariant(root, host = {}) {
    const platform = findPlatform(host);
    const nodeLlamaCpp = findPackage(root, "node-llama-cpp");
    const installed = platform == null || nodeLlamaCpp == null ? [] : installedVariants(nodeLlamaCpp, platform);
    return installed[0] ?? defaultVariant(host);
}

/**
 * @param {string} nodeLlamaCpp
 * @param {Platform} platform
 * @returns {Variant[]}
 */
function installedVariants(nodeLlamaCpp, { variants }) {
    return [...variants]
        .filter(([, bins]) => findPackage(nodeLlamaCpp, `@node-llama-cpp/${bins}`) != null)
        .map(([variant]) => variant);
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
