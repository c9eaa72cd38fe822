import type { Argv } from "yargs";
import { groups } from "./option-groups.js";

/** Default of `--predict`. Unit: tokens. */
const defaultMaxTokens = 256;

/** Adds the options of the commands that generate text, with llama.cpp's names. */
export function addGenerationOptions(parser: Argv<object>): void {
    parser
        .option("predict", {
            alias: ["n", "n-predict", "max-tokens"],
            default: defaultMaxTokens,
            type: "number",
            describe: "Maximum number of tokens to generate; -1: no limit"
        })
        .option("ignore-eos", {
            type: "boolean",
            default: false,
            group: groups.sampling,
            describe: "Continue after an end-of-text token"
        });
    addSamplingOptions(parser);
}

/** Adds the options that say how tokens are drawn. */
function addSamplingOptions(parser: Argv<object>): void {
    const number = { type: "number", group: groups.sampling } as const;
    parser
        .option("temp", {
            ...number,
            alias: "temperature",
            describe: "Randomness; 0 always picks the most probable token [default: as the model file says, or 0]"
        })
        .option("top-k", {
            ...number,
            describe: "Draw from the k most probable tokens; 0: from all [default: as the model file says, or 40]"
        })
        .option("top-p", {
            ...number,
            describe:
                "Draw from the most probable tokens that have this probability together; 1: from all " +
                "[default: as the model file says, or 0.95]"
        })
        .option("min-p", {
            ...number,
            describe:
                "Draw from tokens with at least this part of the best one's probability " +
                "[default: as the model file says, or 0]"
        })
        .option("seed", { ...number, alias: "s", describe: "Random seed; -1: a new one each time [default: -1]" })
        .option("repeat-penalty", {
            ...number,
            describe:
                "Divide the logits of recent tokens by this; 1: no penalty [default: as the model file says, or 1]"
        })
        .option("repeat-last-n", {
            ...number,
            describe: "Number of recent tokens that penalties count; -1: all [default: as the model file says, or 64]"
        })
        .option("presence-penalty", {
            ...number,
            describe: "Subtract this from the logits of recent tokens [default: 0]"
        })
        .option("frequency-penalty", {
            ...number,
            describe: "Subtract this for each time that a token occurs among the recent ones [default: 0]"
        });
}

/** Adds `--json`, which replaces the text. */
export function addJsonOption(parser: Argv<object>, describe = "Print one JSON object instead of the text"): void {
    parser.option("json", { type: "boolean", default: false, describe });
}
