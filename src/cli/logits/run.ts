import type { ArmtSequence, Token } from "../../../plugin/index.js";
import { type TensorData, writeSafetensors } from "../../formats/safetensors/writer.js";
import { openModel } from "../../model/open-model.js";
import { checkTokenIds, readTokenIds } from "../../model/token-ids.js";
import { withoutMemory } from "../../model/without-memory.js";
import { createProgressBar, type ProgressBar } from "../../util/progress.js";
import type { LogitsOptions } from "./options.js";

/**
 * Writes the logits of every position, batch by batch, so that those of a long prompt are never all in memory at once.
 */
export async function writeLogits(options: LogitsOptions, signal: AbortSignal): Promise<void> {
    const ids = (await readTokenIds(options.tokens)) as Token[];
    const { llama, model, file, vocabSize, createContext } = await openModel(options);
    const bar = createProgressBar("computing logits");
    try {
        checkTokenIds(ids, vocabSize);
        if (model.armt === undefined) throw withoutMemory(file);
        const context = await createContext();
        const { armt } = context.getSequence();
        if (armt === undefined) throw withoutMemory(file);
        const tensors: TensorData[] = [
            { name: "logits", dtype: "F32", shape: [ids.length, vocabSize], data: logits(armt, ids, bar, signal) }
        ];
        if (options.memory) tensors.push(...memoryTensors(armt, model.armt.layers));
        await writeSafetensors(options.out, tensors);
    } finally {
        bar.stop();
        await llama.dispose();
    }
}

async function* logits(
    armt: ArmtSequence,
    ids: readonly Token[],
    bar: ProgressBar,
    signal: AbortSignal
): AsyncGenerator<Float32Array, void, void> {
    for await (const rows of armt.evaluateLogits(ids)) {
        signal.throwIfAborted();
        yield rows;
        bar.update(armt.tokens, ids.length);
    }
}

/** The tensors are written in this order, so the first one's data is read after all logits have been computed. */
function memoryTensors(armt: ArmtSequence, layers: number): TensorData[] {
    const { memoryHeads, keyLength, valueLength, useDenom } = armt.context.memoryShape;
    // the authors' files have no dimension for a single head
    const heads = memoryHeads === 1 ? [] : [memoryHeads];
    const tensors: TensorData[] = [];
    for (let layer = 0; layer < layers; layer++) {
        const shape = [...heads, keyLength, valueLength];
        tensors.push({ name: `W_mem.${layer}`, dtype: "F32", shape, data: memory(armt, layer, "a") });
        if (useDenom)
            tensors.push({
                name: `z.${layer}`,
                dtype: "F32",
                shape: shape.slice(0, -1),
                data: memory(armt, layer, "z")
            });
    }
    return tensors;
}

async function* memory(armt: ArmtSequence, layer: number, part: "a" | "z"): AsyncGenerator<Float32Array, void, void> {
    // has no effect after the first call
    await armt.closeSegment();
    const values = (await armt.readMemory(layer))[part];
    if (values !== undefined) yield values;
}
