import { ArmtError, quote } from "../../util/errors.js";
import { type GgufFile, openGguf } from "./reader.js";
import type { GgmlType, GgmlTypeInfo } from "./types.js";

/** Where a block of a quantized type has its float16 factors. Unit: bytes. */
const factors: Partial<Record<GgmlType, readonly number[]>> = {
    Q4_0: [0],
    Q4_1: [0, 2],
    Q5_0: [0],
    Q5_1: [0, 2],
    Q8_0: [0],
    Q2_K: [80, 82],
    Q3_K: [108],
    Q4_K: [0, 2],
    Q5_K: [0, 2],
    Q6_K: [208],
    IQ4_NL: [0],
    IQ4_XS: [0]
};

/** Blocks that are read at once. */
const chunkBlocks = 2 ** 20;

/**
 * Looks at all weights of a model file. Numbers that are not finite spread to every answer.
 * @param signal ends the reading
 * @throws {ArmtError} that names the first tensor with a NaN or an infinity
 */
export async function checkFiniteWeights(path: string, signal?: AbortSignal): Promise<void> {
    const file = await openGguf(path);
    try {
        for (const name of file.tensors.keys()) await checkTensor(file, name, signal);
    } finally {
        await file.close();
    }
}

async function checkTensor(file: GgufFile, name: string, signal: AbortSignal | undefined): Promise<void> {
    const { type, byteLength } = file.tensors.get(name)!;
    const find = finderOf(type);
    if (find === undefined) return;
    const step = chunkBlocks * type.blockBytes;
    for (let start = 0; start < byteLength; start += step) {
        signal?.throwIfAborted();
        const bytes = await file.readTensor(name, start, Math.min(start + step, byteLength));
        const block = find(bytes);
        if (block >= 0)
            throw new ArmtError(
                `bad model ${quote(file.path)}: tensor ${quote(name)} has a number that is not finite, near element ` +
                    `${(start / type.blockBytes + block) * type.blockSize}; convert the checkpoint again`
            );
    }
}

/** Finds the first block that is not finite, or returns -1. Undefined for types without such numbers. */
function finderOf({ name, blockBytes }: GgmlTypeInfo): ((bytes: Buffer) => number) | undefined {
    // of all of a number's bits, those of the exponent decide
    const at16 = (offsets: readonly number[], exponent: number) => (bytes: Buffer) => {
        for (let start = 0; start < bytes.length; start += blockBytes)
            for (const offset of offsets)
                if ((bytes.readUInt16LE(start + offset) & exponent) === exponent) return start / blockBytes;
        return -1;
    };
    if (name === "F16") return at16([0], 0x7c00);
    // a float32 ends with the half that has its exponent
    if (name === "F32") return at16([2], 0x7f80);
    if (name === "BF16") return at16([0], 0x7f80);
    const offsets = factors[name];
    return offsets === undefined ? undefined : at16(offsets, 0x7c00);
}
