import { readFileSync } from "node:fs";
import os from "node:os";
import process from "node:process";

/** Time that cores and this process have spent since they started. Unit: milliseconds. */
export interface CpuUsage {
    /** One entry for each core that this process may run on. */
    readonly cores: readonly os.CpuInfo["times"][];
    /** Time of all threads of this process. */
    readonly own: number;
}

/**
 * Reads the usage of the cores that this process may run on.
 * @param read reads a file of Linux's /proc
 */
export function readCpuUsage(read: (file: string) => string = (file) => readFileSync(file, "utf8")): CpuUsage {
    const all = os.cpus().map(({ times }) => times);
    const allowed = allowedCores(read).filter((index) => index < all.length);
    const { user, system } = process.cpuUsage();
    return { cores: allowed.length > 0 ? allowed.map((index) => all[index]!) : all, own: (user + system) / 1000 };
}

/** The cores of this process's affinity on Linux, as indices; empty on other systems. */
function allowedCores(read: (file: string) => string): number[] {
    let list: string | undefined;
    try {
        list = /^Cpus_allowed_list:\s*([\d,-]+)$/m.exec(read("/proc/self/status"))?.[1];
    } catch {
        // another system, or a /proc without this file
    }
    return (list?.split(",") ?? []).flatMap((range) => {
        const [first = 0, last = first] = range.split("-").map(Number);
        return Array.from({ length: last - first + 1 }, (_, i) => first + i);
    });
}

/**
 * Number of cores that other processes left idle between two readings, rounded to the nearest.
 * @param yields whether this process has a low priority, so that processes of low priority count as others do
 */
export function idleCores(before: CpuUsage, after: CpuUsage, yields: boolean): number {
    let [busy, total] = [0, 0];
    for (const [i, times] of after.cores.entries()) {
        const past = before.cores[i] ?? times;
        const spent = (name: keyof typeof times) => Math.max(0, times[name] - past[name]);
        const worked = spent("user") + spent("sys") + spent("irq") + (yields ? spent("nice") : 0);
        busy += worked;
        total += worked + spent("idle") + (yields ? 0 : spent("nice"));
    }
    const count = after.cores.length;
    // some sandboxes hide what the machine does
    if (total === 0) return count;
    const others = Math.max(0, busy - (after.own - before.own));
    return Math.round(count * (1 - others / total));
}
