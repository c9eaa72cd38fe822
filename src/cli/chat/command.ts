import process from "node:process";
import type { Argv, CommandModule } from "yargs";
import { checkGenerationOptions } from "../shared/generate.js";
import { addGenerationOptions } from "../shared/generation-options.js";
import { addModelOptions, checkModelOptions } from "../shared/model-options.js";
import { typedOptions } from "../shared/typed-options.js";
import type { ChatOptions } from "./options.js";

export const command: CommandModule<object, ChatOptions> = {
    command: "chat [memory]",
    describe: "Chat in the terminal, with or without a memory saved by armt read",
    builder: (parser: Argv<object>) => {
        const options = typedOptions<ChatOptions>(
            parser
                .positional("memory", {
                    type: "string",
                    describe: "Memory file (.armt) that the chat is about [default: none]"
                })
                .option("system-prompt", { type: "string", describe: "Instructions before the first message" })
                .example("$0 chat book.armt", "A chat about a book that was read before")
                .example("$0 chat -m model.gguf --temp 0.7", "A chat without a memory")
                .example('echo "Where is the wallet?" | $0 chat facts.armt', "Each line of a pipe is a message")
        );
        addGenerationOptions(parser);
        addModelOptions(parser, "f16", "option");
        return options;
    },
    handler: async (options) => {
        checkModelOptions(options);
        checkGenerationOptions(options);
        const { chat } = await import("./run.js");
        await chat(options, { input: process.stdin, output: process.stdout, messages: process.stderr });
    }
};
