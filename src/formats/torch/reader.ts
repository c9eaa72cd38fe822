import { crc32 } from "node:zlib";
import { ArmtError, quote } from "../../util/errors.js";
import { RandomAccessFile } from "../../util/random-access-file.js";
import { dtypeSizes } from "../safetensors/dtypes.js";
import type { TensorInfo } from "../safetensors/reader.js";
import { type ReadRange, tensorRange } from "../tensor-range.js";
import { parseStateDict, type TorchTensor } from "./state-dict.js";
import { locateEntry, readZipDirectory, type ZipEntry } from "./zip.js";

/** Maximum size of the pickle. A checkpoint with 100,000 tensors has about 10 MB. Unit: bytes. */
const MAX_PICKLE_BYTES = 64 * 2 ** 20;
const ZIP_MAGIC = 0x04034b50;
const PICKLE_NAME = "data.pkl";

/** A tensor, and the entry with its storage if the tensor fills the storage. */
type StoredTensor = TensorInfo & { whole?: ZipEntry };

/** How far an entry has been read from its start without a gap, and the CRC-32 of that part. */
type Checksum = { end: number; crc: number };

/**
 * An open `.bin` checkpoint whose directory and pickle have been checked. Tensor data is read on request. The checksum
 * is compared if the data is read from start to end.
 */
export class TorchFile {
    private readonly checksums = new Map<string, Checksum>();

    constructor(
        private readonly file: RandomAccessFile,
        /** All tensors by name. Tensors that share a storage have the same `offset`. */
        public readonly tensors: ReadonlyMap<string, StoredTensor>
    ) {}

    public get path(): string {
        return this.file.path;
    }

    /**
     * Bytes of a tensor (little-endian, last dimension fastest), or a range of them.
     * @throws {ArmtError} for a range outside the tensor, and for a wrong checksum
     */
    public async read(name: string, range?: ReadRange): Promise<Buffer> {
        const { tensor, start, end } = tensorRange(this, name, range);
        const bytes = await this.file.read(tensor.offset + start, end - start);
        this.check(name, tensor, start, bytes);
        return bytes;
    }

    private check(name: string, { whole }: StoredTensor, start: number, bytes: Buffer): void {
        if (whole === undefined) return;
        const sofar = start === 0 ? { end: 0, crc: 0 } : this.checksums.get(name);
        if (sofar?.end !== start) return;
        const next = { end: start + bytes.length, crc: crc32(bytes, sofar.crc) };
        this.checksums.set(name, next);
        if (next.end === whole.size && next.crc !== whole.crc)
            throw new ArmtError(
                `bad torch checkpoint ${quote(this.path)}: tensor ${quote(name)} is damaged: its checksum is wrong`
            );
    }

    public async close(): Promise<void> {
        await this.file.close();
    }
}

/**
 * Opens a checkpoint saved by `torch.save` (1.6 or later: a zip archive).
 * @throws {ArmtError} that names the file and its refused or damaged part
 */
export async function openTorch(path: string): Promise<TorchFile> {
    const file = await RandomAccessFile.open(path);
    try {
        return new TorchFile(file, await readTensors(file));
    } catch (error) {
        await file.close();
        if (!(error instanceof ArmtError)) throw error;
        throw new ArmtError(`bad torch checkpoint ${quote(path)}: ${error.message}`, { cause: error });
    }
}

async function readTensors(file: RandomAccessFile): Promise<Map<string, StoredTensor>> {
    await checkFormat(file);
    const entries = await readZipDirectory(file);
    const pickles = [...entries.keys()].filter((name) => name === PICKLE_NAME || name.endsWith(`/${PICKLE_NAME}`));
    const [pickleName] = pickles;
    if (pickleName === undefined || pickles.length > 1)
        throw new ArmtError(`the archive has ${pickles.length} entries \`${PICKLE_NAME}\`, expected one`);
    const prefix = pickleName.slice(0, -PICKLE_NAME.length);
    await checkByteOrder(file, `${prefix}byteorder`, entries);
    const stateDict = parseStateDict(await readEntry(file, pickleName, entries.get(pickleName)!, MAX_PICKLE_BYTES));

    const tensors = new Map<string, StoredTensor>();
    const located = new Map<string, ZipEntry>();
    for (const [name, tensor] of stateDict) {
        const entryName = `${prefix}data/${tensor.storage.key}`;
        const entry = entries.get(entryName);
        if (entry === undefined)
            throw new ArmtError(`tensor ${quote(name)}: the archive has no entry ${quote(entryName)}`);
        const place = located.get(entryName) ?? (await locateEntry(file, entryName, entry));
        located.set(entryName, place);
        tensors.set(name, describe(name, tensor, place));
    }
    return tensors;
}

function describe(name: string, { storage, start, shape, stride }: TorchTensor, place: ZipEntry): StoredTensor {
    const width = dtypeSizes[storage.dtype];
    if (storage.length * width > place.size)
        throw new ArmtError(
            `tensor ${quote(name)}: its storage has ${place.size} bytes, expected ${storage.length * width}`
        );
    if (!isContiguous(shape, stride))
        throw new ArmtError(
            `tensor ${quote(name)} is not contiguous (strides [${stride.join(", ")}] of [${shape.join(", ")}]); save ` +
                "it with .contiguous()"
        );
    const byteLength = shape.reduce((product, n) => product * n, width);
    const whole = start === 0 && byteLength === place.size ? place : undefined;
    return { dtype: storage.dtype, shape: [...shape], offset: place.offset + start * width, byteLength, whole };
}

function isContiguous(shape: readonly number[], stride: readonly number[]): boolean {
    let expected = 1;
    for (let i = shape.length - 1; i >= 0; i--) {
        if (shape[i] !== 1 && stride[i] !== expected) return shape.includes(0);
        expected *= shape[i]!;
    }
    return true;
}

async function checkFormat(file: RandomAccessFile): Promise<void> {
    if (file.size < 4) throw new ArmtError(`truncated: ${file.size} bytes`);
    const magic = await file.read(0, 4);
    if (magic.readUInt32LE(0) === ZIP_MAGIC) return;
    if (magic[0] === 0x80)
        throw new ArmtError("it is in torch's legacy format (before 1.6); load it and save it again with torch.save");
    throw new ArmtError("not a zip archive");
}

async function checkByteOrder(file: RandomAccessFile, name: string, entries: Map<string, ZipEntry>): Promise<void> {
    const entry = entries.get(name);
    if (entry === undefined) return;
    const order = (await readEntry(file, name, entry, 16)).toString("utf8");
    if (order !== "little") throw new ArmtError(`byte order ${quote(order)} is not supported`);
}

async function readEntry(file: RandomAccessFile, name: string, entry: ZipEntry, limit: number): Promise<Buffer> {
    if (entry.size > limit) throw new ArmtError(`entry ${quote(name)} of ${entry.size} bytes (at most ${limit})`);
    const { offset, size } = await locateEntry(file, name, entry);
    const bytes = await file.read(offset, size);
    if (crc32(bytes) !== entry.crc) throw new ArmtError(`entry ${quote(name)} is damaged: its checksum is wrong`);
    return bytes;
}
