import { lookup } from "node:dns/promises";
import { once } from "node:events";
import fs from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import { LlamaLogLevel } from "../../../plugin/index.js";
import { loadedEngine } from "../../../plugin/native/library.js";
import { availableCores } from "../../../plugin/native/threads.js";
import { startLlama, wantedGpu } from "../../model/gpu.js";
import { ArmtError, quote, systemErrorText } from "../../util/errors.js";
import { makeFolder } from "../../util/make-folder.js";
import type { RpcServerOptions } from "./options.js";

/**
 * Serves until the process is ended.
 * @throws {ArmtError} if it cannot listen
 */
export async function serveRpc({ gpu, host, port, threads, cache }: RpcServerOptions): Promise<never> {
    const address = await addressOf(host);
    if (!isLoopback(address))
        process.stderr.write(
            `warning: ${address} is not this machine alone, and the protocol has no password: ` +
                "anyone who reaches it can end this program or run code in it\n"
        );
    await checkFree(address, port);
    // starting a Llama loads the backends of its variant
    await startLlama(wantedGpu(gpu), true, { build: "never", logLevel: LlamaLogLevel.error, progressLogs: false });
    const { addon, rpc } = await loadedEngine();
    addon.loadRpc(rpc);
    if (cache !== undefined) await makeFolder(cache);
    // no listener would run while this thread serves, so the system has to end the process
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.removeAllListeners(signal);
    // the engine's thread is this one from here on, so the line must be out
    fs.writeSync(1, `listening on ${address}:${port}; one client at a time\n`);
    const folder = cache === undefined ? null : `${path.resolve(cache)}${path.sep}`;
    addon.serveRpc(`${address}:${port}`, folder, threads ?? availableCores());
    throw new ArmtError("the RPC server ended");
}

const isLoopback = (address: string) => address.startsWith("127.");

/** llama.cpp's RPC server takes an IPv4 address. */
async function addressOf(host: string): Promise<string> {
    try {
        return (await lookup(host, { family: 4 })).address;
    } catch (error) {
        throw new ArmtError(`--host ${quote(host)} has no IPv4 address`, { cause: error });
    }
}

/** ggml would not say why it cannot listen. */
async function checkFree(host: string, port: number): Promise<void> {
    const probe = createServer();
    probe.listen(port, host);
    try {
        await once(probe, "listening");
    } catch (error) {
        throw new ArmtError(`cannot listen on ${host}:${port}: ${systemErrorText(error)}`, { cause: error });
    }
    probe.close();
    await once(probe, "close");
}
