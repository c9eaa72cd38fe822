import type { Argv, CommandModule } from "yargs";
import { withInterrupt } from "../shared/interrupt.js";
import { addModelOptions, checkModelOptions } from "../shared/model-options.js";
import { typedOptions } from "../shared/typed-options.js";
import type { LogitsOptions } from "./options.js";

export const command: CommandModule<object, LogitsOptions> = {
    command: "logits <model>",
    describe: "Write the logits of every token of a prompt, and the memory, to a safetensors file",
    builder: (parser: Argv<object>) => {
        const options = typedOptions<LogitsOptions>(
            parser
                .option("tokens", { type: "string", demandOption: true, describe: "JSON file with the token ids" })
                .option("out", {
                    alias: "o",
                    type: "string",
                    demandOption: true,
                    describe: "File to write: logits [n, V] in float32"
                })
                .option("memory", {
                    type: "boolean",
                    default: false,
                    describe: "Close the last segment, and add each layer's W_mem.N [K, D] and z.N [K]"
                })
                .example("$0 logits model.gguf --tokens ids.json --out logits.safetensors --memory", "")
        );
        addModelOptions(parser, "f32");
        return options;
    },
    handler: async (options) => {
        checkModelOptions(options);
        const { writeLogits } = await import("./run.js");
        await withInterrupt((signal) => writeLogits(options, signal));
    }
};
