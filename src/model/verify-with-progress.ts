import { verifyFingerprint } from "../formats/gguf/fingerprint.js";
import { checkFiniteWeights } from "../formats/gguf/finite-weights.js";
import { createProgressBar } from "../util/progress.js";

/**
 * Compares a model file with its fingerprint, looks for weights that are not finite, and shows a progress bar.
 * @param signal ends the reading
 * @throws {ArmtError} if they differ, or a weight is a NaN or an infinity
 */
export async function verifyWithProgress(file: string, signal?: AbortSignal): Promise<void> {
    const bar = createProgressBar("verifying");
    try {
        await verifyFingerprint(file, (done, total) => {
            signal?.throwIfAborted();
            bar.update(done, total);
        });
        await checkFiniteWeights(file, signal);
    } finally {
        bar.stop();
    }
}
