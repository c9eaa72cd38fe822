import { ArmtError, quote } from "../../util/errors.js";
import type { RandomAccessFile } from "../../util/random-access-file.js";

/** A file inside an archive, stored without compression. */
export type ZipEntry = {
    /** Start of its data in the archive. Unit: bytes. */
    offset: number;
    size: number;
    /** CRC-32 of the data. */
    crc: number;
};

const END_SIGNATURE = 0x06054b50;
const END64_SIGNATURE = 0x06064b50;
const END64_LOCATOR_SIGNATURE = 0x07064b50;
const ENTRY_SIGNATURE = 0x02014b50;
const LOCAL_SIGNATURE = 0x04034b50;
/** Sizes of the records' fixed parts. Unit: bytes. */
const END_BYTES = 22;
const END64_LOCATOR_BYTES = 20;
const END64_BYTES = 56;
const ENTRY_BYTES = 46;
const LOCAL_BYTES = 30;
/** Longest comment after the end record, the format's own limit. Unit: bytes. */
const MAX_COMMENT_BYTES = 65_535;
/** Maximum size of the central directory. A checkpoint with 100,000 tensors has 10 MB. Unit: bytes. */
const MAX_DIRECTORY_BYTES = 64 * 2 ** 20;
/** Id of the extra field with 64-bit sizes. */
const ZIP64_EXTRA_ID = 1;
/** Marks a 32-bit field whose real value is in the zip64 extra field. */
const IN_ZIP64 = 0xffffffff;

/**
 * Lists a zip archive (including zip64) whose entries are stored without compression, as torch writes them.
 * @throws {ArmtError} for compressed, encrypted, split or damaged archives and for data outside the file
 */
export async function readZipDirectory(file: RandomAccessFile): Promise<Map<string, ZipEntry>> {
    const { offset, size, count } = await findDirectory(file);
    if (size > MAX_DIRECTORY_BYTES)
        throw new ArmtError(`zip directory of ${size} bytes (at most ${MAX_DIRECTORY_BYTES})`);
    if (offset + size > file.size) throw new ArmtError("damaged zip: its directory is not within the file");
    const directory = await file.read(offset, size);
    const entries = new Map<string, ZipEntry>();
    let at = 0;
    for (let i = 0; i < count; i++) {
        if (at + ENTRY_BYTES > size || directory.readUInt32LE(at) !== ENTRY_SIGNATURE)
            throw new ArmtError("damaged zip: bad directory entry");
        const nameLength = directory.readUInt16LE(at + 28);
        const extraLength = directory.readUInt16LE(at + 30);
        const end = at + ENTRY_BYTES + nameLength + extraLength + directory.readUInt16LE(at + 32);
        if (end > size) throw new ArmtError("damaged zip: bad directory entry");
        const name = directory.toString("utf8", at + ENTRY_BYTES, at + ENTRY_BYTES + nameLength);
        if (entries.has(name)) throw new ArmtError(`damaged zip: two entries named ${quote(name)}`);
        const extra = directory.subarray(at + ENTRY_BYTES + nameLength, at + ENTRY_BYTES + nameLength + extraLength);
        entries.set(name, parseEntry(name, directory.subarray(at, at + ENTRY_BYTES), extra));
        at = end;
    }
    return entries;
}

/**
 * Start of an entry's data. It follows the local header, whose variable part may differ from the directory's. Unit:
 * bytes.
 */
export async function locateEntry(file: RandomAccessFile, name: string, entry: ZipEntry): Promise<ZipEntry> {
    if (entry.offset + LOCAL_BYTES > file.size)
        throw new ArmtError(`truncated: entry ${quote(name)} is not in the file`);
    const local = await file.read(entry.offset, LOCAL_BYTES);
    if (local.readUInt32LE(0) !== LOCAL_SIGNATURE)
        throw new ArmtError(`damaged zip: entry ${quote(name)} has no header`);
    const offset = entry.offset + LOCAL_BYTES + local.readUInt16LE(26) + local.readUInt16LE(28);
    if (offset + entry.size > file.size) throw new ArmtError(`truncated: entry ${quote(name)} is not in the file`);
    return { ...entry, offset };
}

async function findDirectory(file: RandomAccessFile): Promise<{ offset: number; size: number; count: number }> {
    const tailStart = Math.max(0, file.size - END_BYTES - MAX_COMMENT_BYTES);
    const tail = await file.read(tailStart, file.size - tailStart);
    let at = tail.length - END_BYTES;
    while (
        at >= 0 &&
        !(tail.readUInt32LE(at) === END_SIGNATURE && tail.readUInt16LE(at + 20) === tail.length - at - END_BYTES)
    )
        at--;
    if (at < 0) throw new ArmtError("truncated or damaged zip: it has no end record");
    const plain = {
        count: tail.readUInt16LE(at + 10),
        size: tail.readUInt32LE(at + 12),
        offset: tail.readUInt32LE(at + 16)
    };
    if (plain.count !== 0xffff && plain.size !== IN_ZIP64 && plain.offset !== IN_ZIP64) return plain;

    const locatorStart = tailStart + at - END64_LOCATOR_BYTES;
    if (locatorStart < 0) throw new ArmtError("damaged zip: no zip64 record");
    const locator = await file.read(locatorStart, END64_LOCATOR_BYTES);
    if (locator.readUInt32LE(0) !== END64_LOCATOR_SIGNATURE) throw new ArmtError("damaged zip: no zip64 record");
    const end64 = await file.read(safeNumber(locator.readBigUInt64LE(8)), END64_BYTES);
    if (end64.readUInt32LE(0) !== END64_SIGNATURE) throw new ArmtError("damaged zip: no zip64 record");
    return {
        count: safeNumber(end64.readBigUInt64LE(32)),
        size: safeNumber(end64.readBigUInt64LE(40)),
        offset: safeNumber(end64.readBigUInt64LE(48))
    };
}

function parseEntry(name: string, fixed: Buffer, extra: Buffer): ZipEntry {
    const flags = fixed.readUInt16LE(8);
    const method = fixed.readUInt16LE(10);
    if ((flags & 1) !== 0) throw new ArmtError(`entry ${quote(name)} is encrypted`);
    if (method !== 0) throw new ArmtError(`entry ${quote(name)} is compressed; torch stores its entries plainly`);
    // the extra field contains only the fields that overflow 32 bits, in this order
    const wide = [fixed.readUInt32LE(24), fixed.readUInt32LE(20), fixed.readUInt32LE(42)];
    const extra64 = findExtra(extra, ZIP64_EXTRA_ID);
    let at = 0;
    const [size, storedSize, offset] = wide.map((value) => {
        if (value !== IN_ZIP64) return value;
        if (extra64 === undefined || at + 8 > extra64.length)
            throw new ArmtError(`damaged zip: entry ${quote(name)} lacks its zip64 sizes`);
        at += 8;
        return safeNumber(extra64.readBigUInt64LE(at - 8));
    }) as [number, number, number];
    if (size !== storedSize) throw new ArmtError(`damaged zip: entry ${quote(name)} has two sizes`);
    return { offset, size, crc: fixed.readUInt32LE(16) };
}

function findExtra(extra: Buffer, id: number): Buffer | undefined {
    let at = 0;
    while (at + 4 <= extra.length) {
        const end = at + 4 + extra.readUInt16LE(at + 2);
        if (extra.readUInt16LE(at) === id) return extra.subarray(at + 4, end);
        at = end;
    }
    return undefined;
}

function safeNumber(value: bigint): number {
    if (value > Number.MAX_SAFE_INTEGER) throw new ArmtError("damaged zip: a size beyond all files");
    return Number(value);
}
