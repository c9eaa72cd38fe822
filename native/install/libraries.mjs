import fs from "node:fs";
import path from "node:path";
import { BuildError } from "./errors.mjs";
import { findPackage, installedVariant, resolveLayout } from "./layout.mjs";
import { defaultVariant, findPlatform, librarySuffix } from "./platforms.mjs";

/** @typedef {import("./platforms.mjs").Host} Host */
/** @typedef {import("./platforms.mjs").Variant} Variant */

/**
 * The files that the loader opens, in this order; the addon first, as it does the loading.
 * @typedef {object} Libraries
 * @property {string} addon
 * @property {string} ggmlBase
 * @property {string} ggml
 * @property {string} llama libllama with the engine
 * @property {string} rpc ggml's RPC backend, which is opened only when it is used
 * @property {Variant} gpu variant of node-llama-cpp that they are for
 * @property {"build" | "package"} origin whether `armt build` made them here, or they came as a prebuilt package
 */

/**
 * Finds what was built, or else an installed prebuilt package. Throws a `BuildError` that says what to do.
 * @param {string} root folder of this package
 * @param {Host} [host] for tests: the machine to assume
 * @param {Variant} [gpu] variant of node-llama-cpp. Default: the installed one
 * @returns {Libraries}
 */
export function findLibraries(root, host = {}, gpu = installedVariant(root, host)) {
    const built = findBuild(root, host, gpu);
    const found = built instanceof BuildError ? null : built;
    const libraries = found ?? findPrebuilt(root, host, gpu);
    if (libraries != null) return libraries;
    if (built instanceof BuildError) throw built;
    const option = gpu === defaultVariant(host) ? "" : ` --gpu ${gpu}`;
    throw new BuildError(`the ARMT engine is not built yet; run \`npx armt build${option}\``);
}

/**
 * @param {string} root
 * @param {Host} host
 * @param {Variant} gpu
 * @returns {Libraries | BuildError | null} null if nothing was built yet, or the reason why nothing can be built
 */
function findBuild(root, host, gpu) {
    let layout;
    try {
        layout = resolveLayout(root, host, gpu);
    } catch (error) {
        if (error instanceof BuildError) return error;
        throw error;
    }
    const { platform, prebuiltDir, suffix, library: llama, addon } = layout;
    if (!fs.existsSync(llama) || !fs.existsSync(addon)) return null;
    return {
        addon,
        ggmlBase: path.join(prebuiltDir, platform.library("ggml-base")),
        ggml: path.join(prebuiltDir, platform.library(`ggml.${suffix}`)),
        llama,
        rpc: path.join(layout.libDir, platform.backend("ggml-rpc")),
        gpu,
        origin: "build"
    };
}

/**
 * The libraries of a prebuilt package. They are of use only with the same version of this package.
 * @param {string} root
 * @param {Host} [host]
 * @param {Variant} [gpu] Default: the platform's default variant
 * @returns {Libraries | null} null if none is installed
 */
export function findPrebuilt(root, host = {}, gpu = defaultVariant(host)) {
    const platform = findPlatform(host);
    const bins = platform?.variants.get(gpu);
    if (platform == null || bins == null) return null;
    const ours = findOurPackage(root, bins);
    // the packages of other variants hold libllama alone
    const base = findOurPackage(root, /** @type {string} */ (platform.variants.get(defaultVariant(host))));
    if (ours == null || base == null) return null;

    const nodeLlamaCpp = findPackage(root, "node-llama-cpp");
    const ggml = nodeLlamaCpp == null ? null : findPackage(nodeLlamaCpp, `@node-llama-cpp/${bins}`);
    if (nodeLlamaCpp == null || ggml == null)
        throw new BuildError(
            `the prebuilt ggml libraries (@node-llama-cpp/${bins}) are not installed; run \`npm install --include=optional node-llama-cpp\``
        );
    const { release } = readJson(path.join(nodeLlamaCpp, "llama", "binariesGithubRelease.json"));
    const suffix = librarySuffix(gpu, release);
    const libraries = {
        addon: path.join(base, "bins", "armt.node"),
        ggmlBase: path.join(ggml, "bins", bins, platform.library("ggml-base")),
        ggml: path.join(ggml, "bins", bins, platform.library(`ggml.${suffix}`)),
        llama: path.join(ours, "bins", platform.library(`llama.${suffix}`))
    };
    const missing = Object.values(libraries).find((file) => !fs.existsSync(file));
    if (missing != null) {
        const { version } = readJson(path.join(root, "package.json"));
        throw new BuildError(`${missing} is missing; reinstall ${packageName(root, bins)}@${version}`);
    }
    return { ...libraries, rpc: path.join(base, "bins", platform.backend("ggml-rpc")), gpu, origin: "package" };
}

/**
 * @param {string} root
 * @param {string} bins
 * @returns {string | null} folder of our prebuilt package; throws a `BuildError` if it is of another version
 */
function findOurPackage(root, bins) {
    const folder = findPackage(root, packageName(root, bins));
    if (folder == null) return null;
    const { version } = readJson(path.join(root, "package.json"));
    const { version: theirs, name } = readJson(path.join(folder, "package.json"));
    if (theirs !== version)
        throw new BuildError(
            `${name} ${theirs} is installed, this is ${version}; run \`npm install ${name}@${version}\``
        );
    return folder;
}

/**
 * Name of our prebuilt package.
 * @param {string} root
 * @param {string} bins
 */
export function packageName(root, bins) {
    return `@${readJson(path.join(root, "package.json")).name}/${bins}`;
}

/** @param {string} file */
function readJson(file) {
    return JSON.parse(fs.readFileSync(file, "utf8"));
}
