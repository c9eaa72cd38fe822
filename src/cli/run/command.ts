import process from "node:process";
import type { Argv, CommandModule } from "yargs";
import { checkGenerationOptions } from "../shared/generate.js";
import { addGenerationOptions } from "../shared/generation-options.js";
import { withInterrupt } from "../shared/interrupt.js";
import { addModelOptions, checkModelOptions } from "../shared/model-options.js";
import { typedOptions } from "../shared/typed-options.js";
import { addCacheOptions } from "./memory-cache.js";
import type { RunOptions } from "./options.js";

export const command: CommandModule<object, RunOptions> = {
    command: "run [model]",
    describe: "Read a prompt and continue it",
    builder: (parser: Argv<object>) => {
        const options = typedOptions<RunOptions>(
            parser
                .option("prompt", { alias: "p", type: "string", describe: "The prompt" })
                .option("file", {
                    alias: "f",
                    type: "string",
                    describe: "Text file with the prompt [default: standard input]"
                })
                .option("tokens", { type: "string", describe: "JSON file with the prompt's token ids" })
                .example('$0 run model.gguf -p "Once upon a time"', "Continues a text")
                .example("$0 run model.gguf -f book.txt -n 100", "Reads a whole book first, with a progress bar")
                .example("$0 run model.gguf --tokens ids.json --json", "Token ids in, token ids out")
        );
        addGenerationOptions(parser);
        addCacheOptions(parser);
        addModelOptions(parser, "f16");
        return options;
    },
    handler: async (options) => {
        checkModelOptions(options);
        checkGenerationOptions(options);
        const { run } = await import("./run.js");
        await withInterrupt((signal) => run(options, signal, process.stdout));
    }
};
