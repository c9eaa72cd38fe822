import type { Argv, CommandModule } from "yargs";
import { type MemoryType, type Mixture, memoryTypes, mixtures } from "../../quantize/mixtures.js";
import { createProgressBar } from "../../util/progress.js";
import { withInterrupt } from "../interrupt.js";
import { typedOptions } from "../typed-options.js";

interface QuantizeOptions {
    input: string;
    output: string;
    type: Mixture;
    memoryType: MemoryType;
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
                    choices: mixtures,
                    demandOption: true,
                    describe: "llama.cpp's name of the mixture of types"
                })
                .option("memory-type", {
                    choices: memoryTypes,
                    default: "q8_0" as MemoryType,
                    describe: "Type of the memory's projections"
                })
                .option("force", { type: "boolean", default: false, describe: "Replace an existing output file" })
                .example("$0 quantize model.gguf small.gguf q4_k_m", "About a third of the size of f16")
        ),
    handler: async ({ input, output, type, memoryType, force }) => {
        const { quantizeModel } = await import("../../quantize/quantize.js");
        const bar = createProgressBar("quantizing");
        await withInterrupt(async (signal) => {
            try {
                await quantizeModel({
                    input,
                    output,
                    mixture: type,
                    memoryType,
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
