import type { Dtype, TensorInfo } from "../safetensors/reader.js";
import { ArmtError, quote } from "../util/errors.js";
import { canonicalName } from "./names.js";
import { closeAll, openWeightFiles, type TensorFile } from "./shards.js";

/** A weight of the checkpoint, wherever it lies. */
export type SourceTensor = TensorInfo & {
    /** Its name in the file. */
    name: string;
    file: TensorFile;
};

/** Bytes compared at once. */
const COMPARE_BYTES = 4 * 2 ** 20;

/** The weights of a checkpoint folder by the names of `canonicalName`. */
export class Checkpoint {
    private constructor(
        public readonly tensors: ReadonlyMap<string, SourceTensor>,
        private readonly files: readonly TensorFile[]
    ) {}

    /** @throws {ArmtError} that names the file or tensor at fault */
    public static async open(folder: string): Promise<Checkpoint> {
        const files = await openWeightFiles(folder);
        try {
            const tensors = new Map<string, SourceTensor>();
            for (const file of files) {
                for (const [name, info] of file.tensors) {
                    const canonical = canonicalName(name);
                    if (canonical === undefined) continue;
                    const tensor = { ...info, name, file };
                    const other = tensors.get(canonical);
                    if (other === undefined) tensors.set(canonical, tensor);
                    else if (!(await sameContents(other, tensor)))
                        throw new ArmtError(
                            `${quote(other.name)} and ${quote(name)} are names of one tensor, but their contents differ`
                        );
                }
            }
            return new Checkpoint(tensors, files);
        } catch (error) {
            await closeAll(files);
            throw error;
        }
    }

    /** The one 16-bit float type of all matrices, if there is one. */
    public get halfType(): Dtype | undefined {
        const types = new Set(
            [...this.tensors.values()].filter(({ shape }) => shape.length > 1).map(({ dtype }) => dtype)
        );
        const [first] = types;
        return types.size === 1 && (first === "F16" || first === "BF16") ? first : undefined;
    }

    public async close(): Promise<void> {
        await closeAll(this.files);
    }
}

/** Whether two tensors hold the same bytes; those on one storage need no look. */
export async function sameContents(a: SourceTensor, b: SourceTensor): Promise<boolean> {
    if (a.dtype !== b.dtype || a.shape.join() !== b.shape.join()) return false;
    if (a.file === b.file && a.offset === b.offset) return true;
    for (let start = 0; start < a.byteLength; start += COMPARE_BYTES) {
        const range = { start, end: Math.min(start + COMPARE_BYTES, a.byteLength) };
        const [left, right] = await Promise.all([a.file.read(a.name, range), b.file.read(b.name, range)]);
        if (!left.equals(right)) return false;
    }
    return true;
}
