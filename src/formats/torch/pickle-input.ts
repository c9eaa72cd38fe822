import { ArmtError } from "../../util/errors.js";
import { decodeUtf8 } from "../../util/strict-json.js";

/** The bytes of a pickle, read in order. */
export class PickleInput {
    private offset = 0;

    constructor(private readonly bytes: Buffer) {}

    take(length: number): Buffer {
        if (this.offset + length > this.bytes.length) throw this.error("truncated");
        this.offset += length;
        return this.bytes.subarray(this.offset - length, this.offset);
    }

    uint8(): number {
        return this.take(1).readUInt8();
    }

    uint32(): number {
        return this.take(4).readUInt32LE();
    }

    text(length: number): string {
        return decodeUtf8(this.take(length));
    }

    /** Reads text up to a line feed. */
    line(): string {
        const end = this.bytes.indexOf(0x0a, this.offset);
        if (end < 0) throw this.error("truncated");
        const line = this.text(end - this.offset);
        this.offset++;
        return line;
    }

    /** Reads a signed integer of `length` bytes. */
    long(length: number): number | bigint {
        if (length === 0) return 0;
        const hex = Buffer.from(this.take(length)).reverse().toString("hex");
        const value = BigInt.asIntN(8 * length, BigInt(`0x${hex}`));
        const number = Number(value);
        return Number.isSafeInteger(number) ? number : value;
    }

    error(what: string): ArmtError {
        return new ArmtError(`bad pickle at byte ${this.offset}: ${what}`);
    }
}
