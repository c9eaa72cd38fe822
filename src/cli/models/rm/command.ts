import process from "node:process";
import type { Argv, CommandModule } from "yargs";
import { removeModel } from "../../../../plugin/model/model-cache.js";

export const command: CommandModule<object, { name: string }> = {
    command: "rm <name>",
    describe: "Remove a model from the cache",
    builder: (parser: Argv<object>) =>
        parser.positional("name", { type: "string", demandOption: true, describe: "Name of the model" }),
    handler: async ({ name }) => {
        const { path } = await removeModel(name);
        process.stderr.write(`removed ${path}\n`);
    }
};
