import { crc32 } from "node:zlib";

export type ZipMember = {
    name: string;
    data: Uint8Array;
    /** Default: 0, stored. */
    method?: number;
    /** Put the sizes into the zip64 extra field. Default: `false`. */
    zip64?: boolean;
};

/**
 * A zip archive as torch writes it, or with faults that a test requests.
 * @param end64 put the directory's offset into a zip64 end record, as archives over 4 GiB do
 */
export function zipArchive(members: readonly ZipMember[], end64 = false): Buffer {
    const parts: Buffer[] = [];
    const directory: Buffer[] = [];
    let offset = 0;
    for (const { name, data, method = 0, zip64 = false } of members) {
        const nameBytes = Buffer.from(name);
        const fixed = Buffer.alloc(26);
        fixed.writeUInt16LE(method, 4);
        fixed.writeUInt32LE(crc32(data), 10);
        fixed.writeUInt32LE(zip64 ? 0xffffffff : data.length, 14);
        fixed.writeUInt32LE(zip64 ? 0xffffffff : data.length, 18);
        fixed.writeUInt16LE(nameBytes.length, 22);
        const extra = zip64 ? zip64Extra(data.length) : Buffer.alloc(0);
        fixed.writeUInt16LE(extra.length, 24);
        const tail = Buffer.alloc(14);
        tail.writeUInt32LE(offset, 10);
        directory.push(Buffer.from("PK\x01\x02\x00\x00"), fixed, tail, nameBytes, extra);
        const local = Buffer.concat([Buffer.from("PK\x03\x04"), fixed, nameBytes, extra, data]);
        parts.push(local);
        offset += local.length;
    }
    const size = Buffer.concat(directory).length;
    const ends = end64
        ? [end64Records(members.length, size, offset), endRecord(0xffff, 0xffffffff, 0xffffffff)]
        : [endRecord(members.length, size, offset)];
    return Buffer.concat([...parts, ...directory, ...ends]);
}

function endRecord(count: number, size: number, offset: number): Buffer {
    const end = Buffer.alloc(22);
    end.write("PK\x05\x06");
    end.writeUInt16LE(count, 8);
    end.writeUInt16LE(count, 10);
    end.writeUInt32LE(size, 12);
    end.writeUInt32LE(offset, 16);
    return end;
}

/** The zip64 end record, which directly follows the directory, and its locator. */
function end64Records(count: number, size: number, offset: number): Buffer {
    const records = Buffer.alloc(56 + 20);
    records.write("PK\x06\x06");
    records.writeBigUInt64LE(44n, 4);
    records.writeBigUInt64LE(BigInt(count), 24);
    records.writeBigUInt64LE(BigInt(count), 32);
    records.writeBigUInt64LE(BigInt(size), 40);
    records.writeBigUInt64LE(BigInt(offset), 48);
    records.write("PK\x06\x07", 56);
    records.writeBigUInt64LE(BigInt(offset + size), 64);
    records.writeUInt32LE(1, 72);
    return records;
}

function zip64Extra(size: number): Buffer {
    const extra = Buffer.alloc(20);
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(16, 2);
    extra.writeBigUInt64LE(BigInt(size), 4);
    extra.writeBigUInt64LE(BigInt(size), 12);
    return extra;
}
