import type { Argv } from "yargs";

/** Default of `--max-tokens`. */
const defaultMaxTokens = 256;

/** The options of the commands that write. */
export function addGenerationOptions(parser: Argv<object>): void {
    parser
        .option("max-tokens", {
            alias: "n",
            default: defaultMaxTokens,
            type: "number",
            describe: "Tokens to write at most"
        })
        .option("temperature", {
            default: 0,
            type: "number",
            describe: "Randomness; 0 always takes the most probable token"
        })
        .option("seed", { type: "number", describe: "Seed of the randomness [default: the time]" })
        .option("ignore-eos", { type: "boolean", default: false, describe: "Go on after an end-of-text token" })
        .option("json", {
            type: "boolean",
            default: false,
            describe: "Print one JSON object instead of the text"
        });
}
