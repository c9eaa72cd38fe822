/**
 * How an operating system names a shared library.
 * @typedef {(name: string) => string} LibraryName
 */

/**
 * A variant of node-llama-cpp; `false` is the CPU variant.
 * @typedef {"cuda" | "vulkan" | "metal" | false} Variant
 */

/**
 * A machine; for tests, another one than this.
 * @typedef {{platform?: string, arch?: string, glibc?: string}} Host
 */

/**
 * What is known of a platform that node-llama-cpp has prebuilt libraries for.
 * @typedef {object} Platform
 * @property {string} name `<process.platform>-<process.arch>`
 * @property {ReadonlyMap<Variant, string>} variants the variants that node-llama-cpp has for it, each with its name in the packages:
 *   `@node-llama-cpp/<name>`, folder `bins/<name>`. The first is the default
 * @property {LibraryName} library file name of a library that others link to, e.g. of `ggml-base`
 * @property {LibraryName} backend file name of a backend, e.g. of `ggml-cpu`
 */

/** @type {LibraryName} */
const elf = (name) => `lib${name}.so`;
/** @type {LibraryName} */
const machO = (name) => `lib${name}.dylib`;
/** @type {LibraryName} */
const pe = (name) => `${name}.dll`;

/**
 * @param {string} name
 * @param {Pick<Platform, "library" | "backend">} naming
 * @param {[Variant, string][]} variants
 * @returns {Platform}
 */
const platform = (name, naming, variants) => ({ name, variants: new Map(variants), ...naming });

const linux = { library: elf, backend: elf };
const mac = { library: machO, backend: elf };
const windows = { library: pe, backend: pe };

/**
 * node-llama-cpp has no CPU variant for Macs with an ARM processor: its Metal variant computes on the CPU as well.
 * @type {readonly Platform[]}
 */
export const platforms = Object.freeze([
    platform("linux-x64", linux, [
        [false, "linux-x64"],
        ["cuda", "linux-x64-cuda"],
        ["vulkan", "linux-x64-vulkan"]
    ]),
    platform("linux-arm64", linux, [[false, "linux-arm64"]]),
    platform("darwin-arm64", mac, [["metal", "mac-arm64-metal"]]),
    platform("darwin-x64", mac, [[false, "mac-x64"]]),
    platform("win32-x64", windows, [
        [false, "win-x64"],
        ["cuda", "win-x64-cuda"],
        ["vulkan", "win-x64-vulkan"]
    ]),
    platform("win32-arm64", windows, [[false, "win-arm64"]])
]);

/** @param {Host} host */
export function hostName({ platform = process.platform, arch = process.arch }) {
    return `${platform}-${arch}`;
}

/**
 * @param {Host} [host]
 * @returns {Platform | undefined} undefined if node-llama-cpp has no prebuilt libraries for the machine
 */
export function findPlatform(host = {}) {
    return platforms.find(({ name }) => name === hostName(host));
}

/**
 * @param {Host} [host]
 * @returns {Variant} the variant that runs on every machine of the platform
 */
export function defaultVariant(host) {
    return [...(findPlatform(host)?.variants.keys() ?? [])][0] ?? false;
}

/** @param {Variant} variant */
export function variantTitle(variant) {
    return { cuda: "CUDA", vulkan: "Vulkan", metal: "Metal", false: "CPU" }[`${variant}`];
}

/**
 * What the names of a variant's libraries have after `llama.` and `ggml.`, e.g. `v0.5.0` or `cuda.v0.5.0`.
 * @param {Variant} variant
 * @param {string} release llama.cpp's
 */
export function librarySuffix(variant, release) {
    return variant === false ? release : `${variant}.${release}`;
}
