import type { Argv, CommandModule } from "yargs";
import { questionForms } from "../../../eval/questions/question.js";
import { withInterrupt } from "../../shared/interrupt.js";
import { checkNumber } from "../../shared/numbers.js";
import { typedOptions } from "../../shared/typed-options.js";
import { addQuestionOptions, checkQuestionOptions } from "../questions/options.js";
import type { NeedlesOptions } from "./options.js";

export const command: CommandModule<object, NeedlesOptions> = {
    command: "needles",
    describe: "Hide keys with words, numbers and UUIDs in prose, as RULER does",
    builder: (parser: Argv<object>) => {
        addQuestionOptions(parser, questionForms);
        return typedOptions<NeedlesOptions>(
            parser
                .option("tasks", {
                    type: "string",
                    default: "single,manyKeys,manyValues,manyQueries",
                    describe: "Which of the tasks"
                })
                .option("values", { type: "string", default: "number,word,uuid", describe: "Which types of values" })
                .option("per-text", {
                    type: "number",
                    default: 3,
                    describe: "Sets of needles in each text, each with a question"
                })
                .example("$0 eval needles -m model.gguf --tasks single --lengths 4k", "")
        );
    },
    handler: async (options) => {
        checkQuestionOptions(options);
        checkNumber("per-text", options.perText, { min: 1 });
        const { evaluateNeedles } = await import("./run.js");
        await withInterrupt((signal) => evaluateNeedles(options, signal, process.stdout));
    }
};
