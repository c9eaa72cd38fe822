import type { Argv, CommandModule } from "yargs";
import { withInterrupt } from "../shared/interrupt.js";
import { addModelOptions, checkModelOptions } from "../shared/model-options.js";
import { typedOptions } from "../shared/typed-options.js";
import type { TraceOptions } from "./options.js";

export const command: CommandModule<object, TraceOptions> = {
    command: "trace",
    describe: "Draw how a prompt is computed: cells by layer and time, graphs built and replayed",
    builder: (parser: Argv<object>) => {
        const options = typedOptions<TraceOptions>(
            parser
                .option("tokens", { type: "string", default: "4k", describe: "Length of the random prompt, e.g. 16k" })
                .option("svg", { type: "string", describe: "SVG file to write" })
                .option("html", { type: "string", describe: "Page with the picture and a table of all steps" })
                .option("chrome", { type: "string", describe: "JSON file for Perfetto or chrome://tracing" })
                .example("$0 trace --tokens 4k --svg trace.svg", "Both schedules; --schedule takes one of them")
        );
        addModelOptions(parser, "f16", "option");
        return options;
    },
    handler: async (options) => {
        checkModelOptions(options);
        const { trace } = await import("./run.js");
        await withInterrupt((signal) => trace(options, signal, process.stdout));
    }
};
