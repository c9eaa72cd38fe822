import { createHash } from "node:crypto";
import { ArmtError, quote } from "../../util/errors.js";
import { type GgufFile, openGguf } from "./reader.js";
import { elementTypeId, encodeString } from "./types.js";

/** The key that holds a model file's fingerprint; states and snapshots are bound to it. */
export const FINGERPRINT_KEY = "armt.fingerprint";

/** Length of a SHA-256 in hex digits. */
export const DIGEST_LENGTH = 64;

/** Placeholder for the digest while it is computed. */
export const BLANK_DIGEST = "0".repeat(DIGEST_LENGTH);

/** Bytes read at once. */
const READ_BYTES = 8 * 2 ** 20;

/** SHA-256 (hex) of a whole file, its own fingerprint taken as zeros: what `armt.fingerprint` holds. */
export async function fileDigest(file: GgufFile, onProgress?: (done: number, total: number) => void): Promise<string> {
    const hash = createHash("sha256");
    const headEnd = Math.min(file.size, ...[...file.tensors.values()].map(({ offset }) => offset));
    const head = await file.readBytes(0, headEnd);
    head.write(BLANK_DIGEST, findDigest(head), "latin1");
    hash.update(head);
    onProgress?.(headEnd, file.size);
    for (let start = headEnd; start < file.size; start += READ_BYTES) {
        const end = Math.min(start + READ_BYTES, file.size);
        hash.update(await file.readBytes(start, end));
        onProgress?.(end, file.size);
    }
    return hash.digest("hex");
}

/** Where the digits are in a file's head. */
function findDigest(head: Buffer): number {
    const type = Buffer.alloc(4);
    type.writeUInt32LE(elementTypeId("STRING"));
    const before = Buffer.concat([encodeString(FINGERPRINT_KEY), type, encodeString(BLANK_DIGEST).subarray(0, 8)]);
    const at = head.lastIndexOf(before);
    if (at < 0) throw new ArmtError("`armt.fingerprint` is not a string of 64 digits");
    return at + before.length;
}

/**
 * Reads a whole model file and compares it with its fingerprint.
 * @throws {ArmtError} when they differ (the file was damaged or changed) or the file has none
 */
export async function verifyFingerprint(
    path: string,
    onProgress?: (done: number, total: number) => void
): Promise<void> {
    const file = await openGguf(path);
    try {
        const expected = file.metadata.get(FINGERPRINT_KEY);
        if (expected?.type !== "STRING") throw new ArmtError(`${quote(path)} has no \`armt.fingerprint\` to verify`);
        if ((await fileDigest(file, onProgress)) !== expected.value)
            throw new ArmtError(
                `${quote(path)} is damaged or was changed: it doesn't match its \`armt.fingerprint\`; convert the ` +
                    "checkpoint again"
            );
    } finally {
        await file.close();
    }
}
