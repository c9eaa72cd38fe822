import { rmSync } from "node:fs";
import path from "node:path";
import { decodeFloats } from "../../src/convert/float-decode.js";
import { openSafetensors } from "../../src/formats/safetensors/reader.js";
import { type TensorData, writeSafetensors } from "../../src/formats/safetensors/writer.js";

/** A tensor of a checkpoint, with its bytes. */
export type LoadedTensor = TensorData & { data: Buffer };

/**
 * Rewrites a folder's `model.safetensors`, with each tensor replaced by the tensors that `change` returns for it.
 * @param target the file to write. Default: the same file
 */
export async function rewriteCheckpoint(
    folder: string,
    change: (tensor: LoadedTensor) => TensorData[],
    target = "model.safetensors"
): Promise<void> {
    const file = path.join(folder, "model.safetensors");
    const source = await openSafetensors(file);
    const tensors: TensorData[] = [];
    for (const [name, { dtype, shape }] of source.tensors)
        tensors.push(...change({ name, dtype, shape, data: await source.read(name) }));
    await source.close();
    if (target !== "model.safetensors") rmSync(file);
    await writeSafetensors(path.join(folder, target), tensors);
}

/** Multiplies float32 weights of a folder's `model.safetensors`. */
export async function scaleWeights(folder: string, names: RegExp, factor: number): Promise<void> {
    await rewriteCheckpoint(folder, (tensor) => {
        if (!names.test(tensor.name)) return [tensor];
        const scaled = decodeFloats(tensor.data, "F32").map((x) => x * factor);
        return [{ ...tensor, data: Buffer.from(scaled.buffer, scaled.byteOffset, scaled.byteLength) }];
    });
}
