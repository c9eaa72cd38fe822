import type { Argv, CommandModule } from "yargs";
import { stateTypes } from "../../../../plugin/native/enums.js";
import { withInterrupt } from "../../shared/interrupt.js";
import { addComputingOptions, checkModelOptions } from "../../shared/model-options.js";
import { checkNumber } from "../../shared/numbers.js";
import { typedOptions } from "../../shared/typed-options.js";
import type { RecallOptions } from "./options.js";

export const command: CommandModule<object, RecallOptions> = {
    command: "recall",
    describe: "Hide facts in filler text, then ask about them",
    builder: (parser: Argv<object>) => {
        const options = typedOptions<RecallOptions>(
            parser
                .option("model", {
                    alias: "m",
                    type: "string",
                    array: true,
                    nargs: 1,
                    describe: "Model file (.gguf); repeat to compare models in one table [default: the included model]"
                })
                .option("lengths", { type: "string", default: "4k,32k,128k", describe: "Tokens to read, e.g. 4k,1m" })
                .option("questions", {
                    type: "number",
                    default: 50,
                    describe: "Minimum number of questions for each length"
                })
                .option("facts", {
                    type: "number",
                    default: 10,
                    describe: "Facts in each text, overridden ones included"
                })
                .option("seed", { type: "number", default: 1, describe: "The same seed gives the same texts" })
                .option("split", {
                    choices: ["train", "heldOut"],
                    default: "heldOut",
                    describe: "Use names and sentences that training saw, or did not"
                })
                .option("state-type", {
                    choices: stateTypes,
                    describe: "Number type of the associative memory [default: f32]"
                })
                .option("json", { type: "string", describe: "File to write all results to" })
                .option("plot", { type: "string", describe: "SVG file to write: recall by length and depth" })
                .example("$0 eval recall --lengths 4k,32k --plot recall.svg", "The package's own model")
        );
        addComputingOptions(parser);
        return options;
    },
    handler: async (options) => {
        checkModelOptions({ ...options, kvType: "f16" });
        for (const name of ["questions", "facts"] as const) checkNumber(name, options[name], { min: 1 });
        checkNumber("seed", options.seed, { min: 0 });
        const { evaluateRecall } = await import("./run.js");
        await withInterrupt((signal) => evaluateRecall(options, signal, process.stdout));
    }
};
