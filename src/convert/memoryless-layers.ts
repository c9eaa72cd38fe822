import { ArmtError, quote } from "../util/errors.js";
import type { SourceTensor } from "./checkpoint.js";

const kinds = ["W_mq.weight", "W_mk.weight", "W_mv.weight", "W_mb.weight", "W_mb.bias"] as const;

/** No wrapper adds `layer.` to the names of layers without a memory. */
function withLayerNames(
    tensors: ReadonlyMap<string, SourceTensor>,
    layersWithMemory: readonly boolean[]
): Map<string, SourceTensor> {
    return new Map(
        [...tensors].map(([name, tensor]) => {
            const layer = /^layers\.(\d+)\.(?!layer\.|W_m)/.exec(name)?.[1];
            const isBare = layer !== undefined && layersWithMemory[Number(layer)] === false;
            return [isBare ? name.replace(/^(layers\.\d+\.)/, "$1layer.") : name, tensor];
        })
    );
}

/**
 * Gives layers without a memory (`wrap_layers`) matrices of zeros. Their memory then stays empty, and a read adds
 * nothing, so the result is exactly that of a layer without one.
 * @throws {ArmtError} that names a tensor that contradicts `wrap_layers`, or the list if it has the wrong length
 */
export function addMemorylessLayers(
    tensors: ReadonlyMap<string, SourceTensor>,
    layersWithMemory: readonly boolean[] | undefined,
    layerCount: number
): ReadonlyMap<string, SourceTensor> {
    if (layersWithMemory === undefined) {
        checkAllHaveMemory(tensors, layerCount);
        return tensors;
    }
    if (layersWithMemory.length !== layerCount)
        throw new ArmtError(
            `\`wrap_layers\` has ${layersWithMemory.length} entries, but the model has ${layerCount} layers`
        );
    const model = layersWithMemory.indexOf(true);
    if (model < 0)
        throw new ArmtError("`wrap_layers` is false for all layers: a model without memory is not an ARMT model");
    const all = withLayerNames(tensors, layersWithMemory);
    for (const [layer, hasMemory] of layersWithMemory.entries()) {
        if (hasMemory) continue;
        for (const kind of kinds) {
            const own = tensors.get(`layers.${layer}.${kind}`);
            if (own !== undefined)
                throw new ArmtError(
                    `\`wrap_layers\` says that layer ${layer} has no memory, but the checkpoint has the tensor ` +
                        quote(own.name)
                );
            const like = tensors.get(`layers.${model}.${kind}`);
            // the layout reports what is missing
            if (like !== undefined) all.set(`layers.${layer}.${kind}`, zerosLike(like, `layers.${layer}.${kind}`));
        }
    }
    return all;
}

/** A checkpoint that lacks tensors by mistake looks like one without memory in some layers, so it has to say which. */
function checkAllHaveMemory(tensors: ReadonlyMap<string, SourceTensor>, layerCount: number): void {
    const has = Array.from({ length: layerCount }, (_, layer) => tensors.has(`layers.${layer}.W_mq.weight`));
    const without = has.flatMap((own, layer) => (own ? [] : [layer]));
    if (without.length === 0 || without.length === layerCount) return;
    // the layout reports layers that are missing as a whole
    const stems = new Set([...tensors.keys()].map((name) => /^layers\.\d+\./.exec(name)?.[0]));
    if (without.some((layer) => !stems.has(`layers.${layer}.`))) return;
    const list = JSON.stringify(has).replaceAll(",", ", ");
    throw new ArmtError(
        `no tensor W_mq.weight in layer ${without.join(", ")}, but in others: the file is incomplete, or these ` +
            `layers have no memory; if so, write \`"wrap_layers": ${list}\` into armt_config.json`
    );
}

function zerosLike({ dtype, shape, byteLength, file }: SourceTensor, name: string): SourceTensor {
    const zeros = { dtype, shape, byteLength, offset: 0 };
    return {
        ...zeros,
        name,
        file: {
            path: file.path,
            tensors: new Map([[name, zeros]]),
            read: (_name, { start = 0, end = byteLength } = {}) => Promise.resolve(Buffer.alloc(end - start)),
            close: () => Promise.resolve()
        }
    };
}
