import process from "node:process";

/**
 * Runs a call of node-llama-cpp that starts processes, as `getLlama` does to try a library. They get this process's
 * arguments for Node, and `--input-type`, which belongs to scripts of `--eval` and standard input, would stop them.
 * node-llama-cpp would then compile llama.cpp.
 */
export async function withArgumentsForFiles<T>(call: () => Promise<T>): Promise<T> {
    const all = process.execArgv;
    process.execArgv = all.filter(
        (argument, i) => !argument.startsWith("--input-type") && all[i - 1] !== "--input-type"
    );
    try {
        return await call();
    } finally {
        process.execArgv = all;
    }
}
