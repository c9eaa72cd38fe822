#!/usr/bin/env node
import process from "node:process";
import yargs, { type Argv, type CommandModule } from "yargs";
import { hideBin } from "yargs/helpers";
import { systemErrorText } from "../util/errors.js";
import { reportFailure, UsageError } from "../util/failure.js";
import { describeAll, exitCodes, importCommands } from "./commands.js";
import { groups } from "./shared/option-groups.js";
import { packageVersion } from "./shared/version.js";

/** Stands for a lone dash, which yargs drops among several arguments. No argument can contain it. */
const dash = "\0";

async function main(args: string[]): Promise<void> {
    const name = args.find((arg) => !arg.startsWith("-"));
    const commands = await importCommands(name);
    const isOne = commands.length === 1;
    const width = Math.min(120, process.stdout.columns ?? 100);
    const asksForHelp = name === "help" || args.includes("--help") || args.includes("-h");
    if (asksForHelp && (name === undefined || name === "help")) {
        process.stdout.write(describeAll(commands, width));
        return;
    }
    const parser = yargs(args.map((arg) => (arg === "-" ? dash : arg)))
        .scriptName("armt")
        .usage("$0 <command>")
        .command(commands.map(({ command }) => ownOptionsFirst(command)))
        .demandCommand(1, "a command is needed; see armt --help")
        .strict()
        .option("verbose", {
            type: "boolean",
            global: true,
            describe: "Print llama.cpp's log, and the stack of an error"
        })
        .version(packageVersion())
        .help()
        .alias({ h: "help" })
        .group(["help", "version", "verbose"], groups.general)
        .recommendCommands()
        .wrap(width)
        .epilogue(exitCodes)
        .exitProcess(false)
        .fail((message, error) => {
            throw error ?? new UsageError(explain(message, name, isOne ? commands[0]!.command : undefined));
        });
    await parser.parseAsync();
}

/**
 * Lists a command's own options before those that other commands share. Refuses a value that is given twice, and puts
 * dashes back.
 */
function ownOptionsFirst(command: CommandModule): CommandModule {
    const { builder } = command;
    if (typeof builder !== "function") return command;
    return {
        ...command,
        builder: (parser: Argv) => {
            const built = builder(parser.group([], groups.positional).group([], groups.own)) as Argv;
            return built.middleware((argv) => {
                const { array } = (built as unknown as { getOptions(): { array: string[] } }).getOptions();
                for (const [name, value] of Object.entries(argv)) {
                    if (value === dash) argv[name] = "-";
                    else if (Array.isArray(value)) argv[name] = value.map((item) => (item === dash ? "-" : item));
                    if (Array.isArray(value) && /^[a-z][a-z-]+$/.test(name) && !array.includes(name))
                        throw new UsageError(`--${name} is given more than once`);
                }
            });
        }
    };
}

/** yargs counts arguments without naming the missing one, and guesses a command without naming the wrong one. */
function explain(message: string, name: string | undefined, command: CommandModule | undefined): string {
    if (message.startsWith("Not enough non-option arguments") && command !== undefined)
        return `Not enough arguments for armt ${command.command}`;
    if (/^(Did you mean|Unknown argument)/.test(message) && command === undefined && name !== undefined) {
        const advice = message.startsWith("Did") ? `did${message.slice(3)}` : "see armt --help";
        return `unknown command ${JSON.stringify(name)}; ${advice}`;
    }
    return message;
}

const args = hideBin(process.argv);
const verbose = args.includes("--verbose");

/** Ends at once. For errors that no command can handle. */
function endWith(error: unknown): never {
    reportFailure(error, verbose);
    process.exit();
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // the reader of a pipe has had enough, as `head` does
    if (error.code === "EPIPE") process.exit(0);
    endWith(new Error(`cannot write the output: ${systemErrorText(error)}`, { cause: error }));
});
// a message that cannot be shown is no reason to lose the work
process.stderr.on("error", () => {});
process.on("uncaughtException", endWith);

try {
    await main(args);
} catch (error) {
    reportFailure(error, verbose);
}
