import { createHash } from "node:crypto";
import { type AtomicFileOptions, writeAtomically } from "../../util/atomic-file.js";
import { ArmtError, quote } from "../../util/errors.js";
import { BLANK_DIGEST, DIGEST_LENGTH } from "./fingerprint.js";
import { align } from "./header.js";
import { DEFAULT_ALIGNMENT, MAX_TENSOR_NAME_BYTES } from "./limits.js";
import {
    ARRAY_TYPE_ID,
    type ElementType,
    elementTypeId,
    encodeScalar,
    encodeString,
    type GgmlType,
    type GgufScalar,
    ggmlType,
    tensorByteLength
} from "./types.js";

/** A metadata array to write, its elements already encoded one after another. */
export type GgufArrayData = { type: "ARRAY"; elementType: ElementType; count: number; bytes: Uint8Array };

export type GgufWriteValue = GgufScalar | GgufArrayData;

export type GgufTensorData = {
    name: string;
    type: GgmlType;
    /** ggml's order: fastest dimension first. */
    shape: readonly number[];
    /** Called once, when the tensor is written. */
    data: () => AsyncIterable<Uint8Array>;
};

export type GgufContents = {
    metadata: ReadonlyMap<string, GgufWriteValue>;
    tensors: readonly GgufTensorData[];
    /**
     * A key that gets the SHA-256 (64 hex digits) of the whole file, computed with zeros instead of those digits, as a
     * STRING.
     */
    digestKey?: string;
};

const VERSION = 3;

/**
 * Writes a GGUF file tensor by tensor; it appears under its name only when complete.
 * @throws {ArmtError} if a tensor's data does not fill its shape or the file can't be written
 */
export async function writeGguf(path: string, contents: GgufContents, options: AtomicFileOptions = {}): Promise<void> {
    const { header, digestOffset } = buildHeader(contents);
    await writeAtomically(path, options, async (file) => {
        const hash = createHash("sha256");
        const write = async (bytes: Uint8Array) => {
            hash.update(bytes);
            await file.write(bytes);
        };
        await write(header);
        for (const tensor of contents.tensors) {
            const start = file.position;
            for await (const piece of tensor.data()) await write(piece);
            const length = file.position - start;
            const expected = tensorByteLength(ggmlType(tensor.type), tensor.shape);
            if (length !== expected)
                throw new ArmtError(`tensor ${quote(tensor.name)}: got ${length} bytes of data, expected ${expected}`);
            await write(Buffer.alloc(align(file.position, DEFAULT_ALIGNMENT) - file.position));
        }
        if (digestOffset !== undefined) await file.writeAt(Buffer.from(hash.digest("hex")), digestOffset);
    });
}

/** Array of strings, encoded for `writeGguf`. */
export function stringArray(values: readonly string[]): GgufArrayData {
    return {
        type: "ARRAY",
        elementType: "STRING",
        count: values.length,
        bytes: Buffer.concat(values.map(encodeString))
    };
}

/** Array of 32-bit numbers, encoded for `writeGguf`. */
export function numberArray(elementType: "FLOAT32" | "INT32", values: readonly number[]): GgufArrayData {
    const data = elementType === "FLOAT32" ? Float32Array.from(values) : Int32Array.from(values);
    return { type: "ARRAY", elementType, count: values.length, bytes: new Uint8Array(data.buffer) };
}

/** Array of booleans, encoded for `writeGguf`. */
export function booleanArray(values: readonly boolean[]): GgufArrayData {
    return { type: "ARRAY", elementType: "BOOL", count: values.length, bytes: Uint8Array.from(values, Number) };
}

function buildHeader({ metadata, tensors, digestKey }: GgufContents): { header: Buffer; digestOffset?: number } {
    const parts: Uint8Array[] = [];
    let length = 0;
    const push = (bytes: Uint8Array) => {
        parts.push(bytes);
        length += bytes.byteLength;
    };
    push(Buffer.from("GGUF"));
    push(uint32(VERSION));
    push(uint64(tensors.length));
    push(uint64(metadata.size + (digestKey === undefined ? 0 : 1)));
    for (const [key, value] of metadata) {
        push(encodeString(key));
        for (const bytes of encodeValue(value)) push(bytes);
    }
    let digestOffset: number | undefined;
    if (digestKey !== undefined) {
        push(encodeString(digestKey));
        for (const bytes of encodeValue({ type: "STRING", value: BLANK_DIGEST })) push(bytes);
        digestOffset = length - DIGEST_LENGTH;
    }
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
    return { header: Buffer.concat(parts), digestOffset };
}

function encodeValue(value: GgufWriteValue): Uint8Array[] {
    if (value.type !== "ARRAY") return [uint32(elementTypeId(value.type)), encodeScalar(value)];
    return [uint32(ARRAY_TYPE_ID), uint32(elementTypeId(value.elementType)), uint64(value.count), value.bytes];
}

function uint32(value: number): Buffer {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes;
}

function uint64(value: number): Buffer {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return bytes;
}
