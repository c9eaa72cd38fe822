import type { Argv } from "yargs";
import { segmentAlignments } from "../../convert/armt-config.js";
import type { CheckpointArguments } from "../../convert/checkpoint-arguments.js";
import { checkNumber } from "./numbers.js";

/** All of them but the segment size, which means something else to commands that compute. */
export function addCheckpointOptions<T>(yargs: Argv<T>): Argv<T & CheckpointArguments> {
    return addVariantOptions(yargs)
        .option("base", {
            describe:
                "The base model's config.json, or the folder with it and its tokenizer [default: the checkpoint's]",
            type: "string",
            requiresArg: true
        })
        .option("lora-alpha", {
            describe: "alpha of unmerged LoRA weights [default: that of adapter_config.json]",
            type: "number",
            requiresArg: true
        })
        .option("rslora", {
            describe: "LoRA was scaled by alpha / √rank [default: as adapter_config.json says]",
            type: "boolean"
        }) as Argv<T & CheckpointArguments>;
}

/** Those of the memory alone. */
export function addVariantOptions<T>(yargs: Argv<T>): Argv<T & CheckpointArguments> {
    return yargs
        .option("segment-alignment", {
            describe: "Which segment of a prompt is short: the last, the first, or all alike [default: left]",
            choices: segmentAlignments
        })
        .option("n-heads", {
            describe: "Heads of the associative memory [default: what the weights have]",
            type: "number",
            requiresArg: true
        })
        .option("normalize-keys", {
            describe:
                "Memory keys are divided by their norm, as in most published models; --no-normalize-keys: they are not",
            type: "boolean"
        })
        .option("use-denom", {
            describe: "The memory has a normalizer; --no-use-denom: it has none [default: true]",
            type: "boolean"
        })
        .option("correction", {
            describe:
                "The normalizer counts a key less that is there already; --no-correction: it does not [default: true]",
            type: "boolean"
        })
        .option("gating", {
            describe: "Each channel has a write strength of its own [default: what the weights have]",
            type: "boolean"
        })
        .option("wrap-pos", {
            describe:
                "GPT-2: memory tokens take the last rows of the position table [default: whether the weights have them]",
            type: "boolean"
        })
        .option("memory-sees-text", {
            describe:
                "Memory tokens attend to the text; --no-memory-sees-text: to one another only [default: true, but with wrap_pos and transformers 5 false]",
            type: "boolean"
        })
        .option("use-sink", {
            describe: "A learned row stands before each segment's text [default: where the checkpoint has it]",
            type: "boolean"
        })
        .option("sliding-window", {
            describe: "Attention goes back into the text of the segment before [default: false]",
            type: "boolean"
        })
        .option("num-mem-tokens", {
            describe: "Memory tokens, to be checked [default: what the weights have]",
            type: "number",
            requiresArg: true
        })
        .option("d-mem", {
            describe: "Size of the memory's keys, to be checked [default: what the weights have]",
            type: "number",
            requiresArg: true
        }) as Argv<T & CheckpointArguments>;
}

/** @throws {UsageError | RangeError} for a number that can't be meant */
export function checkCheckpointOptions(argv: CheckpointArguments): void {
    checkNumber("n-heads", argv.nHeads, { min: 1 });
    checkNumber("num-mem-tokens", argv.numMemTokens, { min: 1 });
    checkNumber("d-mem", argv.dMem, { min: 1 });
    checkNumber("lora-alpha", argv.loraAlpha, { min: 0, integer: false });
}
