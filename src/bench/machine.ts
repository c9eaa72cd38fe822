import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";

/** The machine and the software versions of a measurement. */
export type Machine = {
    cpu: string;
    cores: number;
    memoryGiB: number;
    platform: string;
    versions: Record<string, string>;
};

export async function describeMachine(): Promise<Machine> {
    const require = createRequire(import.meta.url);
    const read = <T>(file: string) => JSON.parse(readFileSync(file, "utf8")) as T;
    const version = (manifest: string) => read<{ version: string }>(manifest).version;
    const nodeLlamaCpp = path.resolve(require.resolve("node-llama-cpp"), "../..");
    return {
        cpu: os.cpus()[0]?.model.trim() ?? "unknown",
        cores: os.availableParallelism(),
        memoryGiB: Math.round(os.totalmem() / 2 ** 30),
        platform: `${os.platform()} ${os.arch()}`,
        versions: {
            node: process.version,
            "node-llama-cpp": version(path.join(nodeLlamaCpp, "package.json")),
            "node-llama-cpp-armt": version(require.resolve("../../../package.json")),
            "llama.cpp": read<{ release: string }>(path.join(nodeLlamaCpp, "llama", "binariesGithubRelease.json"))
                .release
        }
    };
}
