import type { Argv, CommandModule } from "yargs";
import { segmentAlignments } from "../../../convert/armt-config.js";
import { chatTemplate, defaultTemplate } from "../../../eval/babilong/prompt.js";
import { withInterrupt } from "../../shared/interrupt.js";
import { addModelOptions, checkModelOptions } from "../../shared/model-options.js";
import { checkNumber } from "../../shared/numbers.js";
import { typedOptions } from "../../shared/typed-options.js";
import type { BabilongOptions } from "./options.js";

export const command: CommandModule<object, BabilongOptions> = {
    command: "babilong <data>",
    describe: "Ask about facts in long texts, from files in BABILong's format",
    builder: (parser: Argv<object>) => {
        parser.positional("data", {
            type: "string",
            demandOption: true,
            describe: "Folder with <length>/<task>.json, or one JSON file: a list of {input, question, target}"
        });
        const options = typedOptions<BabilongOptions>(
            parser
                .option("tasks", { type: "string", describe: "Only these, e.g. qa1,qa2 [default: all]" })
                .option("lengths", { type: "string", describe: "Only these, e.g. 0k,4k [default: all]" })
                .option("samples", {
                    type: "number",
                    describe: "Maximum number of questions from each file [default: all]"
                })
                .option("template", {
                    type: "string",
                    describe:
                        "Prompt, with {input} and {question} in it; \\n is a new line [default: " +
                        `${JSON.stringify(defaultTemplate)}; with --chat ${JSON.stringify(chatTemplate)}]`
                })
                .option("chat", {
                    type: "boolean",
                    default: false,
                    describe: "The prompt is the user's turn of a chat, in the model's template"
                })
                .option("per-sentence", {
                    type: "boolean",
                    default: false,
                    describe: "Tokenize each sentence and the question on their own, without a template"
                })
                .option("answer-token", {
                    type: "string",
                    describe: "Token right before the answer: an id, or a text whose first token is taken, e.g. GEN"
                })
                .option("one-word", {
                    type: "boolean",
                    default: false,
                    describe: "An answer is its first word"
                })
                .option("segment-alignment", {
                    choices: segmentAlignments,
                    describe: "Which segment of a prompt is short: last, first, or all alike [default: the model's]"
                })
                .option("max-tokens", { type: "number", default: 20, describe: "Maximum length of an answer" })
                .option("json", { type: "string", describe: "File to write all results and answers to" })
                .option("plot", { type: "string", describe: "SVG file to write: correct answers by length and task" })
                .example("$0 eval babilong data -m model.gguf --lengths 4k,32k --tasks qa1", "")
        );
        addModelOptions(parser, "f16", "option");
        return options;
    },
    handler: async (options) => {
        checkModelOptions(options);
        checkNumber("samples", options.samples, { min: 1 });
        checkNumber("max-tokens", options.maxTokens, { min: 1 });
        const { evaluateBabilong } = await import("./run.js");
        await withInterrupt((signal) => evaluateBabilong(options, signal, process.stdout));
    }
};
