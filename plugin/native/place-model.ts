import { ArmtDeviceError } from "../errors.js";
import type { ArmtAddon, NativePlacement } from "./addon.js";
import type { Engine } from "./library.js";

/** The last load of each file. The engine reads the placement of a file from one place. */
const loads = new Map<string, Promise<unknown>>();

/**
 * Loads a model while the engine knows where it goes.
 * @param file absolute path, as llama.cpp gets it
 * @throws {ArmtDeviceError} if a device cannot be used
 */
export async function loadPlaced<T>(
    { addon, rpc }: Engine,
    file: string,
    placement: Omit<NativePlacement, "path"> | undefined,
    load: () => Promise<T>
): Promise<T> {
    const before = loads.get(file) ?? Promise.resolve();
    const own = before.then(async () => {
        if (placement === undefined) return await load();
        await place(addon, rpc, { ...placement, path: file });
        try {
            return await load();
        } finally {
            addon.forgetPlacement(file);
        }
    });
    const settled = own.catch(() => {});
    loads.set(file, settled);
    try {
        return await own;
    } finally {
        if (loads.get(file) === settled) loads.delete(file);
    }
}

async function place(addon: ArmtAddon, library: string, placement: NativePlacement): Promise<void> {
    try {
        if (placement.rpc.length > 0) addon.loadRpc(library);
        await addon.setPlacement(placement);
    } catch (error) {
        throw new ArmtDeviceError(error instanceof Error ? error.message : String(error), { cause: error });
    }
}
