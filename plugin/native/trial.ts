import { execFile } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Variant } from "../../native/build.mjs";

const execute = promisify(execFile);

/** Longest time that a start may take, in milliseconds. A GPU's driver compiles its kernels at the first start. */
const timeout = 120_000;

const trials = new Map<Variant, Promise<readonly string[] | undefined>>();

/**
 * The devices that a GPU variant of node-llama-cpp finds, tried once. The variant is started as `getLlama` starts it,
 * in a process of its own: a driver that crashes ends only that process, and its libraries stay out of this one, which
 * needs those with the engine.
 * @returns undefined if the variant does not start on this machine, or finds no device
 */
export function devicesOf(gpu: Exclude<Variant, false>): Promise<readonly string[] | undefined> {
    let trial = trials.get(gpu);
    if (trial === undefined) {
        trial = start(gpu);
        trials.set(gpu, trial);
    }
    return trial;
}

async function start(gpu: string): Promise<readonly string[] | undefined> {
    const script = fileURLToPath(new URL("trial-process.js", import.meta.url));
    try {
        // node-llama-cpp ends with an error if `CI` is no boolean
        const env = { ...process.env, CI: "false" };
        const { stdout } = await execute(process.execPath, [script, gpu], { env, timeout, windowsHide: true });
        const devices: string[] = JSON.parse(stdout);
        return devices.length > 0 ? devices : undefined;
    } catch {
        return undefined;
    }
}
