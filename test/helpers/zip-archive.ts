import { crc32 } from "node:zlib";

export type ZipMember = {
    name: string;
    data: Uint8Array;
    /** Default: 0, stored. */
    method?: number;
    /** Put the sizes into the zip64 extra field. Default: `false`. */
    zip64?: boolean;
};

/** A zip archive as torch writes it, or with the faults that a test asks for. */
export function zipArchive(members: readonly ZipMember[]): Buffer {
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
    const end = Buffer.alloc(22);
    end.write("PK\x05\x06");
    end.writeUInt16LE(members.length, 8);
    end.writeUInt16LE(members.length, 10);
    end.writeUInt32LE(Buffer.concat(directory).length, 12);
    end.writeUInt32LE(offset, 16);
    return Buffer.concat([...parts, ...directory, end]);
}

function zip64Extra(size: number): Buffer {
    const extra = Buffer.alloc(20);
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(16, 2);
    extra.writeBigUInt64LE(BigInt(size), 4);
    extra.writeBigUInt64LE(BigInt(size), 12);
    return extra;
}
