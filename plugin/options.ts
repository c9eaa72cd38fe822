import type { ArmtMemoryStore } from "./memory/ArmtMemoryStore.js";
import type { NativeContextOptions } from "./native/addon.js";
import { schedules, segmentOverflows, stateTypes } from "./native/enums.js";
import type { ArmtProgress, ArmtSchedule, ArmtSegmentOverflow, ArmtStateType } from "./types.js";

/** Default of `schedule`. */
export const defaultSchedule: ArmtSchedule = "auto";

/** Default of `segmentOverflow`. */
export const defaultSegmentOverflow: ArmtSegmentOverflow = "close";

/** Default of `stateType`. */
export const defaultStateType: ArmtStateType = "f32";

/** Options of `model.createContext({armt: …})`. */
export interface ArmtContextOptions {
    /**
     * Order in which the cells (layer, segment) of a prompt are computed: `"sequential"` segment after segment, `"diagonal"` all cells with
     * layer + segment = const in one graph, `"auto"` the one that pays on the device. Default: `"auto"`. Results agree, speed and working
     * memory differ. Source: Diagonal Batching, arXiv 2506.05229.
     */
    schedule?: ArmtSchedule;

    /**
     * Text tokens in a segment; the model's memory tokens come on top. Unit: tokens, from 1. Default: the size that the model was trained with (GGUF
     * key `armt.segment_size`). Other sizes work, but recall may suffer. Throws `RangeError` outside the range. Source: arXiv 2407.04841.
     */
    segmentSize?: number;

    /**
     * What happens when the open segment is full while tokens go on coming: `"close"` writes it to memory and opens the next, so that there is no
     * end; `"extend"` lets it grow up to `openSegmentLimit`, as the authors' code does while it generates. Default: `"close"`.
     */
    segmentOverflow?: ArmtSegmentOverflow;

    /**
     * Tokens that an open segment can hold with `segmentOverflow: "extend"`. Unit: tokens, from the segment size. Default: segment size + 2048. Its K/V
     * cache is allocated with the context, so memory grows with it. Throws `TypeError` with another `segmentOverflow`.
     */
    openSegmentLimit?: number;

    /**
     * Cells that the diagonal schedule computes in one product: bounds its working memory. Unit: cells, from 1. Default: chosen by the engine.
     */
    maxCells?: number;

    /**
     * Number type in which A and z are kept from one segment to the next: `"f32"`, or `"f16"` or `"bf16"` in half the memory. What is computed is computed in
     * float32 all the same, so each segment rounds once, and the errors add up over a text. `f16` holds numbers up to 65,504; a memory that leaves them ends
     * the evaluation with an `ArmtEvalError`, and trained models do, so `bf16` is the one to try. Default: `"f32"`.
     * States and snapshots go into contexts of the same type only. Measured: docs/performance.md.
     */
    stateType?: ArmtStateType;

    /** Called while a prompt is read, a few times a second, and once at its end. An error that it throws is printed and ignored. */
    onProgress?: (progress: ArmtProgress) => void;

    /**
     * Where what the context reads is kept, and looked up before anything is read: a prompt that begins as an earlier one starts from there, and going
     * back to an earlier turn of a chat restores the nearest checkpoint. Several contexts may share one. Default: none.
     */
    memoryStore?: ArmtMemoryStore;
}

/** Largest value of a field that the engine holds in 32 bits. */
const maxUint32 = 2 ** 32 - 1;

/**
 * Checks every option and gives what the engine takes.
 * @throws {TypeError} for a wrong kind of value, with the option's name
 * @throws {RangeError} for a number outside its range, with the option's name
 */
export function resolveContextOptions(options: ArmtContextOptions = {}): NativeContextOptions {
    if (typeof options !== "object" || options === null)
        throw new TypeError(`\`armt\` has to be an object, got ${describe(options)}`);
    const {
        schedule = defaultSchedule,
        segmentSize,
        segmentOverflow = defaultSegmentOverflow,
        openSegmentLimit,
        maxCells,
        stateType = defaultStateType,
        onProgress,
        // checked where it is used: this file is also for those who load nothing
        memoryStore: _,
        ...unknown
    } = options;
    for (const name of Object.keys(unknown)) throw new TypeError(`\`armt.${name}\` is not an option`);
    if (onProgress !== undefined && typeof onProgress !== "function")
        throw new TypeError(`\`armt.onProgress\` has to be a function, got ${describe(onProgress)}`);
    const native = {
        schedule: indexOf(schedules, "schedule", schedule),
        segmentOverflow: indexOf(segmentOverflows, "segmentOverflow", segmentOverflow),
        segmentSize: count("segmentSize", segmentSize),
        openSegmentLimit: count("openSegmentLimit", openSegmentLimit),
        maxCells: count("maxCells", maxCells),
        stateType: indexOf(stateTypes, "stateType", stateType)
    };
    if (openSegmentLimit !== undefined && segmentOverflow !== "extend")
        throw new TypeError('`armt.openSegmentLimit` is for `armt.segmentOverflow: "extend"` only');
    if (native.openSegmentLimit !== 0 && native.openSegmentLimit < native.segmentSize)
        throw new RangeError(
            `\`armt.openSegmentLimit\` (${native.openSegmentLimit}) has to be at least \`armt.segmentSize\` (${native.segmentSize})`
        );
    return native;
}

function indexOf<T extends string>(values: readonly T[], name: string, value: T): number {
    const index = values.indexOf(value);
    if (index < 0)
        throw new TypeError(
            `\`armt.${name}\` has to be one of ${values.map((item) => `"${item}"`).join(", ")}, got ${describe(value)}`
        );
    return index;
}

/** 0 stands for the engine's own choice, so users leave the option out instead. */
function count(name: string, value: number | undefined): number {
    if (value === undefined) return 0;
    if (typeof value !== "number") throw new TypeError(`\`armt.${name}\` has to be a number, got ${describe(value)}`);
    if (!Number.isInteger(value) || value < 1 || value > maxUint32)
        throw new RangeError(`\`armt.${name}\` has to be an integer from 1 to ${maxUint32}, got ${value}`);
    return value;
}

function describe(value: unknown): string {
    return typeof value === "string" ? JSON.stringify(value) : String(value);
}
