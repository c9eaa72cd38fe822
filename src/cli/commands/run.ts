import process from "node:process";
import type { Argv, CommandModule } from "yargs";
import { withInterrupt } from "../interrupt.js";
import { addModelOptions, checkModelOptions, type ModelOptions } from "../model-options.js";
import { checkNumber } from "../numbers.js";
import type { PromptSource } from "../prompt.js";
import { typedOptions } from "../typed-options.js";

/** Default of `--max-tokens`. */
const defaultMaxTokens = 256;

interface RunOptions extends ModelOptions, PromptSource {
    maxTokens: number;
    temperature: number;
    seed?: number;
    ignoreEos: boolean;
    json: boolean;
}

export const command: CommandModule<object, RunOptions> = {
    command: "run <model>",
    describe: "Read a prompt and go on writing",
    builder: (parser: Argv<object>) => {
        addModelOptions(parser, "f16");
        return typedOptions(
            parser
                .option("prompt", { alias: "p", type: "string", describe: "The prompt" })
                .option("file", {
                    alias: "f",
                    type: "string",
                    describe: "Text file with the prompt [default: standard input]"
                })
                .option("tokens", { type: "string", describe: "JSON file with the prompt's token ids" })
                .option("max-tokens", {
                    alias: "n",
                    default: defaultMaxTokens,
                    type: "number",
                    describe: "Tokens to write at most"
                })
                .option("temperature", {
                    default: 0,
                    type: "number",
                    describe: "Randomness; 0 always takes the most probable token"
                })
                .option("seed", { type: "number", describe: "Seed of the randomness [default: the time]" })
                .option("ignore-eos", { type: "boolean", default: false, describe: "Go on after an end-of-text token" })
                .option("json", {
                    type: "boolean",
                    default: false,
                    describe: "Print one JSON object instead of the text"
                })
                .example('$0 run model.gguf -p "Once upon a time"', "Goes on with a text")
                .example("$0 run model.gguf -f book.txt -n 100", "Reads a whole book first, with a progress bar")
                .example("$0 run model.gguf --tokens ids.json --json", "Token ids in, token ids out")
        );
    },
    handler: async (options) => {
        checkModelOptions(options);
        checkNumber("max-tokens", options.maxTokens, { min: 0 });
        checkNumber("temperature", options.temperature, { min: 0, integer: false });
        checkNumber("seed", options.seed, { min: 0 });
        const { run } = await import("../run.js");
        await withInterrupt((signal) => run(options, signal, process.stdout));
    }
};

export type { RunOptions };
