import { dtypeSizes } from "../safetensors/dtypes.js";
import type { TensorInfo } from "../safetensors/reader.js";
import { ArmtError, quote } from "../util/errors.js";
import { decodeFloats, findNonFinite, isFloatDtype } from "./float-decode.js";
import { encodeFloats, type TargetType } from "./float-encode.js";
import type { Change, PlannedTensor, SourcePart } from "./layout.js";

/** Elements converted at once: a multiple of every block size, and with its copies some 20 MB. */
const CHUNK_ELEMENTS = 2 ** 20;

export type StreamOptions = {
    /** Called with the source bytes of each piece that is done. */
    onBytes?: (count: number) => void;
    signal?: AbortSignal;
};

/** A planned tensor's data, piece by piece. While one piece is converted, the next is read. */
export async function* streamTensor(planned: PlannedTensor, options: StreamOptions = {}): AsyncGenerator<Uint8Array> {
    const { contents, type } = planned;
    if (contents instanceof Float32Array) {
        yield encodeFloats(contents, type)!;
        return;
    }
    const pieces = listPieces(contents);
    let next = readPiece(pieces[0]);
    for (let i = 0; i < pieces.length; i++) {
        const bytes = await next;
        options.signal?.throwIfAborted();
        next = readPiece(pieces[i + 1]);
        // Should converting this piece fail, nobody waits for the next one: its own failure must not end the process.
        next.catch(() => {});
        yield convertPiece(pieces[i]!, bytes!, type);
        options.onBytes?.(bytes!.byteLength);
    }
}

type Piece = SourcePart & { start: number; end: number };

function listPieces(parts: readonly SourcePart[]): Piece[] {
    return parts.flatMap((part) => {
        const { first, end } = bytesOf(part);
        // a matrix is turned as a whole
        const step = part.change === "transpose" ? end - first : CHUNK_ELEMENTS * dtypeSizes[part.tensor.dtype];
        return Array.from({ length: Math.ceil((end - first) / step) }, (_, i) => {
            return { ...part, start: first + i * step, end: Math.min(first + (i + 1) * step, end) };
        });
    });
}

async function readPiece(piece: Piece | undefined): Promise<Buffer | undefined> {
    if (piece === undefined) return undefined;
    const { tensor, start, end } = piece;
    return tensor.file.read(tensor.name, { start, end });
}

function convertPiece({ tensor, change, start }: Piece, bytes: Buffer, type: TargetType): Uint8Array {
    const { name, dtype } = tensor;
    if (!isFloatDtype(dtype)) throw new ArmtError(`tensor ${quote(name)} is ${dtype}, expected a float type`);
    const values = decodeFloats(bytes, dtype);
    const bad = findNonFinite(values);
    if (bad >= 0)
        throw new ArmtError(`tensor ${quote(name)} holds ${values[bad]} at element ${start / dtypeSizes[dtype] + bad}`);
    const encoded = encodeFloats(changed(values, tensor, change), type);
    if (encoded === undefined)
        throw new ArmtError(`tensor ${quote(name)} has values beyond the range of ${type}; use --outtype f32`);
    return encoded;
}

function changed(values: Float32Array, { shape }: TensorInfo, change: Change | undefined): Float32Array {
    if (change === "transpose") return transposed(values, shape);
    return change === "addOne" ? values.map((value) => value + 1) : values;
}

/** `[rows, columns]` as `[columns, rows]` */
function transposed(values: Float32Array, [rows = 1, columns = 1]: readonly number[]): Float32Array {
    const result = new Float32Array(values.length);
    for (let row = 0; row < rows; row++)
        for (let column = 0; column < columns; column++) result[column * rows + row] = values[row * columns + column]!;
    return result;
}

/** Where a part's rows lie in its tensor. Unit: bytes. */
function bytesOf({ tensor, rows }: SourcePart): { first: number; end: number } {
    if (rows === undefined) return { first: 0, end: tensor.byteLength };
    const row = tensor.byteLength / tensor.shape[0]!;
    return { first: rows.first * row, end: (rows.first + rows.count) * row };
}
