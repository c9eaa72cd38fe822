import { ArmtError, quote } from "../../util/errors.js";
import type { RandomAccessFile } from "../../util/random-access-file.js";
import { Cursor } from "./cursor.js";
import * as limits from "./limits.js";
import {
    ARRAY_TYPE_ID,
    decodeScalar,
    elementTypeById,
    type GgufTensorInfo,
    type GgufValue,
    ggmlTypeById,
    scalarTypes,
    tensorByteLength
} from "./types.js";

export type GgufHeader = {
    /** Version of the format: 2 or 3 (this reader treats them alike). */
    version: number;
    metadata: Map<string, GgufValue>;
    tensors: Map<string, GgufTensorInfo>;
};

const MAGIC = 0x46554747; // "GGUF"
/** Size of a key with an empty name and a one-byte value. The reader refuses counts that cannot fit into the file. */
const SMALLEST_KEY_BYTES = 8 + 4 + 1;
/** Size of a tensor entry with an empty name and no dimensions. */
const SMALLEST_TENSOR_BYTES = 8 + 4 + 4 + 8;

/** Options of {@link readHeader}. */
export interface HeaderOptions {
    /**
     * Whether to accept what llama.cpp accepts too: strings that are not UTF-8, and a BOOL that is neither 0 nor 1.
     * Default: `false`.
     */
    lenient?: boolean;
}

/**
 * Reads and checks everything before the tensor data, and checks that this data fills the file without gap or overlap.
 */
export async function readHeader(file: RandomAccessFile, { lenient = false }: HeaderOptions = {}): Promise<GgufHeader> {
    const cursor = new Cursor(file, !lenient);
    await cursor.ensure(24);
    const magic = cursor.takeUint32();
    if (magic !== MAGIC) throw new ArmtError("not a GGUF file (it doesn't begin with `GGUF`)");
    const version = cursor.takeUint32();
    if (version !== 0 && version % 65_536 === 0) throw new ArmtError("big-endian GGUF files are not supported");
    if (version !== 2 && version !== 3) throw new ArmtError(`GGUF version ${version} is not supported (2 and 3 are)`);
    const tensorCount = cursor.takeUint64();
    const keyCount = cursor.takeUint64();
    checkCount("keys", keyCount, limits.MAX_KEYS, SMALLEST_KEY_BYTES, cursor);
    checkCount("tensors", tensorCount, limits.MAX_TENSORS, SMALLEST_TENSOR_BYTES, cursor);

    const metadata = new Map<string, GgufValue>();
    for (let i = 0n; i < keyCount; i++) {
        const key = (await cursor.string(limits.MAX_KEY_BYTES)).toString("utf8");
        if (metadata.has(key)) throw new ArmtError(`key ${quote(key)} appears twice`);
        try {
            metadata.set(key, await readValue(cursor, lenient));
        } catch (error) {
            throw error instanceof ArmtError ? new ArmtError(`key ${quote(key)}: ${error.message}`) : error;
        }
    }
    const alignment = readAlignment(metadata);
    const tensors = await readTensors(cursor, Number(tensorCount));
    placeTensors(tensors, align(cursor.offset, alignment), alignment, file.size);
    return { version, metadata, tensors };
}

/** The next multiple of `alignment`, a power of two. */
export function align(offset: number, alignment: number): number {
    return Math.ceil(offset / alignment) * alignment;
}

function checkCount(what: string, count: bigint, limit: number, smallest: number, cursor: Cursor): void {
    if (count > limit) throw new ArmtError(`${count} ${what} (at most ${limit})`);
    if (Number(count) * smallest > cursor.remaining)
        throw new ArmtError(
            `truncated: ${count} ${what} can't be in a file of ${cursor.offset + cursor.remaining} bytes`
        );
}

async function readValue(cursor: Cursor, lenient: boolean): Promise<GgufValue> {
    await cursor.ensure(4);
    const typeId = cursor.takeUint32();
    if (typeId === ARRAY_TYPE_ID) return readArray(cursor);
    const type = elementTypeById(typeId);
    if (type === undefined) throw new ArmtError(`unknown value type ${typeId}`);
    if (type === "STRING") return { type, value: (await cursor.string()).toString("utf8") };
    const { bytes } = scalarTypes[type];
    await cursor.ensure(bytes);
    const encoded = cursor.takeBytes(bytes);
    const scalar = decodeScalar(type, encoded);
    if (scalar === undefined && lenient && type === "BOOL") return { type, value: true };
    if (scalar === undefined) throw new ArmtError("a BOOL that is neither 0 nor 1");
    return scalar;
}

