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
export async function loadPlaced<T extends { dispose(): Promise<void> }>(
    { addon, rpc }: Engine,
    file: string,
    placement: Omit<NativePlacement, "path"> | undefined,
    load: () => Promise<T>
): Promise<T> {
    const before = loads.get(file) ?? Promise.resolve();
    const own = before.then(async () => {
        if (placement === undefined) return await load();
        await place(addon, rpc, { ...placement, path: file });
        const [result] = await Promise.allSettled([load()]);
        try {
            addon.forgetPlacement(file);
        } catch (error) {
            // llama.cpp would only say that it failed, or has loaded a model whose weights are lost
            if (result.status === "fulfilled") await result.value.dispose();
            throw deviceError(error);
        }
        if (result.status === "rejected") {
            if (placement.rpc.length === 0) throw result.reason;
            const reason = result.reason instanceof Error ? result.reason.message : String(result.reason);
            const servers = placement.rpc.join(", ");
            throw new ArmtDeviceError(`${reason}; its RPC servers are ${servers}, and one may have too little memory`, {
                cause: result.reason
            });
        }
        return result.value;
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
        throw deviceError(error);
    }
}

const deviceError = (error: unknown) =>
    new ArmtDeviceError(error instanceof Error ? error.message : String(error), { cause: error });
