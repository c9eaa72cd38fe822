import process from "node:process";
import type { Argv, CommandModule } from "yargs";
import { knownModels } from "../../../plugin/model/known-models.js";
import { listModels, removeModel } from "../../../plugin/model/model-cache.js";
import { textTable } from "../../util/table.js";

const remove: CommandModule<object, { name: string }> = {
    command: "rm <name>",
    describe: "Remove a model from the cache",
    builder: (parser: Argv<object>) =>
        parser.positional("name", { type: "string", demandOption: true, describe: "Name of the model" }),
    handler: async ({ name }) => {
        const { path } = await removeModel(name);
        process.stderr.write(`removed ${path}\n`);
    }
};

export const command: CommandModule<object, { json: boolean }> = {
    command: "models",
    describe: "List the models that armt pull made",
    builder: (parser: Argv<object>) =>
        parser
            .command(remove)
            .option("json", { type: "boolean", default: false, describe: "Print JSON" })
            .example("$0 models rm smollm2-135m", "Removes it"),
    handler: async ({ json }) => {
        const models = await listModels();
        if (json) process.stdout.write(`${JSON.stringify(models)}\n`);
        else if (models.length > 0) {
            const rows = models.map(({ name, size, path }) => [name, `${(size / 2 ** 20).toFixed(1)} MiB`, path]);
            process.stdout.write(textTable(["name", "size", "path"], rows));
        } else {
            const names = knownModels.map(({ name }) => name).join(", ");
            process.stderr.write(`no models yet; \`npx armt pull NAME\` gets one: ${names}\n`);
        }
    }
};
