import { rm } from "node:fs/promises";
import path from "node:path";
import { AtomicFile } from "../../util/atomic-file.js";
import { keepInputs } from "../../util/keep-inputs.js";
import { type ConvertOptions, convertCheckpoint } from "../convert.js";
import type { MemoryType, Mixture } from "./mixtures.js";
import { quantizeModel } from "./quantize.js";

/**
 * Converts a checkpoint to a mixture of quantized types. It writes a temporary file with 16 bits per weight next to the
 * output.
 * @throws {ArmtError} as `convertCheckpoint` and `quantizeModel` do
 */
export async function convertQuantized(
    options: Omit<ConvertOptions, "outType">,
    mixture: Mixture,
    memoryType?: MemoryType
): Promise<void> {
    const { output, overwrite = false, signal, onProgress } = options;
    keepInputs(output, [options.checkpoint, options.base, options.vocabFrom]);
    await (await AtomicFile.create(output, { overwrite })).abort();
    const whole = path.join(path.dirname(output), `.${path.basename(output).slice(0, 200)}.${process.pid}.whole.tmp`);
    // there are two passes over weights of about the same size
    const half = (part: number) => (done: number, total: number) => onProgress?.(part * total + done, 2 * total);
    try {
        await convertCheckpoint({ ...options, output: whole, overwrite: true, onProgress: half(0) });
        await quantizeModel({ input: whole, output, mixture, memoryType, overwrite, signal, onProgress: half(1) });
    } finally {
        await rm(whole, { force: true });
    }
}
