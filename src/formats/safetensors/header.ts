import { ArmtError, quote } from "../../util/errors.js";
import { decodeUtf8, type JsonObject, type JsonValue, parseStrictJsonObject } from "../../util/strict-json.js";
import { type Dtype, dtypeSizes, isDtype } from "./dtypes.js";

/** One tensor of a checkpoint file. */
export type TensorInfo = {
    dtype: Dtype;
    /** Slowest dimension first; empty for a scalar. */
    shape: number[];
    /** Where the data begins in its file. Unit: bytes. */
    offset: number;
    byteLength: number;
};

export type SafetensorsHeader = { tensors: Map<string, TensorInfo>; metadata: Map<string, string> };

/** The format's own limit; the header of a 1000-layer model is below 2 MB. Unit: bytes. */
export const MAX_HEADER_BYTES = 100_000_000;
/** More dimensions than a tensor of any framework has. */
const MAX_DIMENSIONS = 16;

const tensorFields = new Set(["dtype", "shape", "data_offsets"]);

/**
 * Reads a safetensors header, strictly: tensors do not overlap, match their shapes, and fill the file.
 * @param bytes the JSON text
 * @param dataStart where the tensors' data begins in the file
 * @param fileSize size of the file
 * @throws {ArmtError} that names the tensor
 */
export function parseHeader(bytes: Uint8Array, dataStart: number, fileSize: number): SafetensorsHeader {
    const json = parseStrictJsonObject(decodeUtf8(bytes));
    const tensors = new Map<string, TensorInfo>();
    let metadata = new Map<string, string>();
    for (const [name, value] of json) {
        if (name === "__metadata__") metadata = parseMetadata(value);
        else tensors.set(name, parseTensor(name, value, dataStart));
    }
    checkLayout(tensors, dataStart, fileSize);
    return { tensors, metadata };
}

function parseMetadata(value: JsonValue): Map<string, string> {
    if (!(value instanceof Map)) throw new ArmtError("`__metadata__` is not an object");
    const result = new Map<string, string>();
    for (const [key, text] of value) {
        if (typeof text !== "string") throw new ArmtError(`\`__metadata__\` entry ${quote(key)} is not a string`);
        result.set(key, text);
    }
    return result;
}

function parseTensor(name: string, value: JsonValue, dataStart: number): TensorInfo {
    const fail = (what: string) => new ArmtError(`tensor ${quote(name)}: ${what}`);
    if (!(value instanceof Map)) throw fail("its entry is not an object");
    for (const key of value.keys()) if (!tensorFields.has(key)) throw fail(`unknown field ${quote(key)}`);

    const dtype = value.get("dtype");
    if (typeof dtype !== "string" || !isDtype(dtype)) throw fail(`unknown dtype ${quote(String(dtype))}`);

    const shape = integers(value, "shape");
    if (shape === undefined || shape.length > MAX_DIMENSIONS) throw fail("`shape` is not a list of dimensions");
    const byteLength = shape.reduce((product, n) => product * n, dtypeSizes[dtype]);
    if (!Number.isSafeInteger(byteLength)) throw fail(`shape [${shape.join(", ")}] is too large`);

    const [begin, end, ...rest] = integers(value, "data_offsets") ?? [];
    if (begin === undefined || end === undefined || rest.length > 0) throw fail("`data_offsets` is not [begin, end]");
    if (end - begin !== byteLength)
        throw fail(`data_offsets span ${end - begin} bytes, but ${dtype} [${shape.join(", ")}] needs ${byteLength}`);
    return { dtype, shape, offset: dataStart + begin, byteLength };
}

function integers(entry: JsonObject, field: string): number[] | undefined {
    const list = entry.get(field);
    if (!Array.isArray(list)) return undefined;
    const isCount = (n: JsonValue): n is number => typeof n === "number" && Number.isSafeInteger(n) && n >= 0;
    return list.every(isCount) ? list : undefined;
}

function checkLayout(tensors: Map<string, TensorInfo>, dataStart: number, fileSize: number): void {
    const sorted = [...tensors].sort(([, a], [, b]) => a.offset - b.offset || a.byteLength - b.byteLength);
    let end = dataStart;
    for (const [name, { offset, byteLength }] of sorted) {
        if (offset + byteLength > fileSize)
            throw new ArmtError(
                `truncated: tensor ${quote(name)} ends at byte ${offset + byteLength}, the file at ${fileSize}`
            );
        if (offset < end) throw new ArmtError(`tensor ${quote(name)} overlaps the one before it`);
        if (offset > end) throw new ArmtError(`${offset - end} bytes before tensor ${quote(name)} belong to no tensor`);
        end = offset + byteLength;
    }
    if (end !== fileSize) throw new ArmtError(`${fileSize - end} bytes after the last tensor belong to no tensor`);
}
