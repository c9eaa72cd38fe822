import { createHash } from "node:crypto";
import { ArmtError, quote } from "../util/errors.js";
import { type GgufFile, openGguf } from "./reader.js";

/** Bytes read at once. */
const READ_BYTES = 8 * 2 ** 20;

/** SHA-256 (hex) of a file's tensor data in file order, padding left out: what `armt.fingerprint` holds. */
export async function tensorDigest(
    file: GgufFile,
    onProgress?: (done: number, total: number) => void
): Promise<string> {
    const hash = createHash("sha256");
    const total = [...file.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
    let done = 0;
    for (const [name, { byteLength }] of file.tensors) {
        for (let start = 0; start < byteLength; start += READ_BYTES) {
            const bytes = await file.readTensor(name, start, Math.min(start + READ_BYTES, byteLength));
            hash.update(bytes);
            done += bytes.length;
            onProgress?.(done, total);
        }
    }
    return hash.digest("hex");
}

/**
 * Reads all weights and compares them with the model's fingerprint.
 * @throws {ArmtError} when they differ (the file was damaged or changed) or the file has none
 */
export async function verifyFingerprint(
    path: string,
    onProgress?: (done: number, total: number) => void
): Promise<void> {
    const file = await openGguf(path);
    try {
        const expected = file.metadata.get("armt.fingerprint");
        if (expected?.type !== "STRING") throw new ArmtError(`${quote(path)} has no \`armt.fingerprint\` to verify`);
        if ((await tensorDigest(file, onProgress)) !== expected.value)
            throw new ArmtError(
                `${quote(path)} is damaged: its weights don't match \`armt.fingerprint\`; convert it again`
            );
    } finally {
        await file.close();
    }
}
