import process from "node:process";
import type { Argv, CommandModule } from "yargs";
import { withInterrupt } from "../shared/interrupt.js";
import { addModelOptions, checkModelOptions } from "../shared/model-options.js";
import { checkNumber } from "../shared/numbers.js";
import { typedOptions } from "../shared/typed-options.js";
import type { ReadOptions } from "./options.js";

/** Default of `--checkpoint-interval`. Unit: seconds. */
const defaultCheckpointInterval = 10;

export const command: CommandModule<object, ReadOptions> = {
    command: "read [files..]",
    describe: "Read a text once and save its memory, for armt ask",
    builder: (parser: Argv<object>) => {
        const options = typedOptions<ReadOptions>(
            parser
                .positional("files", {
                    type: "string",
                    array: true,
                    describe: "Text files, read one after another; -: standard input [default: standard input]"
                })
                .option("out", {
                    alias: "o",
                    type: "string",
                    demandOption: true,
                    describe: "Memory file to write (.armt)"
                })
                .option("closed-only", {
                    type: "boolean",
                    default: false,
                    describe: "Omit the last, open segment, so that the next text starts a new segment"
                })
                .option("checkpoint-interval", {
                    default: defaultCheckpointInterval,
                    type: "number",
                    describe: "Seconds of reading that an interruption may cost; the same command then resumes there"
                })
                .option("restart", {
                    type: "boolean",
                    default: false,
                    describe: "Read from the start even if an interrupted run could be resumed"
                })
                .option("force", {
                    type: "boolean",
                    default: false,
                    describe: "Replace an existing memory file, even of another text"
                })
                .option("json", { type: "boolean", default: false, describe: "Print the result as JSON" })
                .example("$0 read book.txt -m model.gguf -o book.armt", "Reads a book, with a progress bar")
                .example("$0 read chapters/*.txt -o book.armt", "Reads several files as one text")
                .example("zcat logs.gz | $0 read -m model.gguf -o logs.armt", "Reads more than fits into memory")
        );
        addModelOptions(parser, "f16", "option");
        return options;
    },
    handler: async (options) => {
        checkModelOptions(options);
        checkNumber("checkpoint-interval", options.checkpointInterval, { min: 0, integer: false });
        const { read } = await import("./run.js");
        await withInterrupt((signal) => read(options, signal, process.stdout));
    }
};
