import fs from "node:fs";
import path from "node:path";
import { BuildError } from "./errors.mjs";
import { findPackage, resolveLayout } from "./layout.mjs";
import { platforms, versionedLibrary } from "./platforms.mjs";

/**
 * The files that the loader opens, in this order; the addon first, as it does the loading.
 * @typedef {object} Libraries
 * @property {string} addon
 * @property {string} ggmlBase
 * @property {string} ggml
 * @property {string} llama libllama with the engine
 * @property {"build" | "package"} origin whether `armt build` made them here, or they came as a prebuilt package
 */

/**
 * Finds what was built, or else an installed prebuilt package. Throws a `BuildError` that says what to do.
 * @param {string} root folder of this package
 * @param {{platform?: string, arch?: string, glibc?: string}} [host] for tests: the machine to assume
 * @returns {Libraries}
 */
export function findLibraries(root, host = {}) {
    const name = `${host.platform ?? process.platform}-${host.arch ?? process.arch}`;
    const platform = platforms[name];
    if (platform?.builds === true) {
        const layout = resolveLayout(root, host);
        if (fs.existsSync(layout.library) && fs.existsSync(layout.addon)) {
            const ggml = (/** @type {string} */ file) => path.join(layout.prebuiltDir, file);
            return {
                addon: layout.addon,
                ggmlBase: ggml(platform.library("ggml-base")),
                ggml: ggml(versionedLibrary(platform, "ggml", layout.release)),
                llama: layout.library,
                origin: "build"
            };
        }
    }
    const packaged = findPrebuilt(root, host);
    if (packaged != null) return packaged;
    if (platform?.builds === true) throw new BuildError("the ARMT engine is not built yet; run `npx armt build`");
    if (platform == null)
        throw new BuildError(`${name} is not supported; platforms: ${Object.keys(platforms).join(", ")}`);
    throw new BuildError(
        `on ${name} the ARMT engine comes as the package ${packageName(root, platform.bins)}, which is not installed; nothing can be compiled here yet`
    );
}

/**
 * The libraries of a prebuilt package. They are of use only with the same version of this package.
 * @param {string} root
 * @param {{platform?: string, arch?: string}} [host]
 * @returns {Libraries | null} null if none is installed
 */
export function findPrebuilt(root, host = {}) {
    const platform = platforms[`${host.platform ?? process.platform}-${host.arch ?? process.arch}`];
    if (platform == null) return null;
    const ours = findPackage(root, packageName(root, platform.bins));
    if (ours == null) return null;
    const { version } = readJson(path.join(root, "package.json"));
    const { version: theirs, name } = readJson(path.join(ours, "package.json"));
    if (theirs !== version)
        throw new BuildError(
            `${name} ${theirs} is installed, this is ${version}; run \`npm install ${name}@${version}\``
        );

    const nodeLlamaCpp = findPackage(root, "node-llama-cpp");
    const ggml = nodeLlamaCpp == null ? null : findPackage(nodeLlamaCpp, `@node-llama-cpp/${platform.bins}`);
    if (nodeLlamaCpp == null || ggml == null)
        throw new BuildError(
            `the prebuilt ggml libraries (@node-llama-cpp/${platform.bins}) are not installed; run \`npm install --include=optional node-llama-cpp\``
        );
    const { release } = readJson(path.join(nodeLlamaCpp, "llama", "binariesGithubRelease.json"));
    const libraries = {
        addon: path.join(ours, "bins", "armt.node"),
        ggmlBase: path.join(ggml, "bins", platform.bins, platform.library("ggml-base")),
        ggml: path.join(ggml, "bins", platform.bins, versionedLibrary(platform, "ggml", release)),
        llama: path.join(ours, "bins", versionedLibrary(platform, "llama", release))
    };
    const missing = Object.values(libraries).find((file) => !fs.existsSync(file));
    if (missing != null) throw new BuildError(`${missing} is missing; reinstall ${name}@${version}`);
    return { ...libraries, origin: "package" };
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
