import type { CommandModule } from "yargs";
import { describeSnapshot } from "../../../plugin/memory/describe-snapshot.js";
import { isSnapshotFile, readSnapshotFile } from "../../../plugin/memory/snapshot-file.js";
import { resolveModel } from "../../../plugin/model/model-cache.js";
import { describeGguf } from "../../formats/gguf/describe.js";
import { refuseFolder } from "../../model/check-model-file.js";
import { verifyWithProgress } from "../../model/verify-with-progress.js";

type InspectArguments = { file: string; json: boolean; tensors: boolean; verify: boolean };

export const command: CommandModule<object, InspectArguments> = {
    command: "inspect <file>",
    describe: "Show the contents of a model file (GGUF) or a memory file",
    builder: (yargs) =>
        yargs
            .positional("file", {
                describe: "GGUF file, of an ARMT or any other model, or memory file (.armt)",
                type: "string",
                demandOption: true
            })
            .option("json", { describe: "Print JSON", type: "boolean", default: false })
            .option("tensors", { describe: "List the tensors too", type: "boolean", default: false })
            .option("verify", {
                describe: "Read the whole file of an ARMT model or a memory first, and compare it with its checksum",
                type: "boolean",
                default: false
            })
            .example("$0 inspect model.gguf --tensors", "Facts, keys and tensors"),
    handler: async ({ file: named, json, tensors, verify }) => {
        const file = resolveModel(named);
        refuseFolder(file);
        if (await isSnapshotFile(file)) {
            if (verify) await readSnapshotFile(file);
            const memory = await describeSnapshot(file);
            process.stdout.write(json ? `${memory.toJson()}\n` : memory.toText());
            return;
        }
        const description = await describeGguf(file);
        if (verify) await verifyWithProgress(file);
        process.stdout.write(json ? `${description.toJson({ tensors })}\n` : description.toText({ tensors }));
    }
};
