import process from "node:process";
import type { Argv, CommandModule } from "yargs";
import { checkGenerationOptions } from "../shared/generate.js";
import { addGenerationOptions, addJsonOption } from "../shared/generation-options.js";
import { withInterrupt } from "../shared/interrupt.js";
import { addComputingOptions, checkModelOptions } from "../shared/model-options.js";
import { typedOptions } from "../shared/typed-options.js";
import type { AskOptions } from "./options.js";

export const command: CommandModule<object, AskOptions> = {
    command: "ask <memory> [question]",
    describe: "Answer questions from a memory saved by armt read, without reading the text again",
    builder: (parser: Argv<object>) => {
        const options = typedOptions<AskOptions>(
            parser
                .positional("memory", { type: "string", demandOption: true, describe: "Memory file (.armt)" })
                .positional("question", {
                    type: "string",
                    describe: "The question; - or none: each line of standard input is one, and so is each answer"
                })
                .option("model", {
                    alias: "m",
                    type: "string",
                    describe: "Model file (.gguf) or name (armt pull) [default: the model that read the text]"
                })
                .option("format", {
                    type: "string",
                    describe:
                        "Form of the question, with {} for its words; it comes after the text, and \\n is a new line " +
                        '[default: as the model was trained, or "\\n{}"]'
                })
                .option("close-before-question", {
                    type: "boolean",
                    describe: "Start a new segment with the question [default: as the model was trained]"
                })
                .example('$0 ask book.armt "Who killed the count?"', "")
                .example("$0 ask book.armt < questions.txt", "Many questions, for which the model is loaded once")
                .example('$0 ask book.armt "Who?" --format "\\nQ: {}\\nA:"', "For a model that knows this form")
        );
        addGenerationOptions(parser);
        addJsonOption(parser, "Print a JSON object for each question, on a line, instead of the text");
        addComputingOptions(parser);
        return options;
    },
    handler: async (options) => {
        checkModelOptions(options);
        checkGenerationOptions(options);
        const { ask } = await import("./run.js");
        await withInterrupt((signal) => ask(options, signal, process.stdin, process.stdout));
    }
};
