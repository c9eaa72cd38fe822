/**
 * How an operating system names a shared library.
 * @typedef {(name: string) => string} LibraryName
 */

/**
 * What is known of a platform that node-llama-cpp has prebuilt libraries for.
 * @typedef {object} Platform
 * @property {string} bins its name in node-llama-cpp's packages: `@node-llama-cpp/<bins>`, folder `bins/<bins>`
 * @property {string} gpu part of the libraries' names; empty for the CPU variant
 * @property {LibraryName} library file name of a library, e.g. of `ggml-base`
 * @property {boolean} builds whether `armt build` compiles there. Elsewhere, only our prebuilt packages can be loaded
 */

/** @type {LibraryName} */
const elf = (name) => `lib${name}.so`;
/** @type {LibraryName} */
const machO = (name) => `lib${name}.dylib`;
/** @type {LibraryName} */
const pe = (name) => `${name}.dll`;

/**
 * By `<process.platform>-<process.arch>`. Only Linux is tested. node-llama-cpp has no CPU variant for Macs with an ARM processor: its Metal variant
 * computes on the CPU as well.
 * @type {Readonly<Record<string, Platform>>}
 */
export const platforms = Object.freeze({
    "linux-x64": { bins: "linux-x64", gpu: "", library: elf, builds: true },
    "linux-arm64": { bins: "linux-arm64", gpu: "", library: elf, builds: true },
    "darwin-arm64": { bins: "mac-arm64-metal", gpu: "metal", library: machO, builds: false },
    "darwin-x64": { bins: "mac-x64", gpu: "", library: machO, builds: false },
    "win32-x64": { bins: "win-x64", gpu: "", library: pe, builds: false },
    "win32-arm64": { bins: "win-arm64", gpu: "", library: pe, builds: false }
});

/**
 * File name of a library that has the variant and llama.cpp's release in its name, as node-llama-cpp builds it: `libllama.cuda.v0.5.0.so`.
 * @param {Platform} platform
 * @param {"llama" | "ggml"} name
 * @param {string} release
 * @param {string} [gpu] another variant than the platform's own
 */
export function versionedLibrary(platform, name, release, gpu = platform.gpu) {
    return platform.library([name, gpu, release].filter((part) => part !== "").join("."));
}
