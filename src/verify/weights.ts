import type { SourceTensor } from "../convert/checkpoint.js";
import { ArmtError, quote } from "../util/errors.js";
import { type Matrix, type Numbers, readNumbers } from "./numbers.js";

/** Size of the parts in which a matrix is read. Unit: elements. */
const PART_ELEMENTS = 2 ** 24;

/** A checkpoint's own tensors, by their names within the base model (`layers.0.layer.self_attn.q_proj`, …). */
export class PlainWeights {
    public constructor(private readonly tensors: ReadonlyMap<string, SourceTensor>) {}

    public has(name: string): boolean {
        return this.tensors.has(name);
    }

    /** Reads a vector or all elements of a small matrix. */
    public async numbers(name: string): Promise<Numbers> {
        const tensor = this.get(name);
        return readNumbers(await tensor.file.read(tensor.name), tensor.dtype, tensor.name);
    }

    public shape(name: string): readonly number[] {
        return this.get(name).shape;
    }

    public dtype(name: string): string {
        return this.get(name).dtype;
    }

    /** @param transposed whether the weight is [inputs, outputs] */
    public async matrix(name: string, transposed = false): Promise<Matrix> {
        const tensor = this.get(name);
        const [first = 0, second = 0] = tensor.shape;
        const [outputs, inputs] = transposed ? [second, first] : [first, second];
        return { outputs, inputs, values: await this.numbers(name), transposed, lora: await this.lora(tensor) };
    }

    /** Reads a matrix [outputs, inputs] a few rows at a time. */
    public async *parts(name: string): AsyncGenerator<Matrix> {
        const tensor = this.get(name);
        const { file, dtype, byteLength } = tensor;
        const [outputs = 0, inputs = 0] = tensor.shape;
        const lora = await this.lora(tensor);
        const rowBytes = byteLength / outputs;
        const step = Math.max(1, Math.floor(PART_ELEMENTS / inputs));
        for (let row = 0; row < outputs; row += step) {
            const end = Math.min(row + step, outputs);
            const bytes = await file.read(tensor.name, { start: row * rowBytes, end: end * rowBytes });
            yield {
                outputs: end - row,
                inputs,
                values: readNumbers(bytes, dtype, tensor.name),
                transposed: false,
                lora: lora && { ...lora, b: lora.b.subarray(row * lora.rank, end * lora.rank) }
            };
        }
    }

    /** Reads rows of a table and adds adapters: [ids, columns]. */
    public async rows(name: string, ids: readonly number[]): Promise<Float64Array> {
        const tensor = this.get(name);
        const { file, dtype, byteLength } = tensor;
        const [count = 0, columns = 0] = tensor.shape;
        const lora = await this.lora(tensor);
        const rowBytes = byteLength / count;
        const result = new Float64Array(ids.length * columns);
        for (const [i, id] of ids.entries()) {
            const bytes = await file.read(tensor.name, { start: id * rowBytes, end: (id + 1) * rowBytes });
            const row = Float64Array.from(readNumbers(bytes, dtype, tensor.name));
            if (lora !== undefined) {
                // for a table, A is [rank, V] and B [D, rank], as for a matrix that serves as both embedding and output
                for (let d = 0; d < columns; d++)
                    for (let k = 0; k < lora.rank; k++)
                        row[d]! += lora.transposed
                            ? lora.scale * lora.b[d * lora.rank + k]! * lora.a[k * count + id]!
                            : lora.scale * lora.b[id * lora.rank + k]! * lora.a[k * columns + d]!;
            }
            result.set(row, i * columns);
        }
        return result;
    }

    private async lora({ lora }: SourceTensor) {
        if (lora === undefined) return undefined;
        const read = async ({ name, dtype, file }: SourceTensor) => readNumbers(await file.read(name), dtype, name);
        const { rank, scale, transposed } = lora;
        return { a: await read(lora.a), b: await read(lora.b), rank, scale, transposed };
    }

    private get(name: string): SourceTensor {
        const tensor = this.tensors.get(name);
        if (tensor === undefined)
            throw new ArmtError(`the checkpoint has no tensor ${quote(name)} under any of its names`);
        return tensor;
    }
}
