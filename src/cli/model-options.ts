import type { Argv } from "yargs";
import type { ArmtContextOptions, ArmtSchedule, ArmtSegmentOverflow, LlamaContextOptions } from "../../plugin/index.js";
import { schedules, segmentOverflows } from "../../plugin/options.js";
import { checkNumber } from "./numbers.js";

/** Types of the K/V cache of the open segment. */
const kvTypes = { f32: "F32", f16: "F16", q8_0: "Q8_0" } as const;

export type KvType = keyof typeof kvTypes;

/** The options that `run` and `logits` share. */
export interface ModelOptions {
    model: string;
    schedule?: ArmtSchedule;
    segmentSize?: number;
    segmentOverflow?: ArmtSegmentOverflow;
    openSegmentLimit?: number;
    maxCells?: number;
    batchSize: number;
    kvType: KvType;
    threads?: number;
    verify: boolean;
    verbose?: boolean;
}

export function addModelOptions(parser: Argv<object>, defaultKvType: KvType): void {
    parser
        .positional("model", { type: "string", demandOption: true, describe: "Model file (.gguf)" })
        .option("schedule", {
            choices: schedules,
            describe:
                "Order of the computation: segment after segment, or diagonals over layers and segments [default: auto]"
        })
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
        .option("max-cells", {
            type: "number",
            describe: "Cells that the diagonal computes at once [default: chosen by the engine]"
        })
        .option("batch-size", {
            default: 512,
            type: "number",
            describe: "Tokens handed to the engine at once"
        })
        .option("kv-type", {
            choices: Object.keys(kvTypes) as KvType[],
            default: defaultKvType,
            describe: "Number type of the open segment's K/V cache"
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
export function checkModelOptions(options: ModelOptions): void {
    checkNumber("segment-size", options.segmentSize, { min: 1 });
    checkNumber("open-segment-limit", options.openSegmentLimit, { min: 1 });
    checkNumber("max-cells", options.maxCells, { min: 1 });
    checkNumber("batch-size", options.batchSize, { min: 1 });
    checkNumber("threads", options.threads, { min: 1 });
}

/** The context options that a command line asks for; `armt` is left out where it asks for nothing of ARMT. */
export function contextOptions(options: ModelOptions): LlamaContextOptions & { armt?: ArmtContextOptions } {
    const { schedule, segmentSize, segmentOverflow, openSegmentLimit, maxCells } = options;
    const armt = { schedule, segmentSize, segmentOverflow, openSegmentLimit, maxCells };
    const asksForArmt = Object.values(armt).some((value) => value !== undefined);
    const kvType = kvTypes[options.kvType];
    return {
        batchSize: options.batchSize,
        threads: options.threads,
        experimentalKvCacheKeyType: kvType,
        experimentalKvCacheValueType: kvType,
        armt: asksForArmt ? armt : undefined
    };
}
