import process from "node:process";
import type { Argv, CommandModule } from "yargs";
import { knownModels } from "../../../plugin/model/known-models.js";
import { createProgressBar } from "../../util/progress.js";
import { withInterrupt } from "../shared/interrupt.js";
import { typedOptions } from "../shared/typed-options.js";

type PullArguments = { name: string; base?: string; force: boolean };

const names = knownModels.map(({ name }) => name).join(", ");

export const command: CommandModule<object, PullArguments> = {
    command: "pull <name>",
    describe: "Get a language model with a memory of this package, to use by its name",
    builder: (parser: Argv<object>) =>
        typedOptions(
            parser
                .positional("name", { type: "string", demandOption: true, describe: `Name of the model: ${names}` })
                .option("base", {
                    type: "string",
                    describe: "GGUF file of the base model, in any quantization [default: it is downloaded]"
                })
                .option("force", { type: "boolean", default: false, describe: "Make the model again if it is there" })
                .example("$0 pull smollm2-135m", "then: armt serve smollm2-135m")
        ),
    handler: async ({ name, base, force }) => {
        const { pullModel } = await import("./pull-model.js");
        const download = createProgressBar("downloading");
        const attach = createProgressBar("attaching");
        const warnings: string[] = [];
        try {
            const { path, isNew, hasOtherMemory } = await withInterrupt((signal) =>
                pullModel(name, {
                    base,
                    force,
                    onDownload: download.update,
                    onAttach: (done, total) => {
                        download.stop();
                        attach.update(done, total);
                    },
                    onWarning: (message) => warnings.push(message),
                    signal
                })
            );
            if (!isNew) {
                const which = hasOtherMemory ? ", with another memory than this package's" : "";
                process.stderr.write(`${name} is there already${which}; --force makes it again\n`);
            }
            process.stdout.write(`${path}\n`);
        } finally {
            download.stop();
            attach.stop();
        }
        for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
    }
};
