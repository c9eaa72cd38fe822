import type { CommandModule } from "yargs";
import { command as babilong } from "./eval/babilong.js";
import { command as perplexity } from "./eval/perplexity.js";
import { command as recall } from "./eval/recall.js";

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
