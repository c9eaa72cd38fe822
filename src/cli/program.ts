import process from "node:process";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import { systemErrorText } from "../util/errors.js";
import { reportFailure, UsageError } from "../util/failure.js";
import { ignoreFileSizeSignal } from "../util/file-size-signal.js";
import { describeAll, exitCodes, importCommands } from "./commands.js";
import { hideWords, ownOptionsFirst, showWords } from "./shared/command-builder.js";
import { expandHelp } from "./shared/expand-help.js";
import { explainUsage } from "./shared/explain-usage.js";
import { groups } from "./shared/option-groups.js";
import { packageVersion } from "./shared/version.js";

async function main(typed: readonly string[]): Promise<void> {
    const args = expandHelp(typed);
    const name = args.find((arg) => !arg.startsWith("-"));
    const commands = await importCommands(name);
    const isOne = commands.length === 1;
    const width = Math.min(120, process.stdout.columns ?? 100);
    if (args.includes("--help") || args.includes("-h")) {
        if (name === undefined) {
            process.stdout.write(describeAll(commands, width));
            return;
        }
        if (!isOne) throw new UsageError(`unknown command ${JSON.stringify(name)}; see armt --help`);
    }
    if (args.length === 0) {
        process.stderr.write(describeAll(commands, width));
        process.exitCode = 2;
        return;
    }
    const parser = yargs(hideWords(args))
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
            if (error !== undefined && error.name !== "YError") throw error;
            throw new UsageError(explainUsage(showWords(message), args, isOne ? commands[0]!.command : undefined));
        });
    await parser.parseAsync();
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
ignoreFileSizeSignal();

try {
    await main(args);
} catch (error) {
    reportFailure(error, verbose);
}
