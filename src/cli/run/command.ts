import process from "node:process";
import type { Argv, CommandModule } from "yargs";
import { checkGenerationOptions } from "../shared/generate.js";
import { addGenerationOptions, addJsonOption } from "../shared/generation-options.js";
import { withInterrupt } from "../shared/interrupt.js";
import { addModelOptions, checkModelOptions } from "../shared/model-options.js";
import { typedOptions } from "../shared/typed-options.js";
import { type GivenRunOptions, placeArguments } from "./arguments.js";
import { addCacheOptions } from "./memory-cache.js";

export const command: CommandModule<object, GivenRunOptions> = {
    command: "run [input..]",
    describe: "Read a prompt and continue it",
    builder: (parser: Argv<object>) => {
        const options = typedOptions<GivenRunOptions>(
            parser
                .usage("$0 run [model] [prompt]\n\nReads a prompt and continues it.")
                .positional("input", {
                    type: "string",
                    array: true,
                    describe: "Model file (.gguf) or name (armt pull), unless -m names it; then the prompt"
                })
                .option("prompt", { alias: "p", type: "string", describe: "The prompt" })
                .option("file", {
                    alias: "f",
                    type: "string",
                    describe: "Text file with the prompt [default: standard input]"
                })
                .option("tokens", { type: "string", describe: "JSON file with the prompt's token ids" })
                .option("chat", {
                    type: "boolean",
                    default: false,
                    describe: "The prompt is a user's message, in the form of the model's chat template"
                })
                .option("system-prompt", {
                    type: "string",
                    describe: "With --chat: instructions before the message"
                })
                .option("parse-special", {
                    type: "boolean",
                    default: true,
                    describe: "Names of special tokens in the prompt are these tokens; --no-parse-special: plain text"
                })
                .example('$0 run -m model.gguf "Once upon a time"', "Continues a text")
                .example('$0 run -m model.gguf --chat "Who are you?"', "Answers a message")
                .example("$0 run model.gguf -f book.txt -n 100", "Reads a whole book first, with a progress bar")
                .example("$0 run model.gguf --tokens ids.json --json", "Token ids in, token ids out")
        );
        addGenerationOptions(parser);
        addJsonOption(parser);
        addModelOptions(parser, "f16", "option");
        addCacheOptions(parser);
        return options;
    },
    handler: async (given) => {
        const options = placeArguments(given);
        checkModelOptions(options);
        checkGenerationOptions(options);
        const { run } = await import("./run.js");
        await withInterrupt((signal) => run(options, signal, process.stdout));
    }
};
