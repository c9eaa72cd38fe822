import type { Argv, CommandModule } from "yargs";
import { withInterrupt } from "../../shared/interrupt.js";
import { checkNumber } from "../../shared/numbers.js";
import { typedOptions } from "../../shared/typed-options.js";
import { addQuestionOptions, checkQuestionOptions } from "../questions/options.js";
import type { RecallOptions } from "./options.js";

export const command: CommandModule<object, RecallOptions> = {
    command: "recall",
    describe: "Hide facts in filler text, then ask about them",
    builder: (parser: Argv<object>) => {
        addQuestionOptions(parser);
        return typedOptions<RecallOptions>(
            parser
                .option("facts", {
                    type: "number",
                    default: 10,
                    describe: "Facts in each text, overridden ones included"
                })
                .option("split", {
                    choices: ["train", "heldOut"],
                    default: "heldOut",
                    describe: "Use names and sentences that training saw, or did not"
                })
                .example("$0 eval recall --lengths 4k,32k --plot recall.svg", "The package's own model")
        );
    },
    handler: async (options) => {
        checkQuestionOptions(options);
        checkNumber("facts", options.facts, { min: 1 });
        const { evaluateRecall } = await import("./run.js");
        await withInterrupt((signal) => evaluateRecall(options, signal, process.stdout));
    }
};
