import { readFileSync } from "node:fs";
import os from "node:os";

/** Files with the CPU quota of a container, for versions 2 and 1 of Linux control groups. */
const quotaFiles = [
    ["/sys/fs/cgroup/cpu.max"],
    ["/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"]
];

/**
 * Number of cores that this process can really use, from its CPU affinity and its container's quota. The prebuilt CPU
 * backend spins while it waits: a single thread more slows it down tenfold.
 */
export function availableCores(read: (file: string) => string = (file) => readFileSync(file, "utf8")): number {
    const cores = os.availableParallelism();
    for (const files of quotaFiles) {
        try {
            const [quota, period] = files.flatMap((file) => read(file).trim().split(/\s+/)).map(Number);
            if (quota! > 0 && period! > 0) return Math.max(1, Math.min(cores, Math.floor(quota! / period!)));
        } catch {
            // this version of control groups is not in use
        }
    }
    return cores;
}
