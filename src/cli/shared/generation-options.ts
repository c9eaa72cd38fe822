import type { Argv } from "yargs";

/** Default of `--max-tokens`. */
const defaultMaxTokens = 256;

/** Adds the options of the commands that generate text. */
export function addGenerationOptions(parser: Argv<object>): void {
    parser
        .option("max-tokens", {
            alias: "n",
            default: defaultMaxTokens,
            type: "number",
            describe: "Maximum number of tokens to generate"
        })
        .option("temperature", {
            type: "number",
            describe: "Randomness; 0 always picks the most probable token [default: as the model file says, or 0]"
        })
        .option("seed", { type: "number", describe: "Random seed [default: the time]" })
        .option("ignore-eos", { type: "boolean", default: false, describe: "Continue after an end-of-text token" })
        .option("json", {
            type: "boolean",
            default: false,
            describe: "Print one JSON object instead of the text"
        });
}
