import { ArmtError, quote } from "../../util/errors.js";
import { RandomAccessFile } from "../../util/random-access-file.js";
import { type ReadRange, tensorRange } from "../tensor-range.js";
import { MAX_HEADER_BYTES, parseHeader, type TensorInfo } from "./header.js";

export type { Dtype } from "./dtypes.js";
export type { TensorInfo } from "./header.js";

/** An open safetensors file whose entire header has been checked. Tensor data is read on request. */
export class SafetensorsFile {
    constructor(
        private readonly file: RandomAccessFile,
        /** All tensors by name, in the header's order. */
        public readonly tensors: ReadonlyMap<string, TensorInfo>,
        public readonly metadata: ReadonlyMap<string, string>
    ) {}

    public get path(): string {
        return this.file.path;
    }

    /**
     * Bytes of a tensor (little-endian, last dimension fastest), or a range of them.
     * @throws {ArmtError} if there is no such tensor or the range is outside it
     */
    public async read(name: string, range?: ReadRange): Promise<Buffer> {
        const { tensor, start, end } = tensorRange(this, name, range);
        return this.file.read(tensor.offset + start, end - start);
    }

    public async close(): Promise<void> {
        await this.file.close();
    }
}

/**
 * Opens a safetensors file and checks its header.
 * @throws {ArmtError} that names the file, and the tensor at fault
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
    const file = await RandomAccessFile.open(path);
    try {
        if (file.size < 8) throw new ArmtError(`truncated: ${file.size} bytes`);
        const length = (await file.read(0, 8)).readBigUInt64LE(0);
        if (length > MAX_HEADER_BYTES) throw new ArmtError(`header of ${length} bytes (at most ${MAX_HEADER_BYTES})`);
        if (length === 0n) throw new ArmtError("header of 0 bytes");
        const dataStart = 8 + Number(length);
        if (dataStart > file.size)
            throw new ArmtError(`truncated: the header ends at ${dataStart} of ${file.size} bytes`);
        const { tensors, metadata } = parseHeader(await file.read(8, Number(length)), dataStart, file.size);
        return new SafetensorsFile(file, tensors, metadata);
    } catch (error) {
        await file.close();
        if (!(error instanceof ArmtError)) throw error;
        throw new ArmtError(`bad safetensors file ${quote(path)}: ${error.message}`, { cause: error });
    }
}
