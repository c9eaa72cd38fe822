import { verifyFingerprint } from "../formats/gguf/fingerprint.js";
import { createProgressBar } from "../util/progress.js";

/**
 * Compares a model file with its fingerprint and shows a progress bar.
 * @throws {ArmtError} if they differ
 */
export async function verifyWithProgress(file: string): Promise<void> {
    const bar = createProgressBar("verifying");
    try {
        await verifyFingerprint(file, bar.update);
    } finally {
        bar.stop();
    }
}
