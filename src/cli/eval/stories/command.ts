import type { Argv, CommandModule } from "yargs";
import { withInterrupt } from "../../shared/interrupt.js";
import { checkNumber } from "../../shared/numbers.js";
import { typedOptions } from "../../shared/typed-options.js";
import { addQuestionOptions, checkQuestionOptions } from "../questions/options.js";
import type { StoriesOptions } from "./options.js";

export const command: CommandModule<object, StoriesOptions> = {
    command: "stories",
    describe: "Tell stories as bAbI does, spread over prose, then ask about their ends",
    builder: (parser: Argv<object>) => {
        addQuestionOptions(parser, ["chat", "plain"]);
        return typedOptions<StoriesOptions>(
            parser
                .option("tasks", { type: "string", default: "qa1,qa2,qa3,qa4,qa5", describe: "Which of the tasks" })
                .option("per-text", { type: "number", default: 1, describe: "Stories in each text" })
                .example("$0 eval stories -m model.gguf --tasks qa1,qa2 --lengths 4k", "")
        );
    },
    handler: async (options) => {
        checkQuestionOptions(options);
        checkNumber("per-text", options.perText, { min: 1 });
        const { evaluateStories } = await import("./run.js");
        await withInterrupt((signal) => evaluateStories(options, signal, process.stdout));
    }
};
