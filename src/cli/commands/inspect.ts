import type { CommandModule } from "yargs";
import { describeGguf } from "../../gguf/describe.js";
import { verifyWithProgress } from "../verify.js";

type InspectArguments = { file: string; json: boolean; tensors: boolean; verify: boolean };

export const command: CommandModule<object, InspectArguments> = {
    command: "inspect <file>",
    describe: "Show what a GGUF file holds: ARMT facts, sizes, metadata",
    builder: (yargs) =>
        yargs
            .positional("file", {
                describe: "GGUF file, of an ARMT or any other model",
                type: "string",
                demandOption: true
            })
            .option("json", { describe: "Print JSON", type: "boolean", default: false })
            .option("tensors", { describe: "List the tensors too", type: "boolean", default: false })
            .option("verify", {
                describe: "Read the whole file of an ARMT model and compare it with its fingerprint first",
                type: "boolean",
                default: false
            })
            .example("$0 inspect model.gguf --tensors", "Facts, keys and tensors"),
    handler: async ({ file, json, tensors, verify }) => {
        const description = await describeGguf(file);
        if (verify) await verifyWithProgress(file);
        process.stdout.write(json ? `${description.toJson({ tensors })}\n` : description.toText({ tensors }));
    }
};
