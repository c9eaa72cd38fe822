import type { CommandModule } from "yargs";
import { type SegmentAlignment, segmentAlignments } from "../../convert/armt-config.js";
import { type ConvertOptions, convertCheckpoint, type OutType, outTypes } from "../../convert/convert.js";
import { type MemoryType, type Mixture, memoryTypes, mixtures } from "../../quantize/mixtures.js";
import { ArmtError, quote } from "../../util/errors.js";
import { createProgressBar } from "../../util/progress.js";
import { UsageError } from "../failure.js";
import { checkNumber } from "../numbers.js";

type ConvertArguments = {
    checkpoint: string;
    output: string;
    outtype?: OutType | Mixture;
    memoryType?: MemoryType;
    segmentSize?: number;
    segmentAlignment?: SegmentAlignment;
    nHeads?: number;
    normalizeKeys?: boolean;
    useDenom?: boolean;
    correction?: boolean;
    gating?: boolean;
    wrapPos?: boolean;
    memorySeesText?: boolean;
    useSink?: boolean;
    slidingWindow?: boolean;
    vocabFrom?: string;
    tokenizer: boolean;
    pre?: string;
    name?: string;
    force: boolean;
};

export const command: CommandModule<object, ConvertArguments> = {
    command: "convert <checkpoint> <output>",
    describe: "Convert a checkpoint folder (PyTorch or safetensors) into a GGUF model file",
    builder: (yargs) =>
        yargs
            .positional("checkpoint", {
                describe: "Folder with config.json, armt_config.json, the weights and tokenizer.json",
                type: "string",
                demandOption: true
            })
            .positional("output", { describe: "GGUF file to write", type: "string", demandOption: true })
            .option("outtype", {
                describe: "Type of the large matrices [default: bf16 for a bf16 checkpoint, else f16]",
                choices: [...new Set([...(Object.keys(outTypes) as OutType[]), ...mixtures])]
            })
            .option("memory-type", {
                describe: "Type of the memory's projections where the out type is a mixture [default: q8_0]",
                choices: memoryTypes
            })
            .option("segment-size", { describe: "Text tokens in a segment", type: "number", requiresArg: true })
            .option("segment-alignment", {
                describe: "Which segment of a prompt is short: the last, the first, or all alike [default: left]",
                choices: segmentAlignments
            })
            .option("n-heads", {
                describe: "Heads of the associative memory [default: 1]",
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
                describe: "Each channel has a write strength of its own [default: false]",
                type: "boolean"
            })
            .option("wrap-pos", {
                describe: "GPT-2: memory tokens take the last rows of the position table [default: false]",
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
            .option("vocab-from", {
                describe: "GGUF file to take the tokenizer from",
                type: "string",
                requiresArg: true
            })
            .option("tokenizer", {
                describe: "Take the tokenizer over; --no-tokenizer: leave it out, the model works with token ids",
                type: "boolean",
                default: true
            })
            .option("pre", {
                describe: "llama.cpp's name of the pre-tokenizer [default: recognised]",
                type: "string",
                requiresArg: true
            })
            .option("name", { describe: "Name of the model, kept in the file", type: "string", requiresArg: true })
            .option("force", { describe: "Replace an existing output file", type: "boolean", default: false })
            .example("$0 convert ./checkpoint model.gguf", "All options come from armt_config.json")
            .example(
                "$0 convert ./checkpoint model.gguf --segment-size 1024 --normalize-keys",
                "A checkpoint without armt_config.json"
            ),
    handler: async (argv) => {
        checkNumber("segment-size", argv.segmentSize, { min: 1 });
        checkNumber("n-heads", argv.nHeads, { min: 1 });
        const bar = createProgressBar("Converting");
        const interruption = interruptible();
        try {
            const options: ConvertOptions = {
                checkpoint: argv.checkpoint,
                output: argv.output,
                flags: {
                    segmentSize: argv.segmentSize,
                    segmentAlignment: argv.segmentAlignment,
                    headCount: argv.nHeads,
                    normalizeKeys: argv.normalizeKeys,
                    useDenom: argv.useDenom,
                    correction: argv.correction,
                    gating: argv.gating,
                    wrapPositions: argv.wrapPos,
                    memoryAttendsToText: argv.memorySeesText,
                    sink: argv.useSink,
                    slidingWindow: argv.slidingWindow
                },
                vocabFrom: argv.vocabFrom,
                tokenizer: argv.tokenizer,
                pre: argv.pre,
                name: argv.name,
                overwrite: argv.force,
                onProgress: bar.update,
                onWarning: (message) => process.stderr.write(`warning: ${message}\n`),
                signal: interruption.signal
            };
            const { outtype, memoryType } = argv;
            if (outtype === undefined || isOutType(outtype)) {
                if (memoryType !== undefined)
                    throw new UsageError(`--memory-type is for --outtype ${mixtures.slice(1).join(", ")}`);
                await convertCheckpoint({ ...options, outType: outtype });
            } else {
                const { convertQuantized } = await import("../../quantize/convert-quantized.js");
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

function isOutType(type: OutType | Mixture): type is OutType {
    return Object.hasOwn(outTypes, type);
}

/** Turns the first SIGINT or SIGTERM into an abort, so that the temporary file is removed; a second one ends at once. */
function interruptible(): { signal: AbortSignal; end: () => void } {
    const controller = new AbortController();
    const abort = () => {
        end();
        controller.abort();
    };
    const end = () => {
        process.off("SIGINT", abort);
        process.off("SIGTERM", abort);
    };
    process.on("SIGINT", abort);
    process.on("SIGTERM", abort);
    return { signal: controller.signal, end };
}
