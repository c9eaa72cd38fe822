import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { ArmtError, quote, systemErrorText } from "./errors.js";

/** A regular file read at given offsets. A read past its end is an error, never zeros. */
export class RandomAccessFile {
    private constructor(
        public readonly path: string,
        /** File size at the time of opening. Unit: bytes. */
        public readonly size: number,
        private readonly handle: FileHandle
    ) {}

    /** @throws {ArmtError} if the file cannot be opened or is not a regular file */
    public static async open(path: string): Promise<RandomAccessFile> {
        let handle: FileHandle | undefined;
        try {
            // to open a pipe would wait for its other end
            handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
            const info = await handle.stat();
            if (info.isFile()) return new RandomAccessFile(path, info.size, handle);
        } catch (error) {
            await handle?.close();
            throw new ArmtError(`cannot read ${quote(path)}: ${systemErrorText(error)}`, { cause: error });
        }
        await handle.close();
        throw new ArmtError(`cannot read ${quote(path)}: not a regular file`);
    }

    /** Reads exactly `length` bytes at `offset`. */
    public async read(offset: number, length: number): Promise<Buffer> {
        if (offset + length > this.size)
            throw new ArmtError(
                `${quote(this.path)} is truncated: ${length} bytes at ${offset} are needed, the file has ${this.size}`
            );
        const buffer = Buffer.allocUnsafe(length);
        await this.readInto(buffer, offset);
        return buffer;
    }

    /** Fills `buffer` with the bytes at `offset`. */
    public async readInto(buffer: Uint8Array, offset: number): Promise<void> {
        let done = 0;
        while (done < buffer.byteLength) {
            let bytesRead: number;
            try {
                ({ bytesRead } = await this.handle.read(buffer, done, buffer.byteLength - done, offset + done));
            } catch (error) {
                throw new ArmtError(`cannot read ${quote(this.path)}: ${systemErrorText(error)}`, { cause: error });
            }
            if (bytesRead === 0) throw new ArmtError(`${quote(this.path)} became shorter while it was read`);
            done += bytesRead;
        }
    }

    public async close(): Promise<void> {
        await this.handle.close();
    }
}
