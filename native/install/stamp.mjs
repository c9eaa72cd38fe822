import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { findPackage } from "./layout.mjs";

/**
 * What the results of a build were made from. Two equal stamps mean that nothing has to be built.
 * @typedef {object} Stamp
 * @property {string} source llama.cpp's source: version and patches
 * @property {string} library source, engine, build rules, prebuilt libraries
 * @property {string} addon addon sources, the engine's interface, node-addon-api
 * @property {string} compiler version of the compiler; empty if none is installed now
 * @property {string} [backend] the tuned CUDA backend, if it was built: source, kernels, build rules, nvcc, architecture
 */

/**
 * @param {import("./layout.mjs").Layout} layout
 * @param {string} compiler version of the compiler
 * @returns {Stamp}
 */
export function computeStamp(layout, compiler) {
    const native = layout.nativeDir;
    const source = hashOf(allPatches(layout), [layout.nodeLlamaCppVersion, layout.release, layout.tree]);
    const rules = [...filesOf(path.join(native, "install")), path.join(native, "build.mjs")];
    return {
        source,
        library: hashOf(
            [path.join(native, "CMakeLists.txt"), ...filesOf(path.join(native, "engine")), ...rules],
            [source, layout.prebuiltDir]
        ),
        addon: hashOf(
            [
                path.join(layout.gypDir, "binding.gyp"),
                path.join(native, "engine", "armt-api.h"),
                ...filesOf(path.join(native, "addon")),
                ...rules
            ],
            [source, packageVersion(layout.root, "node-addon-api"), process.versions.modules]
        ),
        compiler
    };
}

/**
 * @param {import("./layout.mjs").Layout} layout
 * @param {string} nvcc version of nvcc
 * @param {string} arch architecture that the kernels are for
 * @returns {string} stamp of the tuned CUDA backend
 */
export function backendStamp(layout, nvcc, arch) {
    const { nativeDir } = layout;
    const files = [
        ...filesOf(path.join(nativeDir, "cuda")),
        path.join(nativeDir, "engine", "armt-names.h"),
        path.join(nativeDir, "install", "backend.mjs")
    ];
    return hashOf([...allPatches(layout), ...files], [layout.release, layout.prebuiltDir, nvcc, arch]);
}

/**
 * @param {import("./layout.mjs").Layout} layout
 * @returns {string[]} all patches of llama.cpp's source in the order in which they apply
 */
export function allPatches({ upstreamPatches, patches }) {
    return [upstreamPatches, patches, path.join(patches, "ggml-cuda")].flatMap(patchFiles);
}

/**
 * @param {import("./layout.mjs").Layout} layout
 * @returns {Partial<Stamp>} of the last finished steps; empty after a failed or interrupted first build
 */
export function readStamp(layout) {
    try {
        return JSON.parse(fs.readFileSync(stampFile(layout), "utf8"));
    } catch {
        return {};
    }
}

/**
 * @param {import("./layout.mjs").Layout} layout
 * @param {Partial<Stamp>} stamp
 */
export function writeStamp(layout, stamp) {
    const file = stampFile(layout);
    fs.writeFileSync(`${file}.tmp`, JSON.stringify(stamp));
    fs.renameSync(`${file}.tmp`, file);
}

/**
 * @param {string} folder
 * @returns {string[]} the folder's patches in the order in which they apply
 */
function patchFiles(folder) {
    if (!fs.existsSync(folder)) return [];
    const names = fs.readdirSync(folder).filter((name) => name.endsWith(".diff"));
    return names.sort().map((name) => path.join(folder, name));
}

/** @param {import("./layout.mjs").Layout} layout */
function stampFile(layout) {
    return path.join(layout.buildDir, `stamp${layout.variant}.json`);
}

/**
 * @param {string} folder
 * @returns {string[]}
 */
function filesOf(folder) {
    if (!fs.existsSync(folder)) return [];
    const entries = fs.readdirSync(folder, { recursive: true, withFileTypes: true });
    return entries
        .filter((entry) => entry.isFile())
        .map((entry) => path.join(entry.parentPath, entry.name))
        .sort();
}

/**
 * @param {string[]} files
 * @param {string[]} values
 */
function hashOf(files, values) {
    const hash = createHash("sha256").update(JSON.stringify(values));
    for (const file of files) {
        hash.update(`\0${path.basename(file)}\0`);
        if (fs.existsSync(file)) hash.update(fs.readFileSync(file));
    }
    return hash.digest("hex");
}

/**
 * @param {string} root
 * @param {string} name
 */
function packageVersion(root, name) {
    const folder = findPackage(root, name);
    return folder == null ? "" : JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8")).version;
}
