import { ArmtError, quote } from "../../util/errors.js";
import { RandomAccessFile } from "../../util/random-access-file.js";
import { type GgufHeader, type HeaderOptions, readHeader } from "./header.js";
import { decodeScalar, type GgufScalar, type GgufTensorInfo, type GgufValue, scalarTypes } from "./types.js";

/** An open GGUF file whose entire head has been checked. Arrays and tensor data are read on request. */
export class GgufFile {
    constructor(
        private readonly file: RandomAccessFile,
        private readonly header: GgufHeader
    ) {}

    public get path(): string {
        return this.file.path;
    }

    /** Unit: bytes. */
    public get size(): number {
        return this.file.size;
    }

    public get version(): number {
        return this.header.version;
    }

    public get metadata(): ReadonlyMap<string, GgufValue> {
        return this.header.metadata;
    }

    public get tensors(): ReadonlyMap<string, GgufTensorInfo> {
        return this.header.tensors;
    }

    /**
     * The elements of an array, at most `limit` of them.
     * @throws {ArmtError} if the key is not an array
     */
    public async readArray(key: string, limit = Number.POSITIVE_INFINITY): Promise<GgufScalar["value"][]> {
        const { elementType, count } = this.array(key);
        const bytes = await this.readArrayBytes(key);
        const values: GgufScalar["value"][] = [];
        let offset = 0;
        for (let i = 0; i < Math.min(count, limit); i++) {
            if (elementType === "STRING") {
                const length = Number(bytes.readBigUInt64LE(offset));
                values.push(bytes.toString("utf8", offset + 8, offset + 8 + length));
                offset += 8 + length;
            } else {
                const scalar = decodeScalar(elementType, bytes, offset);
                if (scalar === undefined) throw this.error(`key ${quote(key)}: a BOOL that is neither 0 nor 1`);
                values.push(scalar.value);
                offset += scalarTypes[elementType].bytes;
            }
        }
        return values;
    }

    /** The elements of an array, as raw bytes of the file. */
    public async readArrayBytes(key: string): Promise<Buffer> {
        const { offset, byteLength } = this.array(key);
        return this.file.read(offset, byteLength);
    }

    /** A tensor's data, or bytes `start` to `end` of it. */
    public async readTensor(name: string, start = 0, end?: number): Promise<Buffer> {
        const tensor = this.tensors.get(name);
        if (tensor === undefined) throw this.error(`no tensor ${quote(name)}`);
        const stop = end ?? tensor.byteLength;
        if (start < 0 || start > stop || stop > tensor.byteLength)
            throw this.error(`tensor ${quote(name)} has no bytes ${start} to ${stop}`);
        return this.file.read(tensor.offset + start, stop - start);
    }

    /** The file's bytes from `start` to `end`, uninterpreted. */
    public async readBytes(start: number, end: number): Promise<Buffer> {
        return this.file.read(start, end - start);
    }

    public async close(): Promise<void> {
        await this.file.close();
    }

    private array(key: string) {
        const entry = this.metadata.get(key);
        if (entry?.type !== "ARRAY") throw this.error(`key ${quote(key)} is not an array`);
        return entry;
    }

    private error(what: string): ArmtError {
        return new ArmtError(`${quote(this.path)}: ${what}`);
    }
}

/**
 * Opens a GGUF file and checks its head. Time and memory stay small whatever the file claims.
 * @throws {ArmtError} that names the file, and the key or tensor at fault
 */
export async function openGguf(path: string, options: HeaderOptions = {}): Promise<GgufFile> {
    const file = await RandomAccessFile.open(path);
    try {
        return new GgufFile(file, await readHeader(file, options));
    } catch (error) {
        await file.close();
        if (!(error instanceof ArmtError)) throw error;
        throw new ArmtError(`bad GGUF file ${quote(path)}: ${error.message}`, { cause: error });
    }
}
