import process from "node:process";
import { availableCores } from "../../plugin/native/threads.js";

/** The threads to use for `--threads`: at most the cores that this process can use. Warns about more. */
export function usableThreads(wanted: number | undefined, cores = availableCores()): number | undefined {
    if (wanted === undefined || wanted <= cores) return wanted;
    process.stderr.write(`--threads ${wanted}: more threads than usable cores are many times slower; ${cores} used\n`);
    return cores;
}
