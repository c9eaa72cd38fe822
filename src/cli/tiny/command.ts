import { readdir } from "node:fs/promises";
import type { CommandModule } from "yargs";
import type { FamilyName } from "../../convert/families.js";
import { baseArchitectures } from "../../formats/gguf/armt-keys.js";
import { makeTinyCheckpoint } from "../../tiny/checkpoint.js";
import { resolveTinyOptions, type TinyOptions } from "../../tiny/options.js";
import { ArmtError, quote } from "../../util/errors.js";
import { UsageError } from "../../util/failure.js";
import { inCommandLineNames } from "../../util/option-names.js";

type TinyArguments = {
    folder: string;
    family: FamilyName;
    layers: number;
    hidden: number;
    "segment-size": number;
    "mem-tokens": number;
    seed: number;
    force: boolean;
};

/** `armt tiny`: makes a small model for trying the other commands without a download. */
export const command: CommandModule<object, TinyArguments> = {
    command: "tiny <folder>",
    describe: "Make a small checkpoint with random weights, to try the other commands on",
    builder: (yargs) =>
        yargs
            .positional("folder", { type: "string", demandOption: true, describe: "Folder to create" })
            .option("family", { choices: baseArchitectures, default: "llama" as FamilyName, describe: "Base model" })
            .option("layers", { type: "number", default: 4, describe: "Layers" })
            .option("hidden", { type: "number", default: 64, describe: "Embedding size, a multiple of 8" })
            .option("segment-size", { type: "number", default: 16, describe: "Text tokens in a segment" })
            .option("mem-tokens", { type: "number", default: 8, describe: "Memory tokens" })
            .option("seed", { type: "number", default: 1, describe: "The same seed gives the same checkpoint" })
            .option("force", { type: "boolean", default: false, describe: "Write into a folder that is not empty" })
            .example("$0 tiny tiny-model", "then: armt convert tiny-model tiny.gguf"),
    handler: async ({ folder, family, layers, hidden, segmentSize, memTokens, seed, force }) => {
        const options: TinyOptions = { family, layers, hidden, segmentSize, memTokens, seed };
        try {
            resolveTinyOptions(options);
        } catch (error) {
            throw error instanceof ArmtError ? new UsageError(inCommandLineNames(error.message)) : error;
        }
        const present = await readdir(folder).catch(() => []);
        if (present.length > 0 && !force)
            throw new ArmtError(`the folder ${quote(folder)} is not empty; use --force to write into it`);
        await makeTinyCheckpoint(folder, options);
        process.stderr.write(`Made a checkpoint of random weights in ${folder}\n`);
    }
};
