import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import yargs, { type CommandModule } from "yargs";
import { armtScript } from "../armt-command.js";
import { runProcess } from "../process.js";
import { repositoryRoot } from "../repository.js";
import { ServerProcess } from "../server-process.js";
import { namedAddress } from "./blocks.js";

/** The commands of a block, without comments and empty lines; lines that end in a backslash are joined. */
export function commandsOf(text: string): string[] {
    return text
        .replaceAll(/\\\n\s*/g, "")
        .split("\n")
        .map((line) => line.replace(/(^|\s)#.*$/, "").trim())
        .filter((line) => line !== "");
}

/** The calls of `armt` in a command, as lists of arguments with shell quoting resolved. */
export function armtCalls(command: string): string[][] {
    return command.split(/\s*(?:\|\|?|&&|;)\s*/).flatMap((part) => {
        const words = splitWords(part.replace(/\s*&\s*$/, ""));
        const at = words.findIndex((word, i) => word === "armt" && /^(npx|armt)$/.test(words[i - 1] ?? "armt"));
        const run = words.findIndex((word, i) => word === "armt" && words[i - 1] === "-s" && words[i - 2] === "run");
        if (run >= 0) return [words.slice(run + 1).filter((word, i) => i > 0 || word !== "--")];
        return at >= 0 ? [words.slice(at + 1)] : [];
    });
}

function splitWords(text: string): string[] {
    const words = text.match(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g) ?? [];
    const end = words.findIndex((word) => /^\d?[<>]/.test(word));
    return (end < 0 ? words : words.slice(0, end)).map((word) => word.replaceAll(/"([^"]*)"|'([^']*)'/g, "$1$2"));
}

/**
 * Parses arguments with the real command's options, without running it.
 * @throws for an unknown command, option or choice, and for a missing argument
 */
export async function parseArmt(args: readonly string[]): Promise<void> {
    if (args.at(-1) === "--help") return;
    const hasSubcommand = args[0] === "eval" || (args[0] === "models" && args[1] === "rm");
    const names = args.slice(0, hasSubcommand ? 2 : 1);
    if (names.length === 0 || !names.every((name) => /^[a-z][a-z-]*$/.test(name)))
        throw new Error(`no command in: armt ${args.join(" ")}`);
    const { command } = (await import(path.join(repositoryRoot, "dist/src/cli", ...names, "command.js"))) as {
        command: CommandModule;
    };
    let reached = false;
    await yargs(args.slice(names.length - 1))
        .command({
            ...command,
            handler: () => {
                reached = true;
            }
        })
        .strict()
        .option("verbose", { type: "boolean" })
        .help(false)
        .version(false)
        .exitProcess(false)
        .fail((message, error) => {
            throw error ?? new Error(`armt ${args.join(" ")}: ${message}`);
        })
        .parseAsync();
    if (!reached) throw new Error(`armt ${args.join(" ")} is not a call of the command`);
}

/** Runs the commands of a block with bash in a folder, on one thread. It also ends a server that a block started. */
export class Shell {
    private server: ServerProcess | undefined;
    /** Id of the memory that the last answer named. */
    private memory = "";
    private readonly env: NodeJS.ProcessEnv;

    constructor(private readonly folder: string) {
        const bin = path.join(folder, ".bin");
        mkdirSync(bin, { recursive: true });
        // This `npx armt` uses one thread, computes as little as a test needs, and overwrites earlier examples' files.
        const armt = `#!/bin/bash
[ "$1" = armt ] || { echo "npx $1 is not for tests" >&2; exit 9; }
shift
more=()
case "$1" in run|read|ask|eval|logits|demo|bench|trace) [[ " $* " = *" --help "* ]] || more+=(--threads 1) ;; esac
case "$1" in convert|read) [[ " $* " = *" --force "* ]] || more+=(--force) ;; esac
case "$1 $2" in
    "eval recall") more+=(--questions 2 --lengths 400) ;;
    "eval natural"|"eval needles"|"eval stories"|"eval recitation") more+=(--questions 1 --lengths 400 --per-text 1) ;;
esac
case "$1" in bench) more+=(--synthetic tiny --type f16 --lengths 200 --segments 32 --runs 1) ;; esac
case "$1" in trace) more+=(--tokens 400) ;; esac
case "$1" in demo) more+=(--tokens 600 --facts 2 -m model.gguf) ;; esac
exec "${process.execPath}" "${armtScript}" "$@" "\${more[@]}"
`;
        writeFileSync(path.join(bin, "npx"), armt);
        chmodSync(path.join(bin, "npx"), 0o755);
        const cache = path.join(folder, ".cache");
        this.env = { ...process.env, PATH: `${bin}:${process.env.PATH}`, XDG_CACHE_HOME: cache, KEY: "secret" };
    }

    /** @throws if the command fails, with the command's output */
    async run(command: string): Promise<void> {
        const [call] = armtCalls(command);
        if (call?.[0] === "serve" || call?.includes("--http")) return await this.serve(call, command.endsWith("&"));
        // on the page, another block has started it
        if (command.includes(namedAddress) && this.server === undefined)
            this.server = await ServerProcess.start(["serve", "model.gguf"], { cwd: this.folder, env: this.env });
        // amounts only change how long these take, so the test replaces the page's
        const amounts = /\barmt (demo|eval (recall|natural|needles|stories|recitation)|trace)\b/.test(command)
            ? / --(tokens|facts|questions|lengths) \S+/g
            : /\barmt bench\b/.test(command)
              ? / (--(lengths|segments|runs|synthetic|layers|type|gpu|stock-limit)|-m) \S+/g
              : /(?!)/g;
        const text = command
            .replaceAll(amounts, "")
            .replaceAll(namedAddress, this.server === undefined ? namedAddress : new URL(this.server.url).host)
            .replaceAll("mem_…", this.memory);
        const { code, output } = await runProcess("bash", ["-o", "pipefail", "-c", text], {
            cwd: this.folder,
            env: this.env,
            timeout: 280_000
        });
        if (code !== 0) throw new Error(`\`${command}\` ended with exit code ${code}: ${output}`);
        if (/"error":/.test(output)) throw new Error(`\`${command}\` was answered with ${output}`);
        this.memory = /mem_[0-9a-f]+/.exec(output)?.[0] ?? this.memory;
    }

    async end(): Promise<void> {
        await this.server?.stop();
    }

    /** A server in the background keeps running. One in the foreground never ends, so it is stopped once it listens. */
    private async serve(args: readonly string[], background: boolean): Promise<void> {
        const expanded = args.map((arg) => arg.replaceAll("$KEY", "secret"));
        const server = await ServerProcess.start(expanded, { cwd: this.folder, env: this.env });
        if (background) {
            await this.server?.stop();
            this.server = server;
            return;
        }
        const code = await server.stop();
        if (code !== 0) throw new Error(`armt serve ended with exit code ${code} after SIGTERM`);
    }
}
