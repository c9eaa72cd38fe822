import { createHash } from "node:crypto";
import { type AtomicFileOptions, writeAtomically } from "../../util/atomic-file.js";
import { ArmtError, quote } from "../../util/errors.js";
import {
    BLANK_DIGEST,
    beginFingerprint,
    DIGEST_LENGTH,
    encodeValue,
    FINGERPRINT_KEY,
    HEAD_DIGEST_KEY,
    uint32,
    uint64
} from "./fingerprint.js";
import { align } from "./header.js";
import { DEFAULT_ALIGNMENT, MAX_TENSOR_NAME_BYTES } from "./limits.js";
import {
    encodeString,
    type GgmlType,
    type GgufArrayData,
    type GgufScalar,
    ggmlType,
    tensorByteLength
} from "./types.js";

export type GgufWriteValue = GgufScalar | GgufArrayData;

export type GgufTensorData = {
    name: string;
    type: GgmlType;
    /** Shape in ggml's order: fastest dimension first. */
    shape: readonly number[];
    /** Called once, when the tensor is written. */
    data: () => AsyncIterable<Uint8Array>;
};

export type GgufContents = {
    metadata: ReadonlyMap<string, GgufWriteValue>;
    tensors: readonly GgufTensorData[];
    /** Whether to add the fingerprint of a model file and the digest of its head. Default: `false`. */
    fingerprint?: boolean;
};

const VERSION = 3;

/**
 * Writes a GGUF file tensor by tensor. The file appears under its name only when it is complete.
 * @throws {ArmtError} if a tensor's data does not fill its shape or the file cannot be written
 */
export async function writeGguf(path: string, contents: GgufContents, options: AtomicFileOptions = {}): Promise<void> {
    const { header, digestOffsets } = buildHeader(contents);
    const hash = beginFingerprint(contents.metadata, contents.tensors);
    await writeAtomically(path, options, async (file) => {
        await file.write(header);
        for (const tensor of contents.tensors) {
            const start = file.position;
            for await (const piece of tensor.data()) {
                hash.update(piece);
                await file.write(piece);
            }
            const length = file.position - start;
            const expected = tensorByteLength(ggmlType(tensor.type), tensor.shape);
            if (length !== expected)
                throw new ArmtError(`tensor ${quote(tensor.name)}: got ${length} bytes of data, expected ${expected}`);
            await file.write(Buffer.alloc(align(file.position, DEFAULT_ALIGNMENT) - file.position));
        }
        if (digestOffsets === undefined) return;
        const [fingerprintAt, headAt] = digestOffsets;
        header.write(hash.digest("hex"), fingerprintAt, "latin1");
        header.write(createHash("sha256").update(header).digest("hex"), headAt, "latin1");
        for (const at of digestOffsets) await file.writeAt(header.subarray(at, at + DIGEST_LENGTH), at);
    });
}

/** Encodes an array of strings for `writeGguf`. */
export function stringArray(values: readonly string[]): GgufArrayData {
    return {
        type: "ARRAY",
        elementType: "STRING",
        count: values.length,
        bytes: Buffer.concat(values.map(encodeString))
    };
}

/** Encodes an array of 32-bit numbers for `writeGguf`. */
export function numberArray(elementType: "FLOAT32" | "INT32", values: readonly number[]): GgufArrayData {
    const data = elementType === "FLOAT32" ? Float32Array.from(values) : Int32Array.from(values);
    return { type: "ARRAY", elementType, count: values.length, bytes: new Uint8Array(data.buffer) };
}

/** Encodes an array of booleans for `writeGguf`. */
export function booleanArray(values: readonly boolean[]): GgufArrayData {
    return { type: "ARRAY", elementType: "BOOL", count: values.length, bytes: Uint8Array.from(values, Number) };
}

/** The bytes before the tensor data, and where the digits of fingerprint and digest go. */
function buildHeader({ metadata, tensors, fingerprint = false }: GgufContents): {
    header: Buffer;
    digestOffsets?: readonly [fingerprint: number, head: number];
} {
    const parts: Uint8Array[] = [];
    let length = 0;
    const push = (bytes: Uint8Array) => {
        parts.push(bytes);
        length += bytes.byteLength;
    };
    push(Buffer.from("GGUF"));
    push(uint32(VERSION));
    push(uint64(tensors.length));
    push(uint64(metadata.size + (fingerprint ? 2 : 0)));
    for (const [key, value] of metadata) {
        push(encodeString(key));
        for (const bytes of encodeValue(value)) push(bytes);
    }
    const digestAt = (key: string) => {
        push(encodeString(key));
        for (const bytes of encodeValue({ type: "STRING", value: BLANK_DIGEST })) push(bytes);
        return length - DIGEST_LENGTH;
    };
    const digestOffsets = fingerprint ? ([digestAt(FINGERPRINT_KEY), digestAt(HEAD_DIGEST_KEY)] as const) : undefined;
    let offset = 0;
    for (const { name, type, shape } of tensors) {
        if (Buffer.byteLength(name) > MAX_TENSOR_NAME_BYTES)
            throw new ArmtError(`tensor name ${quote(name)} is too long`);
        push(encodeString(name));
        push(uint32(shape.length));
        for (const n of shape) push(uint64(n));
        push(uint32(ggmlType(type).id));
        push(uint64(offset));
        offset = align(offset + tensorByteLength(ggmlType(type), shape), DEFAULT_ALIGNMENT);
    }
    push(Buffer.alloc(align(length, DEFAULT_ALIGNMENT) - length));
    return { header: Buffer.concat(parts), digestOffsets };
}
