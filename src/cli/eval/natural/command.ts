import type { Argv, CommandModule } from "yargs";
import { questionForms } from "../../../eval/questions/question.js";
import { withInterrupt } from "../../shared/interrupt.js";
import { checkNumber } from "../../shared/numbers.js";
import { typedOptions } from "../../shared/typed-options.js";
import { addQuestionOptions, checkQuestionOptions } from "../questions/options.js";
import type { NaturalOptions } from "./options.js";

export const command: CommandModule<object, NaturalOptions> = {
    command: "natural",
    describe: "Hide facts in a person's own words in prose, then ask about them",
    builder: (parser: Argv<object>) => {
        addQuestionOptions(parser, questionForms);
        return typedOptions<NaturalOptions>(
            parser
                .option("per-text", { type: "number", default: 10, describe: "Facts in each text" })
                .example("$0 eval natural -m model.gguf --form chat,completion --lengths 4k", "")
        );
    },
    handler: async (options) => {
        checkQuestionOptions(options);
        checkNumber("per-text", options.perText, { min: 1 });
        const { evaluateNatural } = await import("./run.js");
        await withInterrupt((signal) => evaluateNatural(options, signal, process.stdout));
    }
};
