import process from "node:process";
import type { Argv, CommandModule } from "yargs";
import { type AttachType, attachMemory, attachTypes } from "../../convert/attach/attach.js";
import { type MergedType, mergedTypes } from "../../convert/attach/base-tensors.js";
import { armtFlags, type CheckpointArguments, loraFlags } from "../../convert/checkpoint-arguments.js";
import { createProgressBar } from "../../util/progress.js";
import { type AskArguments, addAskOptions, askFlags } from "../shared/ask-options.js";
import { addLoraOptions, addVariantOptions, checkCheckpointOptions } from "../shared/checkpoint-options.js";
import { withInterrupt } from "../shared/interrupt.js";
import { checkNumber } from "../shared/numbers.js";
import { typedOptions } from "../shared/typed-options.js";

interface AttachArguments extends CheckpointArguments, AskArguments {
    base: string;
    memory: string;
    output: string;
    segmentSize?: number;
    memoryType?: AttachType;
    mergedType?: MergedType;
    name?: string;
    force: boolean;
}

export const command: CommandModule<object, AttachArguments> = {
    command: "attach <base> <memory> <output>",
    describe: "Combine a stock GGUF file with memory tensors that were trained on its frozen weights",
    builder: (parser: Argv<object>) => {
        addVariantOptions(parser);
        addLoraOptions(parser);
        addAskOptions(parser);
        return typedOptions(
            parser
                .positional("base", { type: "string", demandOption: true, describe: "GGUF file of the base model" })
                .positional("memory", {
                    type: "string",
                    demandOption: true,
                    describe: "File with ARMT's tensors and LoRA of the base: safetensors, GGUF or PyTorch"
                })
                .positional("output", { type: "string", demandOption: true, describe: "GGUF file to write" })
                .option("segment-size", { type: "number", describe: "Text tokens in a segment" })
                .option("memory-type", {
                    choices: Object.keys(attachTypes) as AttachType[],
                    describe: "Type of the memory's matrices [default: q8_0 or bf16 if they are, else f16]"
                })
                .option("merged-type", {
                    choices: Object.keys(mergedTypes) as MergedType[],
                    describe:
                        "Type of the base's matrices that LoRA changes, or that become one and have several types " +
                        "[default: their own if it is a float type or q8_0, else q8_0]"
                })
                .option("name", {
                    type: "string",
                    describe: "Name of the model, stored in the file [default: the base model's]"
                })
                .option("force", { type: "boolean", default: false, describe: "Replace an existing output file" })
                .example(
                    "$0 attach Llama-3.2-1B-f16.gguf memory.safetensors model.gguf --segment-size 1024 " +
                        "--normalize-keys",
                    ""
                )
                .example("$0 attach SmolLM2-135M-Instruct.Q4_1.gguf memory.gguf model.gguf", "armt-train made it")
        );
    },
    handler: async (argv) => {
        checkNumber("segment-size", argv.segmentSize, { min: 1 });
        checkCheckpointOptions(argv);
        const warnings: string[] = [];
        const bar = createProgressBar("attaching");
        try {
            await withInterrupt((signal) =>
                attachMemory({
                    base: argv.base,
                    memory: argv.memory,
                    output: argv.output,
                    flags: { ...armtFlags(argv), segmentSize: argv.segmentSize },
                    lora: loraFlags(argv),
                    memoryType: argv.memoryType,
                    mergedType: argv.mergedType,
                    ask: askFlags(argv),
                    earlierFingerprints: argv.earlierFingerprint,
                    name: argv.name,
                    overwrite: argv.force,
                    onProgress: bar.update,
                    onWarning: (message) => warnings.push(message),
                    signal
                })
            );
        } finally {
            bar.stop();
        }
        for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
    }
};
