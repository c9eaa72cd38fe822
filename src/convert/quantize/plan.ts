import type { GgufFile } from "../../formats/gguf/reader.js";
import type { GgmlType, GgufTensorInfo } from "../../formats/gguf/types.js";
import { ArmtError, quote } from "../../util/errors.js";
import { fitting, isWideType, type MemoryType, type QuantizedType, type QuantizeTarget, typeOf } from "./mixtures.js";

/** A tensor of the file to write: rows of one tensor of the file that is read. */
export interface PlannedTensor {
    readonly name: string;
    readonly type: GgmlType;
    /** ggml's order: fastest dimension first. */
    readonly shape: readonly number[];
    /** Name in the file that is read. */
    readonly source: string;
    /** Rows of the source. */
    readonly firstRow: number;
    readonly rows: number;
}

const stackName = /^blk\.(\d+)\.(.+)\.weight$/;
/** Products with the memory; β's is as small as a bias and stays. */
const memoryProjections: ReadonlySet<string> = new Set(["memory_q", "memory_k", "memory_v"]);
/** Matrices that keep their type whatever the mixture. */
const kept: ReadonlySet<string> = new Set(["memory_b", "memory_embd", "position_embd"]);

export interface PlanOptions {
    target: QuantizeTarget;
    /** Type of the memory's projections. */
    memory: MemoryType;
    /** Accept q8_0 weights as input. */
    requantize: boolean;
}

/**
 * Plans every tensor of the quantized file. Layers of a stack that get different types become stacks of their own,
 * which the engine batches apart.
 * @throws {ArmtError} for a file that is quantized already
 */
export function planTensors(
    file: GgufFile,
    layerCount: number,
    { target: wanted, memory, requantize }: PlanOptions
): PlannedTensor[] {
    const tied = !file.tensors.has("output.weight");
    return [...file.tensors].flatMap(([name, tensor]) => {
        const [, first = "0", kind = name.replace(/\.weight$/, "")] = stackName.exec(name) ?? [];
        const isStack = stackName.test(name);
        const layers = isStack ? tensor.shape.slice(2).reduce((product, n) => product * n, 1) : 1;
        const rowLength = tensor.shape[0]!;
        const target = (layer: number): GgmlType => {
            if (!isMatrix(name, tensor) || kept.has(kind)) return tensor.type.name;
            checkSource(file, name, tensor, requantize);
            if (memoryProjections.has(kind)) return memoryTypeOf(memory, rowLength);
            if (isWideType(wanted)) return wanted.toUpperCase() as GgmlType;
            return wholeBlocks(typeOf(wanted, kind, { layer, layerCount, tied, rowLength }), rowLength, tensor);
        };
        if (!isStack || !isMatrix(name, tensor)) {
            const rows = tensor.shape.slice(1).reduce((product, n) => product * n, 1);
            return [{ name, type: target(0), shape: tensor.shape, source: name, firstRow: 0, rows }];
        }
        return runs(Number(first), layers, target).map(({ layer, count, type }) => ({
            name: `blk.${layer}.${kind}.weight`,
            type,
            shape: [rowLength, tensor.shape[1]!, count],
            source: name,
            firstRow: (layer - Number(first)) * tensor.shape[1]!,
            rows: count * tensor.shape[1]!
        }));
    });
}

/** Norms, biases and RoPE factors are vectors, one a layer. */
function isMatrix(name: string, { shape }: GgufTensorInfo): boolean {
    return name.endsWith(".weight") && !/norm\.weight$|^rope_freqs\./.test(name) && shape.length >= 2;
}

function checkSource(file: GgufFile, name: string, { type }: GgufTensorInfo, requantize: boolean): void {
    if (type.name === "F32" || type.name === "F16" || type.name === "BF16") return;
    if (type.name === "Q8_0" && requantize) return;
    const remedy = type.name === "Q8_0" ? ", or round twice with --requantize" : "";
    throw new ArmtError(
        `${quote(file.path)} is quantized already: tensor ${quote(name)} is ${type.name}; start from a file with ` +
            `f16, bf16 or f32 weights${remedy}`
    );
}

function memoryTypeOf(memory: MemoryType, rowLength: number): GgmlType {
    const type = memory.toUpperCase() as GgmlType;
    if (type === "F32" || type === "F16" || type === "BF16") return type;
    return rowLength % 32 === 0 ? fitting(type as QuantizedType, rowLength) : "F16";
}

/** Rows that are no whole number of blocks at all stay as they are. */
function wholeBlocks(type: QuantizedType, rowLength: number, tensor: GgufTensorInfo): GgmlType {
    return rowLength % 32 === 0 ? type : tensor.type.name;
}

function runs(
    first: number,
    count: number,
    target: (layer: number) => GgmlType
): { layer: number; count: number; type: GgmlType }[] {
    const found: { layer: number; count: number; type: GgmlType }[] = [];
    for (let layer = first; layer < first + count; layer++) {
        const type = target(layer);
        const last = found.at(-1);
        if (last?.type === type) last.count++;
        else found.push({ layer, count: 1, type });
    }
    return found;
}
