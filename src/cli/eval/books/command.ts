import type { Argv, CommandModule } from "yargs";
import { withInterrupt } from "../../shared/interrupt.js";
import { typedOptions } from "../../shared/typed-options.js";
import { addQuestionOptions, checkQuestionOptions } from "../questions/options.js";
import type { BooksOptions } from "./options.js";

export const command: CommandModule<object, BooksOptions> = {
    command: "books <books>",
    describe: "Read books from their beginning, then ask about them",
    builder: (parser: Argv<object>) => {
        parser.positional("books", {
            type: "string",
            demandOption: true,
            describe: "Folder with alice.txt, persuasion.txt or workshop.txt, or one of these files"
        });
        addQuestionOptions(parser, ["chat", "plain"], "all");
        return typedOptions<BooksOptions>(
            parser.example("$0 eval books train/data/books -m model.gguf", "The whole books").hide("questions")
        );
    },
    handler: async (options) => {
        checkQuestionOptions(options);
        const { evaluateBooks } = await import("./run.js");
        await withInterrupt((signal) => evaluateBooks(options, signal, process.stdout));
    }
};
