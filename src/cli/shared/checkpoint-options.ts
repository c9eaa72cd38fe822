import type { Argv } from "yargs";
import { segmentAlignments } from "../../convert/armt-config.js";
import type { CheckpointArguments } from "../../convert/checkpoint-arguments.js";
import { dialects } from "../../convert/dialects.js";
import { checkNumber } from "./numbers.js";
import { groups } from "./option-groups.js";

/** All of them but the segment size, which means something else to commands that compute. */
export function addCheckpointOptions<T>(yargs: Argv<T>): Argv<T & CheckpointArguments> {
    return addLoraOptions(addVariantOptions(yargs)).option("base", {
        describe: "The base model's config.json, or the folder with it and the tokenizer [default: the checkpoint's]",
        type: "string"
    }) as Argv<T & CheckpointArguments>;
}

/** What of LoRA a file doesn't say. */
export function addLoraOptions<T>(yargs: Argv<T>): Argv<T & CheckpointArguments> {
    const group = groups.variant;
    return yargs
        .option("lora-alpha", {
            group,
            describe: "alpha of unmerged LoRA weights [default: that of adapter_config.json]",
            type: "number"
        })
        .option("rslora", {
            group,
            describe: "Scale LoRA by alpha / √rank [default: as in adapter_config.json]",
            type: "boolean"
        }) as Argv<T & CheckpointArguments>;
}

/** Those of the memory alone. */
export function addVariantOptions<T>(yargs: Argv<T>): Argv<T & CheckpointArguments> {
    const group = groups.variant;
    return yargs
        .option("segment-alignment", {
            group,
            describe: "Which segment of a prompt is short: the last, the first, or all equally [default: left]",
            choices: segmentAlignments
        })
        .option("n-heads", {
            group,
            describe: "Heads of the associative memory [default: as in the weights]",
            type: "number"
        })
        .option("normalize-keys", {
            group,
            describe: "Divide memory keys by their norm, as in most published models; --no-normalize-keys turns it off",
            type: "boolean"
        })
        .option("use-denom", {
            group,
            describe: "The memory has a normalizer; --no-use-denom: it has none [default: true]",
            type: "boolean"
        })
        .option("correction", {
            group,
            describe: "The normalizer counts only the new part of a key; --no-correction: all of it [default: true]",
            type: "boolean"
        })
        .option("gating", {
            group,
            describe: "Each channel has its own write strength [default: as in the weights]",
            type: "boolean"
        })
        .option("wrap-pos", {
            group,
            describe: "GPT-2: memory tokens take the last rows of the position table [default: as in the weights]",
            type: "boolean"
        })
        .option("memory-sees-text", {
            group,
            describe:
                "Memory tokens attend to the text; --no-memory-sees-text: only to one another [default: true, or " +
                "false with wrap_pos and transformers 5]",
            type: "boolean"
        })
        .option("use-sink", {
            group,
            describe: "Put a learned row before each segment's text [default: if the checkpoint has one]",
            type: "boolean"
        })
        .option("sliding-window", {
            group,
            describe: "Let attention reach back into the text of the previous segment [default: false]",
            type: "boolean"
        })
        .option("attend-to-previous-input", {
            describe: "Each segment begins with the text of the segment before, computed again [default: false]",
            type: "boolean"
        })
        .option("dialect", {
            group,
            describe:
                "Version of the authors' code: outer loop, inner loop, inner loop with causal memory tokens, or " +
                "memory tokens of each layer's own [default: outer, or as the checkpoint's files say]",
            choices: dialects
        })
        .option("num-mem-tokens", {
            group,
            describe: "Memory tokens, as a check [default: as in the weights]",
            type: "number"
        })
        .option("d-mem", {
            group,
            describe: "Size of the memory's keys, as a check [default: as in the weights]",
            type: "number"
        }) as Argv<T & CheckpointArguments>;
}

/** @throws {UsageError | RangeError} for a number that can't be meant */
export function checkCheckpointOptions(argv: CheckpointArguments): void {
    checkNumber("n-heads", argv.nHeads, { min: 1 });
    checkNumber("num-mem-tokens", argv.numMemTokens, { min: 1 });
    checkNumber("d-mem", argv.dMem, { min: 1 });
    checkNumber("lora-alpha", argv.loraAlpha, { min: 0, integer: false });
}
