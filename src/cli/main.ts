#!/usr/bin/env node
import process from "node:process";
import yargs, { type CommandModule } from "yargs";
import { hideBin } from "yargs/helpers";
import { reportFailure, UsageError } from "../util/failure.js";
import { packageVersion } from "./shared/version.js";

/** Imported one at a time: a command's libraries cost more time than its work may take. */
const commands: Readonly<Record<string, () => Promise<{ command: unknown }>>> = {
    demo: () => import("./demo/command.js"),
    convert: () => import("./convert/command.js"),
    attach: () => import("./attach/command.js"),
    pull: () => import("./pull/command.js"),
    models: () => import("./models/command.js"),
    quantize: () => import("./quantize/command.js"),
    inspect: () => import("./inspect/command.js"),
    detect: () => import("./detect/command.js"),
    verify: () => import("./verify/command.js"),
    run: () => import("./run/command.js"),
    serve: () => import("./serve/command.js"),
    read: () => import("./read/command.js"),
    ask: () => import("./ask/command.js"),
    bench: () => import("./bench/command.js"),
    trace: () => import("./trace/command.js"),
    eval: () => import("./eval/command.js"),
    logits: () => import("./logits/command.js"),
    doctor: () => import("./doctor/command.js"),
    build: () => import("./build/command.js"),
    tiny: () => import("./tiny/command.js")
};

async function main(args: string[]): Promise<void> {
    const named = args.find((arg) => !arg.startsWith("-"));
    const wanted = named !== undefined && Object.hasOwn(commands, named) ? [named] : Object.keys(commands);
    const modules = await Promise.all(wanted.map((name) => commands[name]!()));
    const parser = yargs(args)
        .scriptName("armt")
        .usage(
            "$0 <command>\n\nRuns ARMT models, which read inputs of any length in constant memory, with node-llama-cpp."
        )
        .command(modules.map((module) => module.command as CommandModule))
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
        .recommendCommands()
        .wrap(Math.min(120, process.stdout.columns ?? 100))
        .epilogue("Exit codes: 0 success, 1 failure, 2 wrong usage. Errors are one line on standard error.")
        .exitProcess(false)
        .fail((message, error) => {
            throw error ?? new UsageError(explain(message, modules));
        });
    await parser.parseAsync();
}

/** yargs counts arguments and does not say which. */
function explain(message: string, modules: readonly { command: unknown }[]): string {
    const [only, ...others] = modules.map((module) => (module.command as CommandModule).command);
    return message.startsWith("Not enough non-option arguments") && others.length === 0
        ? `Not enough arguments for armt ${only}`
        : message;
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // the reader of a pipe has had enough, as `head` does
    if (error.code === "EPIPE") process.exit(0);
    throw error;
});

const args = hideBin(process.argv);
try {
    await main(args);
} catch (error) {
    reportFailure(error, args.includes("--verbose"));
}
