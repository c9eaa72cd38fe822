import { ArmtError, quote } from "../../util/errors.js";
import type { ArmtConfig } from "../armt-config.js";
import type { BaseConfig } from "../base-config.js";
import type { Checkpoint } from "../checkpoint.js";
import { Q8_0_BLOCK, type TargetType } from "../float-encode.js";
import type { MemorySizes, PlannedTensor } from "../layout.js";

const kinds = ["W_mq.weight", "W_mk.weight", "W_mv.weight", "W_mb.weight", "W_mb.bias"] as const;

/** Tensors that ARMT adds to a base model. */
export type MemoryTensors = { tensors: PlannedTensor[]; sizes: MemorySizes };

/** The variant, from the shapes of ARMT's tensors. */
export function memoryHints({ tensors }: Checkpoint, { hiddenSize }: BaseConfig): Partial<ArmtConfig> {
    const betaCount = tensors.get("layers.0.W_mb.weight")?.shape[0];
    if (betaCount === undefined || betaCount < 1) return {};
    return betaCount === hiddenSize ? { gating: true } : { headCount: betaCount };
}

/** Plans ARMT's own tensors for a base model.
 * @param type of the memory's matrices
 * @throws {ArmtError} that names a tensor that is missing, of the base, or of a shape that doesn't fit
 */
export function planMemoryTensors(
    { tensors: sources }: Checkpoint,
    base: BaseConfig,
    armt: ArmtConfig,
    type: TargetType
): MemoryTensors {
    const { hiddenSize, layerCount } = base;
    const source = (canonical: string) => {
        const tensor = sources.get(canonical);
        if (tensor === undefined)
            throw new ArmtError(`the memory file has no tensor ${quote(canonical)} under any of its names`);
        return tensor;
    };
    const take = (canonical: string, shape: readonly number[], why: string) => {
        const tensor = source(canonical);
        if (tensor.shape.join() !== shape.join())
            throw new ArmtError(
                `tensor ${quote(tensor.name)} is [${tensor.shape.join(", ")}], expected [${shape.join(", ")}] (${why})`
            );
        return { tensor };
    };
    for (const [canonical, { name }] of sources) {
        const [, layer, kind] = /^layers\.(\d+)\.(.+)$/.exec(canonical) ?? [];
        if (canonical === "memory" || canonical === "sink") continue;
        if (!kinds.some((known) => known === kind))
            throw new ArmtError(
                `tensor ${quote(name)} belongs to the base model; give a file with ARMT's own tensors only. If ` +
                    "the base was trained too, convert the whole checkpoint (armt convert)"
            );
        if (Number(layer) >= layerCount)
            throw new ArmtError(
                `tensor ${quote(name)} belongs to a layer that the base model, with ${layerCount} layers, does not have`
            );
    }
    const memoryTokens = rowsOf(source("memory"), armt.memoryTokens, "num_mem_tokens");
    const memoryKeySize = rowsOf(source("layers.0.W_mq.weight"), armt.memoryKeySize, "d_mem");
    if (memoryKeySize % armt.headCount !== 0 || hiddenSize % armt.headCount !== 0 || memoryKeySize === armt.headCount)
        throw new ArmtError(
            `n_heads is ${armt.headCount}, which doesn't divide d_mem (${memoryKeySize}) and the base's width ` +
                `(${hiddenSize}) into heads of more than one number`
        );
    const sinkCount = sources.has("sink") ? 1 : 0;
    if (armt.sink !== undefined && armt.sink !== sinkCount > 0)
        throw new ArmtError(
            `\`use_sink\` is ${armt.sink}, but the memory file has ${sinkCount > 0 ? "a" : "no"} tensor "sink"`
        );
    const betaCount = armt.gating ? hiddenSize : armt.headCount;
    const width = `the base's width is ${hiddenSize}`;
    // the engine takes memory tokens and β's projection in 16 bits at least
    const wide = type === "Q8_0" ? "F16" : type;
    const matrixType = hiddenSize % Q8_0_BLOCK === 0 ? type : wide;
    const stack = (
        kind: string,
        part: (typeof kinds)[number],
        shape: readonly number[],
        why: string,
        stored = matrixType
    ): PlannedTensor => ({
        name: `blk.0.${kind}`,
        type: stored,
        shape: [...shape.toReversed(), layerCount],
        contents: Array.from({ length: layerCount }, (_, il) => take(`layers.${il}.${part}`, shape, why))
    });
    const keys = `d_mem is ${memoryKeySize}, ${width}`;
    const betas = `${armt.gating ? "gating" : `n_heads is ${armt.headCount}`}, ${width}`;
    return {
        sizes: { memoryTokens, memoryKeySize, sinkCount },
        tensors: [
            {
                name: "memory_embd.weight",
                type: wide,
                shape: [hiddenSize, memoryTokens + sinkCount],
                contents: [
                    take("memory", [memoryTokens, hiddenSize], width),
                    ...(sinkCount > 0 ? [take("sink", [1, hiddenSize], width)] : [])
                ]
            },
            stack("memory_q.weight", "W_mq.weight", [memoryKeySize, hiddenSize], keys),
            stack("memory_k.weight", "W_mk.weight", [memoryKeySize, hiddenSize], keys),
            stack("memory_v.weight", "W_mv.weight", [hiddenSize, hiddenSize], width),
            stack("memory_b.weight", "W_mb.weight", [betaCount, hiddenSize], betas, wide),
            stack("memory_b.bias", "W_mb.bias", [betaCount], betas, "F32")
        ]
    };
}

function rowsOf(
    { name, shape }: { name: string; shape: readonly number[] },
    expected: number | undefined,
    key: string
): number {
    const [rows = 0] = shape;
    if (rows < 1 || (expected !== undefined && rows !== expected))
        throw new ArmtError(
            `tensor ${quote(name)} is [${shape.join(", ")}], expected ${expected ?? "some"} rows (\`${key}\`)`
        );
    return rows;
}
