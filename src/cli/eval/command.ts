import type { CommandModule } from "yargs";
import { command as babilong } from "./babilong/command.js";
import { command as perplexity } from "./perplexity/command.js";
import { command as recall } from "./recall/command.js";

export const command: CommandModule = {
    command: "eval",
    describe: "Measure what a model remembers of a long text",
    builder: (parser) =>
        parser
            .command(recall)
            .command(perplexity)
            .command(babilong)
            .demandCommand(1, "say what to measure; see armt eval --help"),
    handler: () => {}
};
