import type { ArmtMemoryStore } from "./memory/ArmtMemoryStore.js";
import type { NativeContextOptions } from "./native/addon.js";
import { precisions, products, schedules, segmentOverflows, stateTypes } from "./native/enums.js";
import type {
    ArmtPrecision,
    ArmtProduct,
    ArmtProgress,
    ArmtSchedule,
    ArmtSegmentOverflow,
    ArmtStateType
} from "./types.js";

/** Default of `schedule`. */
export const defaultSchedule: ArmtSchedule = "auto";

/** Default of `stateType`. */
export const defaultStateType: ArmtStateType = "f32";

/** Default of `precision`. */
export const defaultPrecision: ArmtPrecision = "auto";

/** Options of `model.createContext({armt: …})`. */
export interface ArmtContextOptions {
    /**
     * Order in which the cells (layer, segment) of a prompt are computed. `"sequential"`: one segment after another.
     * `"diagonal"`: all cells with the same layer + segment in one graph. `"auto"`: the diagonal on a GPU, else the
     * sequential schedule. A CPU with packed weights always takes the sequential one. Default: `"auto"`. The results
     * agree; speed and working memory differ. Throws `TypeError` for any other value. Source: Diagonal Batching, arXiv
     * 2506.05229.
     */
    schedule?: ArmtSchedule;

    /**
     * Number of text tokens in a segment; the model's memory tokens come on top. Unit: tokens, from 1. Default: the
     * size that the model was trained with (GGUF key `armt.segment_size`). Other sizes work, but recall may suffer.
     * Throws `RangeError` outside the range. Source: arXiv 2407.04841.
     */
    segmentSize?: number;

    /**
     * What happens when the open segment is full and more tokens come. `"close"`: it is written to memory, and the next
     * one is opened. The text has no length limit. `"answer"`: texts are read like that, but while the model generates,
     * the open segment grows, up to `openSegmentLimit`. When other tokens follow, or the limit is reached, it is read
     * again and closed like any text, so that what a sequence holds depends on its tokens alone. `"extend"`: it grows
     * up to `openSegmentLimit` from the first token on whose logits are requested, as in the authors' code, and more
     * is an error. Default: `"answer"` if the model was trained to answer inside the open segment (GGUF key
     * `armt.ask.close` is false), else `"close"`. Models whose segments go back into the segment before, whose
     * positions run on, or whose prompts are not cut from the left, cannot grow one; `"answer"` is `"close"` for them.
     * Throws `TypeError` for any other value.
     */
    segmentOverflow?: ArmtSegmentOverflow;

    /**
     * Number of tokens that an open segment can hold with `segmentOverflow: "extend"` or `"answer"`. Unit: tokens, from
     * the segment size. Default: segment size + 2048. The context allocates the K/V cache for it, so memory use grows
     * with it. Throws `RangeError` outside the range, and `TypeError` with `segmentOverflow: "close"`.
     */
    openSegmentLimit?: number;

    /**
     * Number of cells that the diagonal schedule computes in one product; limits its working memory. Unit: cells, from
     * 1. Default: chosen by the engine. Throws `RangeError` outside the range.
     */
    maxCells?: number;

    /**
     * Number of sequences whose segments enter the diagonal together. The diagonal schedule then computes the texts of
     * all sequences in one pipeline: a text's first segment follows another text's last one at once. Working memory
     * grows with this number. 0: each sequence has a pipeline of its own. Unit: sequences, from 0 to 64. Default: 1.
     * Without effect on the sequential schedule, on several devices, with one sequence, and on models whose cells need
     * more of the segment before than the memory. Throws `RangeError` outside the range. More: docs/performance.md.
     */
    textsPerLayer?: number;

    /**
     * Number type in which A and z are kept from one segment to the next; `"f16"` and `"bf16"` halve the memory. The
     * computation itself is in float32, so each segment rounds once, and the errors add up over a text. `f16` holds
     * numbers up to 65,504. If a memory exceeds that, the evaluation fails with an `ArmtEvalError`; this happens with
     * trained models, so prefer `bf16`. Default: `"f32"`. States and snapshots only fit contexts of the same type.
     * Throws `TypeError` for any other value. Measurements: docs/performance.md.
     */
    stateType?: ArmtStateType;

    /**
     * How the matrices of the base model's layers are multiplied. `"fp8"`: both operands are rounded to 8-bit floats
     * (e4m3), each row with a scale of its own, in steps of 32 rows and more. Reading is faster then, and results are
     * less exact. The memory and its projections never change. The context keeps a second copy of these matrices, with
     * one byte for each number. Matrices stay as they are if the length of a row is not divisible by 16 or is above
     * 16,384, and if they are stored in f32. `"auto"`: as the backend does for the type of the weights. Default:
     * `"auto"`. Throws `TypeError` for any other value. Creating a context fails unless all layers are on the backend
     * of `armt build --gpu cuda --tuned` and on GPUs of compute capability 8.9 or newer. More: docs/gpu.md.
     */
    precision?: ArmtPrecision;

    /**
     * The products that `precision: "fp8"` is for, some of `["qkv", "o", "gate_up", "down"]`; the others stay as with
     * `"auto"`. Default: all but `"o"`, which gains no time. Throws `TypeError` for another name, an empty list, and
     * without `precision: "fp8"`.
     */
    fp8Products?: readonly ArmtProduct[];

