import { ArmtError, quote } from "../../util/errors.js";
import { type Dtype, dtypeSizes } from "../safetensors/dtypes.js";
import { unpickle } from "./pickle.js";
import { PickleGlobal, PickleObject, PickleTuple, type PickleValue } from "./pickle-values.js";

/** A storage of the archive: one run of elements that several tensors may share. */
export class TorchStorage extends PickleObject {
    override readonly kind = "storage";

    constructor(
        /** Name of its entry in the archive's `data` folder. */
        public readonly key: string,
        public readonly dtype: Dtype,
        /** Number of elements. */
        public readonly length: number
    ) {
        super();
    }
}

/** A tensor: a view on a storage. */
export class TorchTensor extends PickleObject {
    override readonly kind = "tensor";

    constructor(
        public readonly storage: TorchStorage,
        /** First element within the storage. */
        public readonly start: number,
        /** Slowest dimension first. */
        public readonly shape: readonly number[],
        /** Elements between neighbouring indices in each dimension. */
        public readonly stride: readonly number[]
    ) {
        super();
    }
}

const storageDtypes: Record<string, Dtype> = {
    FloatStorage: "F32",
    HalfStorage: "F16",
    BFloat16Storage: "BF16",
    DoubleStorage: "F64",
    LongStorage: "I64",
    IntStorage: "I32",
    ShortStorage: "I16",
    CharStorage: "I8",
    ByteStorage: "U8",
    BoolStorage: "BOOL"
};

const ORDERED_DICT = "collections OrderedDict";
const REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2";
const REBUILD_PARAMETER = "torch._utils _rebuild_parameter";
const SIZE = "torch Size";

const allowedGlobals = new Set([
    ORDERED_DICT,
    REBUILD_TENSOR,
    REBUILD_PARAMETER,
    SIZE,
    ...Object.keys(storageDtypes).map((name) => `torch ${name}`)
]);

/**
 * Kinds of objects that trainers save with the weights: numbers of numpy (a best score), the run's arguments, devices,
 * types. They are dropped: nothing that such a name means in Python is loaded or called.
 */
const opaqueGlobals = new Set([
    "numpy dtype",
    "numpy ndarray",
    ...["numpy.core.multiarray", "numpy._core.multiarray"].flatMap((module) => [
        `${module} scalar`,
        `${module} _reconstruct`
    ]),
    "_codecs encode",
    "argparse Namespace",
    "pathlib PosixPath",
    "torch device",
    ...["float32", "float16", "bfloat16", "float64", "int64"].map((type) => `torch ${type}`)
]);

/** Keys of a trainer's file that hold the model's state dict, in the order of preference. */
const modelKeys = ["model_state_dict", "state_dict", "module", "model"];

/**
 * Reads a state dict from torch's pickle without running anything: the dictionary itself, or the one that a trainer
 * saved with its optimizer's.
 * @returns the tensors by name; entries that are no tensors (a step count, say) are left out
 */
export function parseStateDict(pickle: Buffer): Map<string, TorchTensor> {
    const top = unpickle(pickle, { globals: allowedGlobals, opaque: opaqueGlobals, call, load });
    if (!(top instanceof Map)) throw new ArmtError("its pickle has no dictionary of tensors");
    const tensors = tensorsOf(top);
    if (tensors.size > 0) return tensors;
    for (const key of modelKeys) {
        const inner = top.get(key);
        const found = inner instanceof Map ? tensorsOf(inner) : undefined;
        if (found !== undefined && found.size > 0) return found;
    }
    const keys = [...top.keys()].filter((key) => typeof key === "string");
    throw new ArmtError(
        `its pickle holds no tensors at its top level or under ${modelKeys.map((key) => `\`${key}\``).join(", ")} ` +
            `(its keys: ${keys.slice(0, 6).map(quote).join(", ") || "none"}); save the state dict itself`
    );
}

function tensorsOf(dictionary: ReadonlyMap<PickleValue, PickleValue>): Map<string, TorchTensor> {
    const tensors = new Map<string, TorchTensor>();
    for (const [name, value] of dictionary) {
        if (typeof name === "string" && value instanceof TorchTensor) tensors.set(name, value);
    }
    return tensors;
}

function call(name: string, args: readonly PickleValue[]): PickleValue {
    switch (name) {
        case ORDERED_DICT:
            return orderedDict(args);
        case SIZE:
            return args[0] ?? null;
        case REBUILD_PARAMETER:
            return args[0] ?? null;
        case REBUILD_TENSOR:
            return rebuildTensor(args);
        default:
            throw new ArmtError(`the pickle calls ${quote(name.replace(" ", "."))}; refused, nothing was run`);
    }
}

function orderedDict(args: readonly PickleValue[]): PickleValue {
    const [pairs] = args;
    const result = new Map<PickleValue, PickleValue>();
    if (pairs === undefined) return result;
    const items = pairs instanceof PickleTuple ? pairs.items : pairs;
    if (!Array.isArray(items)) throw new ArmtError("bad pickle: an OrderedDict of no list");
    for (const item of items) {
        const pair = item instanceof PickleTuple ? item.items : item;
        if (!Array.isArray(pair) || pair.length !== 2) throw new ArmtError("bad pickle: an OrderedDict of no pairs");
        result.set(pair[0], pair[1]);
    }
    return result;
}

function rebuildTensor(args: readonly PickleValue[]): TorchTensor {
    const [storage, start, shape, stride] = args;
    const sizes = counts(shape);
    const steps = counts(stride);
    if (!(storage instanceof TorchStorage) || !isCount(start) || sizes === undefined || steps?.length !== sizes.length)
        throw new ArmtError("bad pickle: wrong arguments of _rebuild_tensor_v2");
    if (!sizes.includes(0)) {
        const last = sizes.reduce((offset, n, i) => offset + (n - 1) * steps[i]!, start);
        if (!Number.isSafeInteger(last) || last >= storage.length)
            throw new ArmtError(
                `bad pickle: a tensor [${sizes.join(", ")}] goes beyond storage ${quote(storage.key)} of ` +
                    `${storage.length} elements`
            );
    }
    return new TorchTensor(storage, start, sizes, steps);
}

function load(id: PickleValue): TorchStorage {
    const [tag, type, key, , length] = id instanceof PickleTuple ? id.items : [];
    if (tag !== "storage" || !(type instanceof PickleGlobal) || typeof key !== "string" || !isCount(length))
        throw new ArmtError("bad pickle: a persistent id that is no storage");
    const dtype = storageDtypes[type.name.slice("torch ".length)];
    if (dtype === undefined) throw new ArmtError(`bad pickle: ${quote(type.name)} is no storage type`);
    if (!Number.isSafeInteger(length * dtypeSizes[dtype]))
        throw new ArmtError("bad pickle: a storage beyond all files");
    return new TorchStorage(key, dtype, length);
}

function counts(value: PickleValue | undefined): readonly number[] | undefined {
    const items = value instanceof PickleTuple ? value.items : value;
    return Array.isArray(items) && items.every(isCount) ? items : undefined;
}

function isCount(value: PickleValue | undefined): value is number {
    return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
