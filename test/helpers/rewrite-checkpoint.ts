import { rmSync } from "node:fs";
import path from "node:path";
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
