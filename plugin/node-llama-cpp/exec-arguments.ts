import process from "node:process";

/** How many calls need the arguments without `--input-type`. */
let users = 0;
/** The arguments with it meanwhile. */
let own: string[] = [];

/**
 * Runs a call of node-llama-cpp that starts processes, as `getLlama` does to try a library. They get this process's
 * arguments for Node, and `--input-type`, which belongs to scripts of `--eval` and standard input, would stop them.
 * node-llama-cpp would then compile llama.cpp. Calls may overlap: the last one to end restores the arguments.
 */
export async function withArgumentsForFiles<T>(call: () => Promise<T>): Promise<T> {
    if (users++ === 0) {
        own = process.execArgv;
        process.execArgv = own.filter(
            (argument, i) => !argument.startsWith("--input-type") && own[i - 1] !== "--input-type"
        );
    }
    try {
        return await call();
    } finally {
        if (--users === 0) process.execArgv = own;
    }
}
