import { getLlama, type Llama, LlamaLogLevel } from "../plugin/index.js";

/** A `Llama` for a benchmark: it builds nothing, and prints errors alone. */
export async function quietLlama(gpu: "cuda" | "vulkan" | "metal" | false, threads: number): Promise<Llama> {
    return await getLlama({
        gpu,
        build: "never",
        maxThreads: threads,
        logLevel: LlamaLogLevel.error,
        progressLogs: false
    });
}
