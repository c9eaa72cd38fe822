import process from "node:process";
import type { Llama, LlamaModel } from "../../plugin/index.js";
import { openGguf } from "../gguf/reader.js";
import { ArmtError, quote } from "../util/errors.js";
import type { ModelOptions } from "./model-options.js";

/** A loaded model. */
export interface OpenModel {
    readonly llama: Llama;
    readonly model: LlamaModel;
    readonly vocabSize: number;
}

/**
 * Checks and loads a model file. llama.cpp's log is kept off the terminal, but for its last error.
 * @throws {ArmtError} where the file is not a whole model file
 */
export async function openModel({ model: modelPath, threads, verbose = false }: ModelOptions): Promise<OpenModel> {
    await checkModelFile(modelPath);
    const { getLlama, LlamaLogLevel } = await import("../../plugin/index.js");
    let lastError = "";
    const llama = await getLlama({
        maxThreads: threads,
        logLevel: verbose ? LlamaLogLevel.info : LlamaLogLevel.error,
        progressLogs: false,
        logger: (_level, message) => {
            if (verbose) process.stderr.write(`${message.trimEnd()}\n`);
            else if (message.trim() !== "") lastError = message.trim();
        }
    });
    try {
        const model = await llama.loadModel({ modelPath });
        return { llama, model, vocabSize: vocabSizeOf(model) };
    } catch (error) {
        await llama.dispose();
        const reason = lastError === "" ? messageOf(error) : `${messageOf(error)}: ${lastError.split("\n", 1)[0]}`;
        throw new ArmtError(`cannot load ${quote(modelPath)}: ${reason}`, { cause: error });
    }
}

/** llama.cpp and node-llama-cpp read some broken files as if they were whole, so the strict reader goes first. */
async function checkModelFile(modelPath: string): Promise<void> {
    const file = await openGguf(modelPath);
    await file.close();
}

function vocabSizeOf(model: LlamaModel): number {
    return model.armt?.vocabSize ?? model.fileInfo.metadata.tokenizer?.ggml?.tokens?.length ?? 0;
}

function messageOf(error: unknown): string {
    return error instanceof Error ? error.message : String(error);
}
