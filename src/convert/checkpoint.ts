import type { Dtype, TensorInfo } from "../formats/safetensors/reader.js";
import { ArmtError, quote } from "../util/errors.js";
import { adapterRole, LoraConfig, type LoraUpdate } from "./lora/lora.js";
import { canonicalName } from "./names.js";
import { closeAll, openWeightFiles, type TensorFile } from "./shards.js";

/** A weight of the checkpoint, wherever it lies. */
export type SourceTensor = TensorInfo & {
    /** Its name in the file. */
    name: string;
    file: TensorFile;
    /** What an adapter adds to it. */
    lora?: LoraUpdate<SourceTensor>;
};

export type CheckpointOptions = {
    /** Default: nothing is known, so that a checkpoint with an adapter is refused. */
    lora?: LoraConfig;
    /** Whether a weight is `[inputs, outputs]`, by its canonical name. Default: none is. */
    isTransposed?: (canonical: string) => boolean;
    /** Take updates of weights that the files lack. Default: `false`. */
    adapterAlone?: boolean;
};

type Factors = { a?: SourceTensor; b?: SourceTensor; adapter: string; embedding: boolean };

/** Bytes compared at once. */
const COMPARE_BYTES = 4 * 2 ** 20;

/** The weights of a checkpoint folder by the names of `canonicalName`. */
export class Checkpoint {
    private constructor(
        public readonly tensors: ReadonlyMap<string, SourceTensor>,
        /** Updates of weights that the files lack, by the weights' names. */
        public readonly adapters: ReadonlyMap<string, LoraUpdate<SourceTensor>>,
        private readonly files: readonly TensorFile[]
    ) {}

    /**
     * @param location the folder, or one of its files that holds the weights
     * @throws {ArmtError} that names the file or tensor at fault
     */
    public static async open(location: string, options: CheckpointOptions = {}): Promise<Checkpoint> {
        const files = await openWeightFiles(location);
        try {
            return await Checkpoint.fromFiles(files, options);
        } catch (error) {
            await closeAll(files);
            throw error;
        }
    }

    /**
     * The same from open files, which belong to the checkpoint unless this throws.
     * @throws {ArmtError} that names the tensor at fault
     */
    public static async fromFiles(files: readonly TensorFile[], options: CheckpointOptions = {}): Promise<Checkpoint> {
        const tensors = new Map<string, SourceTensor>();
        const factors = new Map<string, Factors>();
        for (const file of files) {
            for (const [name, info] of file.tensors) {
                const role = adapterRole(name);
                const canonical = role === undefined ? undefined : canonicalName(role.name, name);
                if (role === undefined || canonical === undefined) continue;
                const tensor = { ...info, name, file };
                if (role.role === "weight") {
                    tensors.set(canonical, await onlyOne(tensors.get(canonical), tensor));
                    continue;
                }
                const { adapter, embedding } = role;
                const pair: Factors = factors.get(canonical) ?? { adapter, embedding };
                factors.set(canonical, pair);
                if (pair.adapter !== adapter)
                    throw new ArmtError(
                        `tensor ${quote(name)} belongs to the adapter ${quote(adapter)}, but there is another, ` +
                            `${quote(pair.adapter)}: save the state dict with one adapter, or merge them`
                    );
                const part = role.role === "A" ? "a" : "b";
                pair[part] = await onlyOne(pair[part], tensor);
            }
        }
        const adapters = new Map<string, LoraUpdate<SourceTensor>>();
        for (const [canonical, pair] of factors) {
            const weight = tensors.get(canonical);
            const lora = updateOf(canonical, pair, weight, options);
            if (weight === undefined) adapters.set(canonical, lora);
            else tensors.set(canonical, { ...weight, lora });
        }
        return new Checkpoint(tensors, adapters, files);
    }

    /** Weights that an adapter adds to. */
    public get loraCount(): number {
        return [...this.tensors.values()].filter(({ lora }) => lora !== undefined).length;
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

/** Two names of one tensor must hold the same data. */
async function onlyOne(other: SourceTensor | undefined, tensor: SourceTensor): Promise<SourceTensor> {
    if (other === undefined) return tensor;
    if (await sameContents(other, tensor)) return other;
    throw new ArmtError(
        `${quote(other.name)} and ${quote(tensor.name)} are two names of one tensor, but their contents differ`
    );
}

/** What an adapter's factors add to a weight. */
function updateOf(
    canonical: string,
    { a, b, embedding }: Factors,
    weight: SourceTensor | undefined,
    { lora = new LoraConfig(undefined), isTransposed, adapterAlone = false }: CheckpointOptions
): LoraUpdate<SourceTensor> {
    const name = (a ?? b)!.name;
    if (a === undefined || b === undefined)
        throw new ArmtError(`tensor ${quote(name)} has no lora_${a === undefined ? "A" : "B"} next to it`);
    if (weight === undefined && !adapterAlone)
        throw new ArmtError(
            `tensor ${quote(name)} is an update of a weight that the checkpoint lacks: an adapter alone is not a ` +
                "model; merge it into its base in PyTorch"
        );
    const transposed = embedding || isTransposed?.(canonical) === true;
    const [rank = 0, inputs = 0] = a.shape;
    const outputs = b.shape[0] ?? 0;
    const expected = transposed ? [inputs, outputs] : [outputs, inputs];
    if (rank < 1 || a.shape.length !== 2 || b.shape.length !== 2 || b.shape[1] !== rank)
        throw new ArmtError(
            `tensors ${quote(a.name)} [${a.shape.join(", ")}] and ${quote(b.name)} [${b.shape.join(", ")}] have ` +
                "no product"
        );
    if (weight !== undefined && weight.shape.join() !== expected.join())
        throw new ArmtError(
            `tensor ${quote(weight.name)} is [${weight.shape.join(", ")}], its LoRA update [${expected.join(", ")}]`
        );
    return { a, b, rank, scale: lora.scaleOf(weight?.name ?? canonical, rank), transposed };
}

/** Whether two tensors hold the same bytes; those on one storage need no look. */
export async function sameContents(a: SourceTensor, b: SourceTensor): Promise<boolean> {
    // of two weights that share their storage, an adapter changes one
    if ((a.lora === undefined) !== (b.lora === undefined)) return false;
    if (a.dtype !== b.dtype || a.shape.join() !== b.shape.join()) return false;
    if (a.file === b.file && a.offset === b.offset) return true;
    for (let start = 0; start < a.byteLength; start += COMPARE_BYTES) {
        const range = { start, end: Math.min(start + COMPARE_BYTES, a.byteLength) };
        const [left, right] = await Promise.all([a.file.read(a.name, range), b.file.read(b.name, range)]);
        if (!left.equals(right)) return false;
    }
    return true;
}
