import process from "node:process";
import type { Argv, CommandModule } from "yargs";
import { withInterrupt } from "../shared/interrupt.js";
import { addComputingOptions, checkModelOptions } from "../shared/model-options.js";
import { checkNumber } from "../shared/numbers.js";
import { typedOptions } from "../shared/typed-options.js";
import type { DemoOptions } from "./options.js";

export const command: CommandModule<object, DemoOptions> = {
    command: "demo",
    describe: "Hide facts in a long text, let the included model read it, and ask",
    builder: (parser: Argv<object>) => {
        const options = typedOptions<DemoOptions>(
            parser
                .option("tokens", { type: "number", default: 100_000, describe: "Length of the text" })
                .option("facts", { type: "number", default: 10, describe: "Facts in it, overridden ones included" })
                .option("seed", { type: "number", default: 1, describe: "The same seed gives the same text" })
                .option("model", {
                    alias: "m",
                    type: "string",
                    describe: "Model file (.gguf) or name (armt pull) [default: the included model]"
                })
                .example("$0 demo --tokens 1000000", "A million tokens, in the same memory")
        );
        addComputingOptions(parser);
        return options;
    },
    handler: async (options) => {
        checkModelOptions({ ...options, kvType: "f16" });
        for (const name of ["tokens", "facts"] as const) checkNumber(name, options[name], { min: 1 });
        checkNumber("seed", options.seed, { min: 0 });
        const { demo } = await import("./run.js");
        await withInterrupt((signal) => demo(options, signal, process.stdout));
    }
};
