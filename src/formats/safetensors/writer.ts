import { type AtomicFileOptions, writeAtomically } from "../../util/atomic-file.js";
import { ArmtError, quote } from "../../util/errors.js";
import { type Dtype, dtypeSizes } from "./dtypes.js";

export type TensorData = {
    name: string;
    dtype: Dtype;
    /** Slowest dimension first. */
    shape: readonly number[];
    /**
     * Little-endian elements, last dimension fastest: at once, or as pieces that the writer pulls one after another.
     */
    data: ArrayBufferView | AsyncIterable<ArrayBufferView>;
};

/**
 * Writes a safetensors file. It appears under its name only when complete and replaces an existing one by default.
 * Wider types come first in the file, so that every tensor is aligned to its element.
 * @throws {ArmtError} when data and shape disagree, a name is used twice, or the file can't be written
 */
export async function writeSafetensors(
    path: string,
    tensors: Iterable<TensorData>,
    metadata: Readonly<Record<string, string>> = {},
    options: AtomicFileOptions = {}
): Promise<void> {
    const sorted = [...tensors].sort((a, b) => dtypeSizes[b.dtype] - dtypeSizes[a.dtype]);
    const header = buildHeader(sorted, metadata);
    await writeAtomically(path, options, async (file) => {
        await file.write(header);
        for (const tensor of sorted) {
            const start = file.position;
            if (ArrayBuffer.isView(tensor.data)) await file.write(bytesOf(tensor.data));
            else for await (const piece of tensor.data) await file.write(bytesOf(piece));
            const expected = byteLength(tensor);
            if (file.position - start !== expected)
                throw new ArmtError(
                    `tensor ${quote(tensor.name)}: got ${file.position - start} bytes of data, expected ${expected}`
                );
        }
    });
}

function buildHeader(tensors: readonly TensorData[], metadata: Readonly<Record<string, string>>): Buffer {
    const entries = new Map<string, unknown>();
    if (Object.keys(metadata).length > 0) entries.set("__metadata__", metadata);
    let offset = 0;
    for (const tensor of tensors) {
        const { name, dtype, shape } = tensor;
        if (entries.has(name) || name === "__metadata__")
            throw new ArmtError(`tensor name ${quote(name)} is used twice`);
        const end = offset + byteLength(tensor);
        entries.set(name, { dtype, shape, data_offsets: [offset, end] });
        offset = end;
    }
    const json = [...entries].map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join(",");
    const text = Buffer.from(`{${json}}`);
    const padded = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8, " ");
    padded.writeBigUInt64LE(BigInt(padded.length - 8), 0);
    text.copy(padded, 8);
    return padded;
}

function byteLength({ dtype, shape }: TensorData): number {
    return shape.reduce((product, n) => product * n, dtypeSizes[dtype]);
}

function bytesOf(data: ArrayBufferView): Uint8Array {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
