import type { Argv, CommandModule } from "yargs";
import { addCheckpointOptions, checkCheckpointOptions } from "../shared/checkpoint-options.js";
import { withInterrupt } from "../shared/interrupt.js";
import { addComputingOptions, checkModelOptions } from "../shared/model-options.js";
import { typedOptions } from "../shared/typed-options.js";
import type { DetectArguments } from "./options.js";

export const command: CommandModule<object, DetectArguments> = {
    command: "detect <checkpoint>",
    describe: "Find out how a checkpoint computes its memory, by the perplexity of a text under each variant",
    builder: (parser: Argv<object>) => {
        addComputingOptions(parser);
        addCheckpointOptions(parser);
        return typedOptions(
            parser
                .positional("checkpoint", {
                    type: "string",
                    demandOption: true,
                    describe: "Folder of the checkpoint, the file of weights in it, or a model file (.gguf)"
                })
                .option("text", {
                    type: "string",
                    demandOption: true,
                    describe: "Text of the kind that the model was trained on, several segments long"
                })
                .option("segment-size", {
                    type: "string",
                    describe: "Segment sizes to compare, e.g. 512,1024 [default: the file's, or these two]"
                })
                .option("tokens", {
                    type: "string",
                    describe: "Maximum number of tokens to read, e.g. 8k [default: 9 of the largest segments]"
                })
                .option("json", { type: "boolean", default: false, describe: "Print JSON" })
                .example("$0 detect ./checkpoint --text book.txt", "Normalized keys or not; segments of 512 or 1024")
        );
    },
    handler: async (options) => {
        checkModelOptions({ ...options, segmentSize: undefined, kvType: "f32" });
        checkCheckpointOptions(options);
        const { printDetection } = await import("./run.js");
        await withInterrupt((signal) => printDetection(options, signal, process.stdout));
    }
};