    /**
     * Whether the open segment is closed where a question begins, so that the question starts a new segment. A question
     * begins where the tokens of `model.armt.ask.start` (or `.before`) occur, so equal tokens are always cut in the
     * same places. Default: as the model was trained (GGUF key `armt.ask.close`); `false` if the file does not say.
     * Throws `TypeError` for any other value. More: docs/memories.md.
     */
    closeBeforeQuestion?: boolean;

    /**
     * Called a few times a second while a prompt is read, and once at its end. If it throws, the error is printed and
     * otherwise ignored. Default: none.
     */
    onProgress?: (progress: ArmtProgress) => void;

    /**
     * Store that keeps what the context reads. A prompt that starts like an earlier one continues from the stored
     * memory, and returning to an earlier turn of a chat restores the nearest checkpoint. Several contexts may share
     * one store. Default: none. Throws `TypeError` for anything but an `ArmtMemoryStore`.
     */
    memoryStore?: ArmtMemoryStore;
}

/** Largest value of a field that has 32 bits in the engine. */
const maxUint32 = 2 ** 32 - 1;

/** Most sequences whose segments enter a diagonal together. */
const maxTexts = 64;

/**
 * Checks every option and translates it for the engine. Errors name the option.
 * @param defaultOverflow default of `segmentOverflow`
 * @throws {TypeError} for a value of the wrong type
 * @throws {RangeError} for a number outside its range
 */
export function resolveContextOptions(
    options: ArmtContextOptions = {},
    defaultOverflow: ArmtSegmentOverflow = "close"
): NativeContextOptions {
    if (typeof options !== "object" || options === null)
        throw new TypeError(`\`armt\` must be an object, got ${describe(options)}`);
    const {
        schedule = defaultSchedule,
        segmentSize,
        segmentOverflow = defaultOverflow,
        openSegmentLimit,
        maxCells,
        textsPerLayer,
        stateType = defaultStateType,
        precision = defaultPrecision,
        fp8Products,
        closeBeforeQuestion,
        onProgress,
        // checked by createContext: this file must not load the store
        memoryStore: _,
        ...unknown
    } = options;
    for (const name of Object.keys(unknown)) throw new TypeError(`\`armt.${name}\` is not an option`);
    if (onProgress !== undefined && typeof onProgress !== "function")
        throw new TypeError(`\`armt.onProgress\` must be a function, got ${describe(onProgress)}`);
    if (closeBeforeQuestion !== undefined && typeof closeBeforeQuestion !== "boolean")
        throw new TypeError(`\`armt.closeBeforeQuestion\` must be a boolean, got ${describe(closeBeforeQuestion)}`);
    const native = {
        schedule: indexOf(schedules, "schedule", schedule),
        segmentOverflow: indexOf(segmentOverflows, "segmentOverflow", segmentOverflow),
        segmentSize: count("segmentSize", segmentSize),
        openSegmentLimit: count("openSegmentLimit", openSegmentLimit),
        maxCells: count("maxCells", maxCells),
        textsPerLayer: textsPerLayer === 0 ? -1 : count("textsPerLayer", textsPerLayer, 0, maxTexts),
        stateType: indexOf(stateTypes, "stateType", stateType),
        precision: indexOf(precisions, "precision", precision),
        fp8Products: productBits(fp8Products)
    };
    if (fp8Products !== undefined && precision !== "fp8")
        throw new TypeError('`armt.fp8Products` requires `armt.precision: "fp8"`');
    if (openSegmentLimit !== undefined && segmentOverflow === "close")
        throw new TypeError('`armt.openSegmentLimit` requires `armt.segmentOverflow: "extend"` or `"answer"`');
    if (native.openSegmentLimit !== 0 && native.openSegmentLimit < native.segmentSize)
        throw new RangeError(
            `\`armt.openSegmentLimit\` (${native.openSegmentLimit}) must be at least \`armt.segmentSize\` ` +
                `(${native.segmentSize})`
        );
    return native;
}

function indexOf<T extends string>(values: readonly T[], name: string, value: T): number {
    const index = values.indexOf(value);
    if (index < 0)
        throw new TypeError(
            `\`armt.${name}\` must be one of ${values.map((item) => `"${item}"`).join(", ")}, got ${describe(value)}`
        );
    return index;
}

function productBits(names: readonly ArmtProduct[] | undefined): number {
    if (names === undefined) return 0;
    if (!Array.isArray(names) || names.length === 0)
        throw new TypeError(
            `\`armt.fp8Products\` must be a list with some of ${products.map((item) => `"${item}"`).join(", ")}, got ` +
                describe(names)
        );
    return names.reduce((bits, name: ArmtProduct) => bits | (1 << indexOf(products, "fp8Products", name)), 0);
}

/** To the engine, 0 means its own choice; users leave out the option instead. */
function count(name: string, value: number | undefined, min = 1, max = maxUint32): number {
    if (value === undefined) return 0;
    if (typeof value !== "number") throw new TypeError(`\`armt.${name}\` must be a number, got ${describe(value)}`);
    if (!Number.isInteger(value) || value < min || value > max)
        throw new RangeError(`\`armt.${name}\` must be an integer from ${min} to ${max}, got ${value}`);
    return value;
}

function describe(value: unknown): string {
    return typeof value === "string" ? JSON.stringify(value) : String(value);
}
