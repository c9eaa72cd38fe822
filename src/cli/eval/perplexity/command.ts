import type { Argv, CommandModule } from "yargs";
import { withInterrupt } from "../../shared/interrupt.js";
import { addModelOptions, checkModelOptions } from "../../shared/model-options.js";
import { checkNumber } from "../../shared/numbers.js";
import { typedOptions } from "../../shared/typed-options.js";
import type { PerplexityOptions } from "./options.js";

export const command: CommandModule<object, PerplexityOptions> = {
    command: "perplexity [text]",
    describe: "How well the model predicts each next token of a text, with and without memory",
    builder: (parser: Argv<object>) => {
        parser.positional("text", {
            type: "string",
            demandOption: true,
            describe: "Text file, or - for standard input"
        });
        const options = typedOptions<PerplexityOptions>(
            parser
                .option("tokens", {
                    type: "string",
                    describe: "Maximum number of tokens to read, e.g. 32k [default: the whole text]"
                })
                .option("json", { type: "string", describe: "File to write all results to" })
                .option("plot", { type: "string", describe: "SVG file to write: perplexity by position in the text" })
                .example("$0 eval perplexity book.txt --tokens 32k", "The package's own model")
        );
        addModelOptions(parser, "f16", "option");
        return options;
    },
    handler: async (options) => {
        checkModelOptions(options);
        checkNumber("segment-size", options.segmentSize, { min: 1 });
        const { evaluatePerplexity } = await import("./run.js");
        await withInterrupt((signal) => evaluatePerplexity(options, signal, process.stdout));
    }
};
