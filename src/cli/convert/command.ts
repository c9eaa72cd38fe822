import type { CommandModule } from "yargs";
import { armtFlags, type CheckpointArguments, loraFlags } from "../../convert/checkpoint-arguments.js";
import { type ConvertOptions, convertCheckpoint, type OutType, outTypes } from "../../convert/convert.js";
import { type MemoryType, type Mixture, memoryTypes, mixtures } from "../../convert/quantize/mixtures.js";
import { checkModelFile } from "../../model/check-model-file.js";
import { withoutMemory } from "../../model/without-memory.js";
import { ArmtError, quote } from "../../util/errors.js";
import { UsageError } from "../../util/failure.js";
import { createProgressBar } from "../../util/progress.js";
import { stopSignals } from "../../util/stop-signals.js";
import { type AskArguments, addAskOptions, askFlags } from "../shared/ask-options.js";
import { addCheckpointOptions, checkCheckpointOptions } from "../shared/checkpoint-options.js";
import { checkNumber } from "../shared/numbers.js";

type ConvertArguments = CheckpointArguments &
    AskArguments & {
        checkpoint: string;
        output: string;
        outtype?: OutType | Mixture;
        memoryType?: MemoryType;
        segmentSize?: number;
        vocabFrom?: string;
        tokenizer: boolean;
        pre?: string;
        name?: string;
        detect?: string;
        force: boolean;
    };

export const command: CommandModule<object, ConvertArguments> = {
    command: "convert <checkpoint> <output>",
    describe: "Convert a checkpoint folder (PyTorch or safetensors) into a GGUF model file",
    builder: (yargs) =>
        addAskOptions(addCheckpointOptions(yargs))
            .positional("checkpoint", {
                describe:
                    "Folder with config.json, armt_config.json, the weights and tokenizer.json; or the file of " +
                    "weights in it",
                type: "string",
                demandOption: true
            })
            .positional("output", { describe: "GGUF file to write", type: "string", demandOption: true })
            .option("outtype", {
                describe: "Type of the large matrices [default: bf16 for a bf16 checkpoint, else f16]",
                choices: [...new Set([...(Object.keys(outTypes) as OutType[]), ...mixtures])]
            })
            .option("memory-type", {
                describe: "Type of the memory's projections if the out type is a mixture [default: q8_0]",
                choices: memoryTypes
            })
            .option("segment-size", { describe: "Text tokens in a segment", type: "number" })
            .option("vocab-from", {
                describe: "GGUF file to take the tokenizer from",
                type: "string"
            })
            .option("tokenizer", {
                describe: "Include the tokenizer; with --no-tokenizer, the model takes only token ids",
                type: "boolean",
                default: true
            })
            .option("pre", {
                describe: "llama.cpp's name of the pre-tokenizer [default: recognised]",
                type: "string"
            })
            .option("name", { describe: "Name of the model, stored in the file", type: "string" })
            .option("detect", {
                describe:
                    "Text by which to find out the keys, the segment size and so on that no option gives, as " +
                    "armt detect does; stops if that is not clear",
                type: "string"
            })
            .option("force", { describe: "Replace an existing output file", type: "boolean", default: false })
            .example("$0 convert ./checkpoint model.gguf", "All options come from armt_config.json")
            .example(
                "$0 convert ./checkpoint model.gguf --segment-size 1024 --normalize-keys",
                "A checkpoint without armt_config.json"
            )
            .example(
                "$0 convert ./run/model_best.pth model.gguf --base ./Llama-3.2-1B --segment-size 1024 --normalize-keys",
                "A trainer's file, with the base model's config and tokenizer"
            ),
    handler: async (argv) => {
        checkNumber("segment-size", argv.segmentSize, { min: 1 });
        checkCheckpointOptions(argv);
        await refuseModelFile(argv.checkpoint);
        const bar = createProgressBar("Converting");
        const interruption = interruptible();
        try {
            const options: ConvertOptions = {
                checkpoint: argv.checkpoint,
                output: argv.output,
                base: argv.base,
                flags: { ...armtFlags(argv), segmentSize: argv.segmentSize },
                lora: loraFlags(argv),
                vocabFrom: argv.vocabFrom,
                tokenizer: argv.tokenizer,
                pre: argv.pre,
                ask: askFlags(argv),
                earlierFingerprints: argv.earlierFingerprint,
                name: argv.name,
                overwrite: argv.force,
                onProgress: bar.update,
                onWarning: (message) => process.stderr.write(`warning: ${message}\n`),
                onNote: (message) => process.stderr.write(`${message}\n`),
                signal: interruption.signal
            };
            if (argv.detect !== undefined) {
                const { detectFlags } = await import("../detect/run.js");
                options.flags = await detectFlags(argv.detect, options);
            }
            const { outtype, memoryType } = argv;
            if (outtype === undefined || isOutType(outtype)) {
                if (memoryType !== undefined)
                    throw new UsageError(`--memory-type is for --outtype ${mixtures.slice(1).join(", ")}`);
                await convertCheckpoint({ ...options, outType: outtype });
            } else {
                const { convertQuantized } = await import("../../convert/quantize/convert-quantized.js");
                await convertQuantized(options, outtype, memoryType);
            }
        } catch (error) {
            if (interruption.signal.aborted) throw new ArmtError(`interrupted; ${quote(argv.output)} was not written`);
            throw error;
        } finally {
            bar.stop();
            interruption.end();
        }
    }
};

/** @throws {ArmtError} for a GGUF file, which is converted already */
async function refuseModelFile(file: string): Promise<void> {
    if (!file.endsWith(".gguf")) return;
    if (!(await checkModelFile(file))) throw withoutMemory(file);
    throw new ArmtError(`${quote(file)} is a model file with a memory already; run it with \`armt run\``);
}

function isOutType(type: OutType | Mixture): type is OutType {
    return Object.hasOwn(outTypes, type);
}

/**
 * Aborts on the first signal to stop, so that the temporary file is removed. A second signal ends the process at
 * once.
 */
function interruptible(): { signal: AbortSignal; end: () => void } {
    const controller = new AbortController();
    const abort = () => {
        end();
        controller.abort();
    };
    const end = () => {
        for (const signal of stopSignals()) process.off(signal, abort);
    };
    for (const signal of stopSignals()) process.on(signal, abort);
    return { signal: controller.signal, end };
}
