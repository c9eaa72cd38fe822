import { dtypeSizes } from "../formats/safetensors/dtypes.js";
import type { TensorInfo } from "../formats/safetensors/reader.js";
import { ArmtError, quote } from "../util/errors.js";
import type { SourceTensor } from "./checkpoint.js";
import { decodeFloats, findNonFinite, isFloatDtype } from "./float-decode.js";
import { encodeFloats, type TargetType } from "./float-encode.js";
import type { Change, PlannedTensor, SourcePart } from "./layout.js";
import { addUpdate } from "./lora/lora.js";

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
    const factors = new FactorReader();
    let next = readPiece(pieces[0]);
    for (let i = 0; i < pieces.length; i++) {
        const bytes = await next;
        options.signal?.throwIfAborted();
        next = readPiece(pieces[i + 1]);
        // If converting this piece fails, the next one is never awaited: its rejection must not end the process.
        next.catch(() => {});
        yield convertPiece(pieces[i]!, bytes!, type, await factors.of(pieces[i]!.tensor));
        options.onBytes?.(bytes!.byteLength);
    }
}

type Piece = SourcePart & { start: number; end: number };

function listPieces(parts: readonly SourcePart[]): Piece[] {
    return parts.flatMap((part) => {
        const { first, end } = bytesOf(part);
        // a matrix is transposed as a whole
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

/** An adapter's factors of one weight: A and B. */
type Factors = { a: Float32Array; b: Float32Array };

/** Reads the factors of the weight whose pieces are converted, once. */
class FactorReader {
    private tensor: SourceTensor | undefined;
    private factors: Factors | undefined;

    async of(tensor: SourceTensor): Promise<Factors | undefined> {
        const { lora } = tensor;
        if (lora === undefined) return undefined;
        if (this.tensor !== tensor) {
            this.factors = { a: await readFloats(lora.a), b: await readFloats(lora.b) };
            this.tensor = tensor;
        }
        return this.factors;
    }
}

/** All elements of a small tensor. @throws {ArmtError} if some are not finite */
export async function readFloats({ name, dtype, file }: SourceTensor): Promise<Float32Array> {
    if (!isFloatDtype(dtype)) throw new ArmtError(`tensor ${quote(name)} is ${dtype}, expected a float type`);
    const values = decodeFloats(await file.read(name), dtype);
    const bad = findNonFinite(values);
    if (bad >= 0) throw new ArmtError(`tensor ${quote(name)} holds ${values[bad]} at element ${bad}`);
    return values;
}

function convertPiece(
    { tensor, change, start }: Piece,
    bytes: Buffer,
    type: TargetType,
    factors: Factors | undefined
): Uint8Array {
    const { name, dtype, lora, shape } = tensor;
    if (!isFloatDtype(dtype)) throw new ArmtError(`tensor ${quote(name)} is ${dtype}, expected a float type`);
    let values = decodeFloats(bytes, dtype);
    if (lora !== undefined && factors !== undefined)
        values = addUpdate(
            values,
            { first: start / dtypeSizes[dtype], columns: shape.at(-1)! },
            lora,
            factors.a,
            factors.b
        );
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

/** Where a part's rows are in its tensor. Unit: bytes. */
function bytesOf({ tensor, rows }: SourcePart): { first: number; end: number } {
    if (rows === undefined) return { first: 0, end: tensor.byteLength };
    const row = tensor.byteLength / tensor.shape[0]!;
    return { first: rows.first * row, end: (rows.first + rows.count) * row };
}