async function readArray(cursor: Cursor): Promise<GgufValue> {
    await cursor.ensure(12);
    const typeId = cursor.takeUint32();
    const count = cursor.takeUint64();
    if (typeId === ARRAY_TYPE_ID) throw new ArmtError("arrays of arrays are not supported");
    const elementType = elementTypeById(typeId);
    if (elementType === undefined) throw new ArmtError(`unknown array element type ${typeId}`);
    const elementBytes = elementType === "STRING" ? 8 : scalarTypes[elementType].bytes;
    checkCount("array elements", count, limits.MAX_ARRAY_ELEMENTS, elementBytes, cursor);
    const { offset } = cursor;
    if (elementType === "STRING") for (let i = 0; i < count; i++) await cursor.string();
    else cursor.skip(Number(count) * elementBytes);
    return { type: "ARRAY", elementType, count: Number(count), offset, byteLength: cursor.offset - offset };
}

function readAlignment(metadata: Map<string, GgufValue>): number {
    const entry = metadata.get("general.alignment");
    if (entry === undefined) return limits.DEFAULT_ALIGNMENT;
    if (entry.type !== "UINT32") throw new ArmtError("key `general.alignment` is not a UINT32");
    const { value } = entry;
    if (value === 0 || (value & (value - 1)) !== 0 || value > limits.MAX_ALIGNMENT)
        throw new ArmtError(`\`general.alignment\` is ${value}, not a power of two up to ${limits.MAX_ALIGNMENT}`);
    return value;
}

async function readTensors(cursor: Cursor, count: number): Promise<Map<string, GgufTensorInfo>> {
    const tensors = new Map<string, GgufTensorInfo>();
    for (let i = 0; i < count; i++) {
        const name = (await cursor.string(limits.MAX_TENSOR_NAME_BYTES)).toString("utf8");
        if (tensors.has(name)) throw new ArmtError(`tensor ${quote(name)} appears twice`);
        tensors.set(name, await readTensor(cursor, name));
    }
    return tensors;
}

async function readTensor(cursor: Cursor, name: string): Promise<GgufTensorInfo> {
    const fail = (what: string) => new ArmtError(`tensor ${quote(name)}: ${what}`);
    await cursor.ensure(4);
    const dimensions = cursor.takeUint32();
    if (dimensions > limits.MAX_DIMENSIONS) throw fail(`${dimensions} dimensions (at most ${limits.MAX_DIMENSIONS})`);
    await cursor.ensure(dimensions * 8 + 12);
    const wide = Array.from({ length: dimensions }, () => cursor.takeUint64());
    const elements = wide.reduce((product, n) => product * n, 1n);
    if (wide.some((n) => n > Number.MAX_SAFE_INTEGER) || elements > Number.MAX_SAFE_INTEGER)
        throw fail(`its shape [${wide.join(", ")}] is too large`);
    const shape = wide.map(Number);

    const typeId = cursor.takeUint32();
    const type = ggmlTypeById(typeId);
    if (type === undefined) throw fail(`unknown tensor type ${typeId}`);
    const row = shape[0] ?? 1;
    if (row % type.blockSize !== 0)
        throw fail(`rows of ${row} are not whole blocks of ${type.name} (${type.blockSize})`);
    const byteLength = tensorByteLength(type, shape);
    const offset = cursor.takeUint64();
    if (!Number.isSafeInteger(byteLength) || offset > Number.MAX_SAFE_INTEGER) throw fail("it can't be in the file");
    return { type, shape, offset: Number(offset), byteLength };
}

/**
 * Turns offsets into positions in the file. As in llama.cpp, each tensor begins at the aligned end of the one before.
 */
function placeTensors(
    tensors: Map<string, GgufTensorInfo>,
    dataStart: number,
    alignment: number,
    fileSize: number
): void {
    let expected = 0;
    for (const [name, tensor] of tensors) {
        if (tensor.offset !== expected)
            throw new ArmtError(`tensor ${quote(name)}: its data is at offset ${tensor.offset}, expected ${expected}`);
        tensor.offset += dataStart;
        if (tensor.offset + tensor.byteLength > fileSize)
            throw new ArmtError(
                `truncated: tensor ${quote(name)} ends at byte ${tensor.offset + tensor.byteLength}, the file at ` +
                    `${fileSize}`
            );
        expected = align(expected + tensor.byteLength, alignment);
    }
}
