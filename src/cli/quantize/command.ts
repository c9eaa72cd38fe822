import type { Argv, CommandModule } from "yargs";
import {
    type MemoryType,
    memoryTypes,
    mixtures,
    type QuantizeTarget,
    wideTypes
} from "../../convert/quantize/mixtures.js";
import { createProgressBar } from "../../util/progress.js";
import { withInterrupt } from "../shared/interrupt.js";
import { typedOptions } from "../shared/typed-options.js";

interface QuantizeOptions {
    input: string;
    output: string;
    type: QuantizeTarget;
    memoryType?: MemoryType;
    requantize: boolean;
    force: boolean;
}

export const command: CommandModule<object, QuantizeOptions> = {
    command: "quantize <input> <output> <type>",
    describe: "Make a model file smaller: fewer bits a weight",
    builder: (parser: Argv<object>) =>
        typedOptions(
            parser
                .positional("input", {
                    type: "string",
                    demandOption: true,
                    describe: "ARMT model file with f16, bf16 or f32 weights"
                })
                .positional("output", { type: "string", demandOption: true, describe: "File to write" })
                .positional("type", {
                    choices: [...wideTypes, ...mixtures] as QuantizeTarget[],
                    demandOption: true,
                    describe: "llama.cpp's name of the mixture of types"
                })
                .option("memory-type", {
                    choices: memoryTypes,
                    describe: "Type of the memory's projections [default: q8_0; f16 and bf16 as all weights]"
                })
                .option("requantize", {
                    type: "boolean",
                    default: false,
                    describe: "Accept an input with q8_0 weights; its rounding stays in the result"
                })
                .option("force", { type: "boolean", default: false, describe: "Replace an existing output file" })
                .example("$0 quantize model.gguf small.gguf q4_k_m", "About a third of the size of f16")
        ),
    handler: async ({ input, output, type, memoryType, requantize, force }) => {
        const { quantizeModel } = await import("../../convert/quantize/quantize.js");
        const bar = createProgressBar("quantizing");
        await withInterrupt(async (signal) => {
            try {
                await quantizeModel({
                    input,
                    output,
                    mixture: type,
                    memoryType,
                    requantize,
                    overwrite: force,
                    signal,
                    onProgress: bar.update
                });
            } finally {
                bar.stop();
            }
        });
    }
};
