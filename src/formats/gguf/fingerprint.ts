import { createHash, type Hash } from "node:crypto";
import { ArmtError, quote } from "../../util/errors.js";
import { type GgufFile, openGguf } from "./reader.js";
import {
    ARRAY_TYPE_ID,
    elementTypeId,
    encodeScalar,
    encodeString,
    type GgmlType,
    type GgufArrayData,
    type GgufScalar,
    ggmlType
} from "./types.js";

/** The key that holds a model file's fingerprint. States and snapshots are bound to the fingerprint. */
export const FINGERPRINT_KEY = "armt.fingerprint";

/**
 * The key that holds the SHA-256 of everything before the tensor data, the fingerprint included, with zeros in place of
 * its own digits. In a file without it, the fingerprint is the SHA-256 of the whole file, with zeros in place of the
 * fingerprint.
 */
export const HEAD_DIGEST_KEY = "armt.head_digest";

/** Length of a SHA-256 in hex digits. */
export const DIGEST_LENGTH = 64;

/** Placeholder for the digest while it is computed. */
export const BLANK_DIGEST = "0".repeat(DIGEST_LENGTH);

/** Number of bytes read at once. */
const READ_BYTES = 8 * 2 ** 20;

/** Keys under `armt.` on which no memory depends: how to ask, and what is there for people and for checks. */
const otherKeys = /^armt\.(ask\.|(fingerprint|earlier_fingerprints|head_digest|format_version|training)$)/;

/** Keys that give the ids of a text. */
const vocabularyKeys = /^tokenizer\.(ggml\.(model|pre|tokens|scores|merges|token_type)|armt\.normalizer)$/;

/** A tensor as the fingerprint names it. */
interface NamedTensor {
    readonly name: string;
    readonly type: GgmlType;
    /** Fastest dimension first. */
    readonly shape: readonly number[];
}

/**
 * Begins the fingerprint of a model: the SHA-256 of what a memory depends on. First come the keys of the computation
 * and the vocabulary, sorted by name as bytes, then the names, types and shapes of the tensors, and then their data
 * without padding, both in the file's order. The caller adds the data.
 */
export function beginFingerprint(
    metadata: Iterable<readonly [key: string, value: GgufScalar | GgufArrayData]>,
    tensors: readonly NamedTensor[]
): Hash {
    const hash = createHash("sha256").update("armt model 1\n");
    const entries = [...metadata].filter(([key]) => isCovered(key));
    entries.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    for (const [key, value] of entries) {
        hash.update(encodeString(key));
        for (const bytes of encodeValue(value)) hash.update(bytes);
    }
    for (const { name, type, shape } of tensors) {
        hash.update(encodeString(name))
            .update(uint32(ggmlType(type).id))
            .update(uint32(shape.length));
        for (const n of shape) hash.update(uint64(n));
    }
    return hash;
}

function isCovered(key: string): boolean {
    return (key.startsWith("armt.") && !otherKeys.test(key)) || vocabularyKeys.test(key);
}

/** A value of the metadata, with its type, as the file has it. */
export function encodeValue(value: GgufScalar | GgufArrayData): Uint8Array[] {
    if (value.type !== "ARRAY") return [uint32(elementTypeId(value.type)), encodeScalar(value)];
    return [uint32(ARRAY_TYPE_ID), uint32(elementTypeId(value.elementType)), uint64(value.count), value.bytes];
}

/**
 * Reads a whole model file and compares it with its fingerprint.
 * @throws {ArmtError} if they differ (the file was damaged or changed) or the file has no fingerprint
 */
export async function verifyFingerprint(
    path: string,
    onProgress?: (done: number, total: number) => void
): Promise<void> {
    const file = await openGguf(path);
    try {
        const expected = digestOf(file, FINGERPRINT_KEY);
        const isWhole = file.metadata.has(HEAD_DIGEST_KEY)
            ? (await headDigest(file)) === digestOf(file, HEAD_DIGEST_KEY) &&
              (await contentsDigest(file, onProgress)) === expected
            : (await wholeFileDigest(file, onProgress)) === expected;
        if (!isWhole)
            throw new ArmtError(
                `${quote(path)} is damaged or was changed: it doesn't match its \`armt.fingerprint\`; convert the ` +
                    "checkpoint again"
            );
    } finally {
        await file.close();
    }
}

function digestOf(file: GgufFile, key: string): string {
    const entry = file.metadata.get(key);
    if (entry?.type !== "STRING") throw new ArmtError(`${quote(file.path)} has no \`${key}\` to verify`);
    return entry.value;
}

/** The fingerprint of a file's contents; undefined if anything stands between the tensors. */
async function contentsDigest(
    file: GgufFile,
    onProgress?: (done: number, total: number) => void
): Promise<string | undefined> {
    const metadata: [string, GgufScalar | GgufArrayData][] = [];
    for (const [key, value] of file.metadata) {
        if (value.type !== "ARRAY") metadata.push([key, value]);
        else if (isCovered(key)) metadata.push([key, { ...value, bytes: await file.readArrayBytes(key) }]);
    }
    const tensors = [...file.tensors].map(([name, tensor]) => ({ ...tensor, name, type: tensor.type.name }));
    tensors.sort((a, b) => a.offset - b.offset);
    const hash = beginFingerprint(metadata, tensors);
    let at = headEnd(file);
    onProgress?.(at, file.size);
    for (const { offset, byteLength } of [...tensors, { offset: file.size, byteLength: 0 }]) {
        if (offset > at && (await file.readBytes(at, offset)).some((byte) => byte !== 0)) return undefined;
        for (at = offset; at < offset + byteLength; ) {
            const end = Math.min(at + READ_BYTES, offset + byteLength);
            hash.update(await file.readBytes(at, end));
            at = end;
            onProgress?.(at, file.size);
        }
    }
    onProgress?.(file.size, file.size);
    return hash.digest("hex");
}

async function headDigest(file: GgufFile): Promise<string> {
    const head = await file.readBytes(0, headEnd(file));
    head.write(BLANK_DIGEST, findDigest(head, HEAD_DIGEST_KEY), "latin1");
    return createHash("sha256").update(head).digest("hex");
}

/** The fingerprint by the rule of files without {@link HEAD_DIGEST_KEY}. */
async function wholeFileDigest(file: GgufFile, onProgress?: (done: number, total: number) => void): Promise<string> {
    const hash = createHash("sha256");
    const end = headEnd(file);
    const head = await file.readBytes(0, end);
    head.write(BLANK_DIGEST, findDigest(head, FINGERPRINT_KEY), "latin1");
    hash.update(head);
    onProgress?.(end, file.size);
    for (let start = end; start < file.size; start += READ_BYTES) {
        const stop = Math.min(start + READ_BYTES, file.size);
        hash.update(await file.readBytes(start, stop));
        onProgress?.(stop, file.size);
    }
    return hash.digest("hex");
}

/** Where the tensor data begins. */
function headEnd(file: GgufFile): number {
    return Math.min(file.size, ...[...file.tensors.values()].map(({ offset }) => offset));
}

/** Position of a digest's digits in a file's head. */
function findDigest(head: Buffer, key: string): number {
    const before = Buffer.concat([
        encodeString(key),
        uint32(elementTypeId("STRING")),
        encodeString(BLANK_DIGEST).subarray(0, 8)
    ]);
    const at = head.lastIndexOf(before);
    if (at < 0) throw new ArmtError(`\`${key}\` is not a string of 64 digits`);
    return at + before.length;
}

export function uint32(value: number): Buffer {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes;
}

export function uint64(value: number): Buffer {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return bytes;
}
