import { rmSync } from "node:fs";
import path from "node:path";
import { openSafetensors } from "../../src/formats/safetensors/reader.js";
import { type TensorData, writeSafetensors } from "../../src/formats/safetensors/writer.js";

/** A tensor of a checkpoint that is being changed, its bytes at hand. */
export type LoadedTensor = TensorData & { data: Buffer };

/**
 * Writes a folder's `model.safetensors` again with each tensor replaced by those that `change` gives for it.
 * @param target the file to write. Default: the same
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
