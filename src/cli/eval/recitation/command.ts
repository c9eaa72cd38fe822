import type { Argv, CommandModule } from "yargs";
import { questionForms } from "../../../eval/questions/question.js";
import { withInterrupt } from "../../shared/interrupt.js";
import { checkNumber } from "../../shared/numbers.js";
import { typedOptions } from "../../shared/typed-options.js";
import { addQuestionOptions, checkQuestionOptions } from "../questions/options.js";
import type { RecitationOptions } from "./options.js";

export const command: CommandModule<object, RecitationOptions> = {
    command: "recitation",
    describe: "Give the beginning of sentences of prose, and compare how they go on",
    builder: (parser: Argv<object>) => {
        addQuestionOptions(parser, questionForms);
        return typedOptions<RecitationOptions>(
            parser
                .option("per-text", { type: "number", default: 20, describe: "Sentences of each text to ask for" })
                .example("$0 eval recitation -m model.gguf --lengths 4k", "")
        );
    },
    handler: async (options) => {
        checkQuestionOptions(options);
        checkNumber("per-text", options.perText, { min: 1 });
        const { evaluateRecitation } = await import("./run.js");
        await withInterrupt((signal) => evaluateRecitation(options, signal, process.stdout));
    }
};
