import { crc32 } from "node:zlib";
import { type AtomicFileOptions, writeAtomically } from "../../src/util/atomic-file.js";
import { ArmtError, quote } from "../../src/util/errors.js";
import { RandomAccessFile } from "../../src/util/random-access-file.js";
import type { ArmtSnapshotHeader } from "../types.js";
import {
    align,
    DamagedSnapshotError,
    decodeHeader,
    encodeHeader,
    fixedBytes,
    type HeaderLayout,
    readFixedPart
} from "./snapshot-header.js";

/** The parts of a snapshot, in the order of a file. */
export type SnapshotParts = {
    readonly header: Omit<ArmtSnapshotHeader, "stateBytes" | "bodyChecksum">;
    /** Little-endian ids, or undefined without them. */
    readonly tokens: Uint32Array | undefined;
    readonly state: Buffer;
};

/** Bytes to read, check or write before the abort signal is checked again. */
const pieceBytes = 8 * 2 ** 20;

/** Whether a file starts like a snapshot. */
export async function isSnapshotFile(path: string): Promise<boolean> {
    const file = await RandomAccessFile.open(path);
    try {
        if (file.size < fixedBytes) return false;
        return (await file.read(0, 8)).toString("latin1") === "ARMTSNAP";
    } finally {
        await file.close();
    }
}

/** The bytes of a snapshot file, in their order. The state is not copied. */
export function encodeSnapshot({ header, tokens, state }: SnapshotParts): Buffer[] {
    const ids =
        tokens === undefined ? Buffer.alloc(0) : Buffer.from(tokens.buffer, tokens.byteOffset, tokens.byteLength);
    const bodyChecksum = crc32(state, crc32(ids));
    const head = encodeHeader({ ...header, stateBytes: state.length, bodyChecksum });
    const padding = Buffer.alloc(align(head.length + ids.length) - head.length - ids.length);
    return [head, ids, padding, state];
}

/**
 * Writes a snapshot under a temporary name, flushes it and renames it.
 * @returns size of the file in bytes
 */
export async function writeSnapshotFile(
    path: string,
    parts: SnapshotParts,
    { signal, ...options }: AtomicFileOptions & { signal?: AbortSignal } = {}
): Promise<number> {
    let size = 0;
    await writeAtomically(path, options, async (file) => {
        signal?.throwIfAborted();
        for (const part of encodeSnapshot(parts)) {
            for (let start = 0; start < part.length; start += pieceBytes) {
                signal?.throwIfAborted();
                await file.write(part.subarray(start, start + pieceBytes));
            }
        }
        size = file.position;
    });
    return size;
}

/**
 * Reads only the header of a snapshot file.
 * @throws {ArmtError} that names the file and the reason
 */
export async function readSnapshotHeader(path: string): Promise<ArmtSnapshotHeader> {
    return await withFile(path, async (file) => (await readLayout(file)).header);
}

/**
 * Reads and checks a whole snapshot file.
 * @param options `accept` gets the header before the rest is read, and may throw
 * @throws {ArmtError} that names the file and the reason
 */
export async function readSnapshotFile(
    path: string,
    { accept, signal }: { accept?: (header: ArmtSnapshotHeader) => void; signal?: AbortSignal } = {}
): Promise<SnapshotParts> {
    return await withFile(path, async (file) => {
        const { header, tokensStart, stateStart } = await readLayout(file);
        accept?.(header);
        const tokens = header.hasTokenIds ? new Uint32Array(header.tokensRead) : undefined;
        const ids = tokens === undefined ? Buffer.alloc(0) : Buffer.from(tokens.buffer);
        const state = Buffer.allocUnsafeSlow(header.stateBytes);
        let checksum = await readChecked(file, ids, tokensStart, 0, signal);
        const padding = await file.read(tokensStart + ids.length, stateStart - tokensStart - ids.length);
        checksum = await readChecked(file, state, stateStart, checksum, signal);
        if (checksum !== header.bodyChecksum || padding.some((byte) => byte !== 0))
            throw new DamagedSnapshotError("it is damaged: its contents have a wrong checksum");
        return { header, tokens, state };
    });
}

async function readLayout(file: RandomAccessFile): Promise<HeaderLayout> {
    const length = readFixedPart(await file.read(0, Math.min(fixedBytes, file.size)));
    const layout = decodeHeader(await file.read(0, Math.min(align(fixedBytes + length), file.size)), file.path);
    if (layout.end !== file.size)
        throw new DamagedSnapshotError(`it is damaged: it has ${file.size} bytes instead of ${layout.end}`);
    return layout;
}

/**
 * Fills a buffer from the file. The checksum is computed piece by piece, while the bytes are still in the CPU cache.
 */
async function readChecked(
    file: RandomAccessFile,
    into: Buffer,
    offset: number,
    checksum: number,
    signal: AbortSignal | undefined
): Promise<number> {
    let result = checksum;
    for (let start = 0; start < into.length; start += pieceBytes) {
        signal?.throwIfAborted();
        const piece = into.subarray(start, start + pieceBytes);
        await file.readInto(piece, offset + start);
        result = crc32(piece, result);
    }
    return result;
}

async function withFile<T>(path: string, work: (file: RandomAccessFile) => Promise<T>): Promise<T> {
    const file = await RandomAccessFile.open(path);
    try {
        return await work(file);
    } catch (error) {
        if (!(error instanceof ArmtError) || error.message.startsWith(quote(path))) throw error;
        throw new ArmtError(`cannot load ${quote(path)}: ${error.message}`, { cause: error });
    } finally {
        await file.close();
    }
}
