/** Little-endian pieces of a GGUF file, for files with faults. */
export const u8 = (value: number) => Buffer.from([value]);

export function u32(value: number): Buffer {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes;
}

export function u64(value: number | bigint): Buffer {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return bytes;
}

export function str(text: string | Buffer): Buffer {
    const bytes = typeof text === "string" ? Buffer.from(text) : text;
    return Buffer.concat([u64(bytes.length), bytes]);
}

export type GgufParts = {
    /** Default: 3. */
    version?: number;
    /** Encoded keys: name, type, value. */
    keys?: Buffer[];
    /** Encoded tensor entries. */
    tensors?: Buffer[];
    /** Counts in the header that differ from the real ones. */
    keyCount?: number | bigint;
    tensorCount?: number | bigint;
    /** Bytes after the header, which is padded to 32. Default: 64. */
    dataBytes?: number;
};

export function ggufBytes(parts: GgufParts = {}): Buffer {
    const {
        version = 3,
        keys = [],
        tensors = [],
        keyCount = keys.length,
        tensorCount = tensors.length,
        dataBytes = 64
    } = parts;
    const head = Buffer.concat([
        Buffer.from("GGUF"),
        u32(version),
        u64(tensorCount),
        u64(keyCount),
        ...keys,
        ...tensors
    ]);
    return Buffer.concat([head, Buffer.alloc(Math.ceil(head.length / 32) * 32 - head.length + dataBytes)]);
}

/** A key with a value of the given type number. */
export function key(name: string, type: number, ...value: Buffer[]): Buffer {
    return Buffer.concat([str(name), u32(type), ...value]);
}

/** A tensor entry; type 0 is F32. */
export function tensorEntry(
    name: string,
    shape: readonly (number | bigint)[],
    type = 0,
    offset: number | bigint = 0
): Buffer {
    return Buffer.concat([str(name), u32(shape.length), ...shape.map(u64), u32(type), u64(offset)]);
}
