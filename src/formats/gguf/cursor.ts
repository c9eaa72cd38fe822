import { isUtf8 } from "node:buffer";
import { ArmtError } from "../../util/errors.js";
import type { RandomAccessFile } from "../../util/random-access-file.js";
import { MAX_METADATA_BYTES, MAX_STRING_BYTES } from "./limits.js";

/** Number of bytes read from the file at once. */
const WINDOW_BYTES = 256 * 2 ** 10;

/**
 * Walks over a file's head through a small window. `ensure` fetches bytes, and the take functions then run
 * synchronously.
 */
export class Cursor {
    private window: Buffer = Buffer.alloc(0);
    private windowStart = 0;
    private index = 0;

    /** @param checksText whether strings must be UTF-8 */
    constructor(
        private readonly file: RandomAccessFile,
        private readonly checksText: boolean
    ) {}

    /** Offset in the file. Unit: bytes. */
    get offset(): number {
        return this.windowStart + this.index;
    }

    /** Number of bytes left in the file. */
    get remaining(): number {
        return this.file.size - this.offset;
    }

    /** Whether the next `length` bytes are in the window. */
    has(length: number): boolean {
        return this.index + length <= this.window.length;
    }

    /** Makes the next `length` bytes available. */
    async ensure(length: number): Promise<void> {
        if (this.has(length)) return;
        if (length > this.remaining) throw new ArmtError(`truncated at byte ${this.file.size}`);
        if (this.offset + length > MAX_METADATA_BYTES)
            throw new ArmtError(`the metadata is larger than ${MAX_METADATA_BYTES} bytes`);
        const start = this.offset;
        this.window = await this.file.read(start, Math.min(Math.max(length, WINDOW_BYTES), this.remaining));
        this.windowStart = start;
        this.index = 0;
    }

    takeUint32(): number {
        this.index += 4;
        return this.window.readUInt32LE(this.index - 4);
    }

    takeUint64(): bigint {
        this.index += 8;
        return this.window.readBigUInt64LE(this.index - 8);
    }

    takeBytes(length: number): Buffer {
        this.index += length;
        return this.window.subarray(this.index - length, this.index);
    }

    /** Skips bytes. */
    skip(length: number): void {
        if (length > this.remaining) throw new ArmtError(`truncated at byte ${this.file.size}`);
        if (this.offset + length > MAX_METADATA_BYTES)
            throw new ArmtError(`the metadata is larger than ${MAX_METADATA_BYTES} bytes`);
        this.index += length;
    }

    /** The bytes of a string. */
    async string(maxBytes = MAX_STRING_BYTES): Promise<Buffer> {
        if (!this.has(8)) await this.ensure(8);
        const length = this.takeUint64();
        if (length > maxBytes)
            throw new ArmtError(`string of ${length} bytes at ${this.offset - 8} (at most ${maxBytes})`);
        if (!this.has(Number(length))) await this.ensure(Number(length));
        const bytes = this.takeBytes(Number(length));
        if (this.checksText && !isUtf8(bytes))
            throw new ArmtError(`string at ${this.offset - bytes.length} is not UTF-8`);
        return bytes;
    }
}
