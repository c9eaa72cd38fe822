import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { importBuildModule } from "../../plugin/engine.js";

/** Where and with what a measurement was made. */
export type Machine = {
    cpu: string;
    cores: number;
    memoryGiB: number;
    platform: string;
    versions: Record<string, string>;
};

/** @param gpu variant of node-llama-cpp that computes */
export async function describeMachine(gpu: "cuda" | false = false): Promise<Machine> {
    const require = createRequire(import.meta.url);
    const version = (manifest: string) => (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
    const { packageRoot, resolveLayout } = await importBuildModule();
    return {
        cpu: os.cpus()[0]?.model.trim() ?? "unknown",
        cores: os.availableParallelism(),
        memoryGiB: Math.round(os.totalmem() / 2 ** 30),
        platform: `${os.platform()} ${os.arch()}`,
        versions: {
            node: process.version,
            "node-llama-cpp": version(path.resolve(require.resolve("node-llama-cpp"), "../../package.json")),
            "node-llama-cpp-armt": version(require.resolve("../../../package.json")),
            "llama.cpp": resolveLayout(packageRoot, {}, gpu).release
        }
    };
}
