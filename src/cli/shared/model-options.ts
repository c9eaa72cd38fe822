import type { Argv } from "yargs";
import { splitModes } from "../../../plugin/model/placement.js";
import { precisions, products, schedules, segmentOverflows, stateTypes } from "../../../plugin/native/enums.js";
import { readFp8Products } from "../../model/fp8-products.js";
import { type KvType, kvTypes, type ModelOptions } from "../../model/options.js";
import { addGpuOption } from "./gpu-option.js";
import { checkNumber } from "./numbers.js";
import { groups } from "./option-groups.js";

/**
 * @param model how the command line names the model file: by position, several by position, or with `-m` if another
 * file takes that position
 */
export function addModelOptions(
    parser: Argv<object>,
    defaultKvType: KvType,
    model: "positional" | "several" | "option" = "positional"
): void {
    const file = {
        type: "string",
        describe: "Model file (.gguf) or name (armt pull) [default: the included model]"
    } as const;
    if (model === "several")
        parser
            .positional("model", {
                ...file,
                array: true,
                describe: "Model files (.gguf), names (armt pull) or folders of files [default: the included model]"
            })
            .alias("model", "m");
    else if (model === "positional") parser.positional("model", file).alias("model", "m");
    else parser.option("model", { ...file, alias: "m" });
    addComputingOptions(parser);
    const group = groups.segments;
    parser
        .option("segment-size", {
            type: "number",
            group,
            describe: "Tokens in a segment [default: the model's]"
        })
        .option("segment-overflow", {
            choices: segmentOverflows,
            group,
            describe:
                "close: write a full segment to memory; answer: let it grow while the model answers; extend: let it " +
                "grow once logits are requested [default: as trained, answer or close]"
        })
        .option("open-segment-limit", {
            type: "number",
            group,
            describe: "Maximum tokens in a growing segment [default: segment size + 2048]"
        })
        .option("kv-type", {
            choices: Object.keys(kvTypes) as KvType[],
            default: defaultKvType,
            group,
            describe: "Number type of the open segment's K/V cache"
        })
        .option("state-type", {
            choices: stateTypes,
            group,
            describe: "Number type of the associative memory [default: f32]"
        });
}

/** The options that say how something is computed, not what. */
export function addComputingOptions(parser: Argv<object>): void {
    const group = groups.computing;
    addGpuOption(parser);
    parser
        .option("threads", {
            alias: "t",
            type: "number",
            group,
            describe: "CPU threads, at most the usable cores [default: the usable cores that other programs leave idle]"
        })
        .option("batch-size", {
            alias: "b",
            type: "number",
            group,
            describe: "Tokens passed to the engine at once [default: 512, on a GPU 4096]"
        })
        .option("schedule", {
            choices: schedules,
            group,
            describe:
                "Order of the computation: segment after segment, or diagonals over layers and segments [default: auto]"
        })
        .option("max-cells", {
            type: "number",
            group,
            describe: "Maximum number of cells in one product of the diagonal [default: chosen by the engine]"
        })
        .option("precision", {
            choices: precisions,
            group,
            describe: "fp8: multiply the layers' matrices in e4m3, with a tuned CUDA build [default: auto]"
        })
        .option("fp8-products", {
            type: "string",
            group,
            describe: `With --precision fp8: the products it is for, some of ${products.join(",")} [default: all but o]`
        })
        .option("gpu-layers", {
            alias: "ngl",
            type: "number",
            group,
            describe: "Layers on GPUs and RPC servers: the output, then the last ones [default: what fits; --rpc: all]"
        })
        .option("rpc", {
            type: "string",
            group,
            describe: "RPC servers that hold layers too, as host:port,host:port (armt rpc-server) [default: none]"
        })
        .option("split-mode", {
            choices: splitModes,
            group,
            describe: "layer: each device gets a part of the layers; none: one gets all [default: layer]"
        })
        .option("main-gpu", {
            type: "number",
            group,
            describe: "Index of the device that gets all layers with --split-mode none [default: 0]"
        })
        .option("tensor-split", {
            type: "string",
            group,
            describe: "Parts of the layers that the devices get, e.g. 3,1 [default: by their free memory]"
        })
        .option("verify", {
            type: "boolean",
            default: true,
            group,
            describe: "Compare the whole file with its fingerprint first, to detect damage; --no-verify: don't"
        });
}

/** @throws {UsageError} for a number that can't be meant */
export function checkModelOptions(options: Omit<ModelOptions, "model">): void {
    checkNumber("segment-size", options.segmentSize, { min: 1 });
    checkNumber("open-segment-limit", options.openSegmentLimit, { min: 1 });
    checkNumber("max-cells", options.maxCells, { min: 1 });
    checkNumber("batch-size", options.batchSize, { min: 1 });
    checkNumber("threads", options.threads, { min: 1 });
    checkNumber("gpu-layers", options.gpuLayers, { min: 0 });
    checkNumber("main-gpu", options.mainGpu, { min: 0 });
    readFp8Products(options);
}
