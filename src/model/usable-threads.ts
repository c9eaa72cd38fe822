import os from "node:os";
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { availableCores } from "../../plugin/native/threads.js";
import { idleCores, readCpuUsage } from "./idle-cores.js";

/** Shortest time to watch the cores. The counters of Linux advance in steps of 10 ms. Unit: milliseconds. */
const shortestWatch = 100;

/** What a machine and its load look like; for tests, another one than this. */
export interface ThreadSources {
    cores?: number;
    readUsage?: typeof readCpuUsage;
    warn?: (line: string) => void;
    /** Gets what is worth knowing for a person, but not in a log. Default: a line on a terminal. */
    tell?: (line: string) => void;
}

/**
 * Begins to choose the number of threads. ggml's threads spin while they wait for each other, so one thread on a busy
 * core slows down all others. Without a wish, each core that other processes keep busy meanwhile is left to them.
 * @param wanted the value of `--threads`; at most as many threads are used as this process has cores
 * @returns a function that ends the watch and gives the number, at least 1. Reports a number that may surprise.
 */
export function chooseThreads(
    wanted: number | undefined,
    { cores = availableCores(), readUsage = readCpuUsage, warn = writeLine, tell = tellPerson }: ThreadSources = {}
): () => Promise<number> {
    if (wanted !== undefined) {
        if (wanted > cores)
            warn(`--threads ${wanted}: more threads than usable cores are many times slower; ${cores} used`);
        return async () => Math.min(wanted, cores);
    }
    if (cores === 1) return async () => 1;
    const before = readUsage();
    const started = performance.now();
    return async () => {
        const left = shortestWatch - (performance.now() - started);
        if (left > 0) await setTimeout(left);
        const threads = Math.max(1, Math.min(cores, idleCores(before, readUsage(), os.getPriority() > 0)));
        if (threads < cores)
            tell(
                `other programs keep the processor busy: ${threads} of ${cores} cores used; ` +
                    `--threads ${cores} uses all`
            );
        return threads;
    };
}

function writeLine(line: string): void {
    process.stderr.write(`${line}\n`);
}

/** Standard error of a script has errors alone. */
function tellPerson(line: string): void {
    if (process.stderr.isTTY) writeLine(line);
}
