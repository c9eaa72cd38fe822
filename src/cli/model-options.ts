import type { Argv } from "yargs";
import type {
    ArmtContextOptions,
    ArmtSchedule,
    ArmtSegmentOverflow,
    ArmtSnapshotOrigin,
    ArmtStateType,
    LlamaContextOptions
} from "../../plugin/index.js";
import { schedules, segmentOverflows, stateTypes } from "../../plugin/native/enums.js";
import { addGpuOption, type GpuChoice } from "./gpu.js";
import { checkNumber } from "./numbers.js";

/** Types of the K/V cache of the open segment. */
const kvTypes = { f32: "F32", f16: "F16", q8_0: "Q8_0" } as const;

export type KvType = keyof typeof kvTypes;

/** The options that `run` and `logits` share. */
export interface ModelOptions {
    /** Model file. Default: the one of the package. */
    model?: string;
    schedule?: ArmtSchedule;
    segmentSize?: number;
    segmentOverflow?: ArmtSegmentOverflow;
    openSegmentLimit?: number;
    maxCells?: number;
    stateType?: ArmtStateType;
    batchSize?: number;
    kvType: KvType;
    threads?: number;
    gpu?: GpuChoice;
    verify: boolean;
    verbose?: boolean;
}

/** @param model where the command line has the model file: in its place, or behind `-m` where another file has that */
export function addModelOptions(
    parser: Argv<object>,
    defaultKvType: KvType,
    model: "positional" | "option" = "positional"
): void {
    const file = { type: "string", describe: "Model file (.gguf) [default: the model of the package]" } as const;
    if (model === "positional") parser.positional("model", file).alias("model", "m");
    else parser.option("model", { ...file, alias: "m" });
    addComputingOptions(parser);
    parser
        .option("segment-size", {
            type: "number",
            describe: "Tokens in a segment [default: the model's]"
        })
        .option("segment-overflow", {
            choices: segmentOverflows,
            describe: "A full segment is written to memory, or goes on growing [default: close]"
        })
        .option("open-segment-limit", {
            type: "number",
            describe: "Tokens that a growing segment can hold [default: segment size + 2048]"
        })
        .option("kv-type", {
            choices: Object.keys(kvTypes) as KvType[],
            default: defaultKvType,
            describe: "Number type of the open segment's K/V cache"
        })
        .option("state-type", {
            choices: stateTypes,
            describe: "Number type that the memory is kept in [default: f32]"
        });
}

/** The options that say how something is computed, not what. */
export function addComputingOptions(parser: Argv<object>): void {
    addGpuOption(parser);
    parser
        .option("schedule", {
            choices: schedules,
            describe:
                "Order of the computation: segment after segment, or diagonals over layers and segments [default: auto]"
        })
        .option("max-cells", {
            type: "number",
            describe: "Cells that the diagonal computes at once [default: chosen by the engine]"
        })
        .option("batch-size", {
            type: "number",
            describe: "Tokens handed to the engine at once [default: 512, on a GPU 4096]"
        })
        .option("verify", {
            type: "boolean",
            default: true,
            describe: "Compare the whole file with its fingerprint first, so that damage is told; --no-verify: don't"
        })
        .option("threads", {
            type: "number",
            describe: "CPU threads [default: the cores that are there]"
        });
}

/** @throws {UsageError | RangeError} for a number that can't be meant */
export function checkModelOptions(options: Omit<ModelOptions, "model">): void {
    checkNumber("segment-size", options.segmentSize, { min: 1 });
    checkNumber("open-segment-limit", options.openSegmentLimit, { min: 1 });
    checkNumber("max-cells", options.maxCells, { min: 1 });
    checkNumber("batch-size", options.batchSize, { min: 1 });
    checkNumber("threads", options.threads, { min: 1 });
}

/**
 * The context options that a command line asks for; `armt` is left out where it asks for nothing of ARMT.
 * @param like a snapshot that the context has to suit
 */
export function contextOptions(
    options: ModelOptions,
    like?: ArmtSnapshotOrigin
): LlamaContextOptions & { armt?: ArmtContextOptions } {
    const { schedule, maxCells } = options;
    const { segmentSize, segmentOverflow, openSegmentLimit, stateType } = like ?? options;
    // the limit is an option of growing segments alone
    const limit = like?.segmentOverflow === "close" ? undefined : openSegmentLimit;
    const armt = { schedule, segmentSize, segmentOverflow, openSegmentLimit: limit, maxCells, stateType };
    const asksForArmt = Object.values(armt).some((value) => value !== undefined);
    const kvType = kvTypes[options.kvType];
    const [keys, values] = like === undefined ? [kvType, kvType] : (like.kvTypes as [typeof kvType, typeof kvType]);
    return {
        batchSize: options.batchSize,
        threads: options.threads,
        experimentalKvCacheKeyType: keys,
        experimentalKvCacheValueType: values,
        armt: asksForArmt ? armt : undefined
    };
}
