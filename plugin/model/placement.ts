import type { LlamaModelOptions } from "node-llama-cpp";
import type { NativePlacement } from "../native/addon.js";

/** How a model is divided between devices. */
export type ArmtSplitMode = "none" | "layer";

/** Values of `splitMode`. */
export const splitModes: readonly ArmtSplitMode[] = ["none", "layer"];

/** Options of `llama.loadModel({armt: …})`. */
export interface ArmtModelOptions {
    /**
     * RPC servers (`armt rpc-server`) that hold a part of the layers: `host:port`, with a name or an IPv4 address.
     * Their devices come first, then this machine's GPUs. All layers go to them unless `gpuLayers` is a number; the
     * rest is computed here. Default: none. Throws `TypeError` for anything else, and `ArmtDeviceError` if a server
     * cannot be used. More: docs/scaling.md.
     */
    rpc?: readonly string[];

    /**
     * `"layer"`: each device gets consecutive layers. `"none"`: one device gets all, see `mainGpu`. Default: `"layer"`.
     * As in llama.cpp; its other modes split single weights, which ARMT models do not support. Throws `TypeError` for
     * any other value.
     */
    splitMode?: ArmtSplitMode;

    /** Index of the device that gets all layers with `splitMode: "none"`. From 0. Default: 0. Throws `RangeError`. */
    mainGpu?: number;

    /**
     * How much of the layers each device gets, in proportion, e.g. `[3, 1]`. Default: in proportion to their free
     * memory. Throws `TypeError` for anything but numbers from 0, or if all are 0, and `ArmtDeviceError` if there are
     * fewer devices than numbers.
     */
    tensorSplit?: readonly number[];
}

/** More layers than any model has: all of them, and the output. */
const allLayers = 1_000_000;

/** What the engine takes for "as it is". */
const unchanged = -1;

/**
 * Checks the options and translates them for the engine. Errors name the option.
 * @returns undefined if they leave everything as it is
 * @throws {TypeError} for a value of the wrong type
 * @throws {RangeError} for a number outside its range
 */
export function resolvePlacement(
    options: ArmtModelOptions | undefined,
    gpuLayers: LlamaModelOptions["gpuLayers"]
): Omit<NativePlacement, "path"> | undefined {
    if (options === undefined) return undefined;
    if (typeof options !== "object" || options === null)
        throw new TypeError(`\`armt\` must be an object, got ${JSON.stringify(options)}`);
    const { rpc = [], splitMode, mainGpu, tensorSplit = [], ...unknown } = options;
    for (const name of Object.keys(unknown)) throw new TypeError(`\`armt.${name}\` is not an option of loadModel`);
    if (!Array.isArray(rpc)) throw new TypeError("`armt.rpc` must be an array of `host:port`");
    for (const server of rpc) checkEndpoint("armt.rpc", server);
    if (new Set(rpc).size < rpc.length) throw new TypeError("`armt.rpc` names a server twice");
    if (splitMode !== undefined && !splitModes.includes(splitMode))
        throw new TypeError(`\`armt.splitMode\` must be one of "none", "layer", got ${JSON.stringify(splitMode)}`);
    if (mainGpu !== undefined && !(Number.isInteger(mainGpu) && mainGpu >= 0 && mainGpu < 2 ** 31))
        throw new RangeError(`\`armt.mainGpu\` must be an integer from 0, got ${mainGpu}`);
    if (!Array.isArray(tensorSplit) || !tensorSplit.every((part) => Number.isFinite(part) && part >= 0))
        throw new TypeError("`armt.tensorSplit` must be an array of numbers from 0");
    if (tensorSplit.length > 0 && !tensorSplit.some((part) => part > 0))
        throw new TypeError("`armt.tensorSplit` needs a number that is not 0");
    if (rpc.length === 0 && splitMode === undefined && mainGpu === undefined && tensorSplit.length === 0)
        return undefined;
    const onServers = typeof gpuLayers === "number" ? gpuLayers : allLayers;
    return {
        rpc,
        tensorSplit,
        // node-llama-cpp knows no RPC servers, so what it passes on is for this machine's GPU
        gpuLayers: rpc.length > 0 ? onServers : unchanged,
        splitMode: splitMode === undefined ? unchanged : splitModes.indexOf(splitMode),
        mainGpu: mainGpu ?? 0
    };
}

/**
 * Checks the form `host:port`. llama.cpp's RPC uses IPv4.
 * @throws {TypeError} for any other form
 */
export function checkEndpoint(name: string, endpoint: unknown): void {
    const [, port] = (typeof endpoint === "string" && /^[\w.-]+:(\d{1,5})$/.exec(endpoint)) || [];
    if (port !== undefined && Number(port) >= 1 && Number(port) <= 65_535) return;
    throw new TypeError(
        `\`${name}\` must be \`host:port\`, with a name or an IPv4 address, got ${JSON.stringify(endpoint)}`
    );
}
