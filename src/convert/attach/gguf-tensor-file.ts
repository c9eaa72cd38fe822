import type { GgufFile } from "../../formats/gguf/reader.js";
import type { GgmlType, GgufTensorInfo } from "../../formats/gguf/types.js";
import type { TensorInfo } from "../../formats/safetensors/reader.js";
import { type ReadRange, tensorRange } from "../../formats/tensor-range.js";
import { ArmtError, quote } from "../../util/errors.js";
import { decodeWeights, isWeightType } from "../decode-weights.js";
import type { TensorFile } from "../shards.js";

/** A GGUF file's tensors as those of a checkpoint; quantized ones are read as float32. */
export class GgufTensorFile implements TensorFile {
    public readonly tensors: ReadonlyMap<string, TensorInfo>;

    public constructor(private readonly file: GgufFile) {
        const found = [...file.tensors].map(([name, tensor]) => [name, infoOf(file, name, tensor)] as const);
        const tensors = new Map(found);
        for (const [name, tensor] of found) tensors.set(name, { ...tensor, shape: factorShape(name, tensor, tensors) });
        this.tensors = tensors;
    }

    public get path(): string {
        return this.file.path;
    }

    /** @throws {ArmtError} if there is no such tensor, the range is outside it, or its data are damaged */
    public async read(name: string, range?: ReadRange): Promise<Buffer> {
        const { start, end } = tensorRange(this, name, range);
        const { type } = this.file.tensors.get(name)!;
        if (type.blockSize === 1) return this.file.readTensor(name, start, end);
        const size = 4 * type.blockSize;
        const first = Math.floor(start / size);
        const blocks = await this.file.readTensor(
            name,
            first * type.blockBytes,
            Math.ceil(end / size) * type.blockBytes
        );
        const { buffer, byteOffset } = await decodeWeights(blocks, type.name);
        return Buffer.from(buffer, byteOffset + start - first * size, end - start);
    }

    public async close(): Promise<void> {
        await this.file.close();
    }
}

function infoOf(file: GgufFile, name: string, { type, shape, offset, byteLength }: GgufTensorInfo): TensorInfo {
    if (!isWeightType(type.name))
        throw new ArmtError(`${quote(file.path)}: tensor ${quote(name)} is ${type.name}, expected a type for weights`);
    const elements = shape.reduce((product, n) => product * n, 1);
    const isFloat = type.blockSize === 1;
    return {
        dtype: isFloat ? (type.name as Extract<GgmlType, TensorInfo["dtype"]>) : "F32",
        shape: shape.toReversed(),
        offset,
        byteLength: isFloat ? byteLength : 4 * elements
    };
}

/** A LoRA factor B of [outputs · r], whose rows are too short for a quantized type, has the rank of its A. */
function factorShape(name: string, { shape }: TensorInfo, tensors: ReadonlyMap<string, TensorInfo>): number[] {
    const [size = 0] = shape;
    const rank = tensors.get(name.replace(/\.lora_B\.weight$/, ".lora_A.weight"))?.shape[0] ?? 0;
    const isFlat = name.endsWith(".lora_B.weight") && shape.length === 1 && rank > 0 && size % rank === 0;
    return isFlat ? [size / rank, rank] : shape;
}
