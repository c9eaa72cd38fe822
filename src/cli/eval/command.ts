import type { CommandModule } from "yargs";
import { ownOptionsFirst } from "../shared/command-builder.js";
import { command as babilong } from "./babilong/command.js";
import { command as books } from "./books/command.js";
import { command as natural } from "./natural/command.js";
import { command as needles } from "./needles/command.js";
import { command as perplexity } from "./perplexity/command.js";
import { command as recall } from "./recall/command.js";
import { command as recitation } from "./recitation/command.js";
import { command as stories } from "./stories/command.js";

export const command: CommandModule = {
    command: "eval",
    describe: "Measure what a model remembers of a long text",
    builder: (parser) =>
        parser
            .command(ownOptionsFirst(recall))
            .command(ownOptionsFirst(natural))
            .command(ownOptionsFirst(needles))
            .command(ownOptionsFirst(stories))
            .command(ownOptionsFirst(recitation))
            .command(ownOptionsFirst(books))
            .command(ownOptionsFirst(perplexity))
            .command(ownOptionsFirst(babilong))
            .demandCommand(1, "say what to measure; see armt eval --help"),
    handler: () => {}
};
