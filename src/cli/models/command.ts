import process from "node:process";
import type { Argv, CommandModule } from "yargs";
import { modelsToPull } from "../../../plugin/model/known-models.js";
import { listModels } from "../../../plugin/model/model-cache.js";
import { textTable } from "../../util/table.js";
import { ownOptionsFirst } from "../shared/command-builder.js";
import { command as remove } from "./rm/command.js";

export const command: CommandModule<object, { json: boolean }> = {
    command: "models",
    describe: "List the models that armt pull made",
    builder: (parser: Argv<object>) =>
        parser
            .command(ownOptionsFirst(remove))
            .option("json", { type: "boolean", default: false, describe: "Print JSON" })
            .example("$0 models rm smollm2-135m", "Removes it"),
    handler: async ({ json }) => {
        const models = await listModels();
        if (json) process.stdout.write(`${JSON.stringify(models)}\n`);
        else if (models.length > 0) {
            const rows = models.map(({ name, size, path }) => [name, `${(size / 2 ** 20).toFixed(1)} MiB`, path]);
            process.stdout.write(textTable(["name", "size", "path"], rows));
        } else {
            const names = modelsToPull().map(({ name }) => name);
            const advice = names.length === 0 ? "" : `; \`npx armt pull NAME\` gets one: ${names.join(", ")}`;
            process.stderr.write(`no models were pulled yet${advice}\n`);
        }
    }
};
