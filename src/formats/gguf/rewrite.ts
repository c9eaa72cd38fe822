import { FINGERPRINT_KEY, HEAD_DIGEST_KEY } from "./fingerprint.js";
import { type GgufFile, openGguf } from "./reader.js";
import { type GgufWriteValue, writeGguf } from "./writer.js";

/** Number of bytes copied at once. */
const COPY_BYTES = 8 * 2 ** 20;

/** Keys that hold for one file alone, and for one set of weights and numbers. */
const ownKeys: ReadonlySet<string> = new Set([FINGERPRINT_KEY, HEAD_DIGEST_KEY, "armt.earlier_fingerprints"]);

/** All keys of a file in the form that a writer takes, without its fingerprint and earlier ones. */
export async function copyMetadata(file: GgufFile): Promise<Map<string, GgufWriteValue>> {
    const metadata = new Map<string, GgufWriteValue>();
    for (const [key, value] of file.metadata) {
        if (ownKeys.has(key)) continue;
        if (value.type !== "ARRAY") metadata.set(key, value);
        else {
            const { elementType, count } = value;
            metadata.set(key, { type: "ARRAY", elementType, count, bytes: await file.readArrayBytes(key) });
        }
    }
    return metadata;
}

/**
 * Writes a copy of an ARMT model file with other values of some keys, and with its own fingerprint.
 * @throws {ArmtError} if the input is no GGUF file or the output cannot be written
 */
export async function rewriteKeys(
    input: string,
    output: string,
    changes: ReadonlyMap<string, GgufWriteValue>,
    { overwrite = false, signal }: { overwrite?: boolean; signal?: AbortSignal } = {}
): Promise<void> {
    const file = await openGguf(input);
    try {
        const metadata = new Map([...(await copyMetadata(file)), ...changes]);
        const tensors = [...file.tensors].map(([name, { type, shape, byteLength }]) => ({
            name,
            type: type.name,
            shape,
            data: () => copyTensor(file, name, byteLength, signal)
        }));
        await writeGguf(output, { metadata, tensors, fingerprint: true }, { overwrite });
    } finally {
        await file.close();
    }
}

async function* copyTensor(
    file: GgufFile,
    name: string,
    byteLength: number,
    signal: AbortSignal | undefined
): AsyncGenerator<Uint8Array> {
    for (let start = 0; start < byteLength; start += COPY_BYTES) {
        signal?.throwIfAborted();
        yield await file.readTensor(name, start, Math.min(start + COPY_BYTES, byteLength));
    }
}
