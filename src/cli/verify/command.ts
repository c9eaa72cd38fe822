import process from "node:process";
import type { Argv, CommandModule } from "yargs";
import { ArmtError } from "../../util/errors.js";
import type { VerifyOptions } from "../../verify/verify-model.js";
import { addCheckpointOptions, checkCheckpointOptions } from "../shared/checkpoint-options.js";
import { withInterrupt } from "../shared/interrupt.js";
import { addComputingOptions, checkModelOptions } from "../shared/model-options.js";
import { checkNumber } from "../shared/numbers.js";
import { typedOptions } from "../shared/typed-options.js";

export const command: CommandModule<object, VerifyOptions> = {
    command: "verify <model>",
    describe:
        "Compare a model file with its checkpoint: logits and memory, by the engine and by a plain float64 computation",
    builder: (parser: Argv<object>) => {
        addComputingOptions(parser);
        addCheckpointOptions(parser);
        return typedOptions(
            parser
                .positional("model", { type: "string", demandOption: true, describe: "ARMT model file (.gguf)" })
                .option("against", {
                    type: "string",
                    demandOption: true,
                    describe:
                        "What the file was made from: the folder of a checkpoint, the file of weights in it, " +
                        "or with --memory the base's GGUF file"
                })
                .option("memory", {
                    type: "string",
                    describe: "The memory's file that was attached to the base"
                })
                .option("segments", {
                    type: "number",
                    default: 3,
                    describe: "Whole segments to compute, before one that is half full"
                })
                .option("segment-size", {
                    type: "number",
                    describe: "Text tokens in a segment [default: the model's, at most 16]"
                })
                .option("tokens", {
                    type: "string",
                    describe: "JSON file with the token ids to compute [default: random ones]"
                })
                .option("tolerance", {
                    type: "number",
                    describe: "Largest relative difference to accept [default: depends on the file's type]"
                })
                .option("json", { type: "boolean", default: false, describe: "Print JSON" })
                .example("$0 verify model.gguf --against ./checkpoint", "Exit code 1 where they differ")
        );
    },
    handler: async (options) => {
        checkModelOptions({ ...options, kvType: "f32" });
        checkCheckpointOptions(options);
        checkNumber("segments", options.segments, { min: 1 });
        checkNumber("tolerance", options.tolerance, { min: 0, integer: false });
        const { verifyModel } = await import("../../verify/verify-model.js");
        const { failureText, reportText } = await import("../../verify/report.js");
        const report = await withInterrupt((signal) => verifyModel(options, signal));
        process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : reportText(report));
        if (!report.passed) throw new ArmtError(failureText(report));
    }
};
