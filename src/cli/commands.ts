import type { CommandModule } from "yargs";

type Load = () => Promise<{ command: unknown }>;

/**
 * The commands in groups. What most people need comes first. A command is imported only when it is needed, because its
 * libraries may take longer to load than it takes to run.
 */
const groups: Readonly<Record<string, Readonly<Record<string, Load>>>> = {
    "Use a model": {
        demo: () => import("./demo/command.js"),
        read: () => import("./read/command.js"),
        ask: () => import("./ask/command.js"),
        chat: () => import("./chat/command.js"),
        run: () => import("./run/command.js"),
        serve: () => import("./serve/command.js"),
        mcp: () => import("./mcp/command.js"),
        "rpc-server": () => import("./rpc-server/command.js")
    },
    "Get a model": {
        pull: () => import("./pull/command.js"),
        models: () => import("./models/command.js"),
        convert: () => import("./convert/command.js"),
        attach: () => import("./attach/command.js"),
        quantize: () => import("./quantize/command.js"),
        inspect: () => import("./inspect/command.js"),
        detect: () => import("./detect/command.js")
    },
    Install: {
        doctor: () => import("./doctor/command.js"),
        build: () => import("./build/command.js")
    },
    "Measure and look inside, for experts": {
        eval: () => import("./eval/command.js"),
        bench: () => import("./bench/command.js"),
        verify: () => import("./verify/command.js"),
        trace: () => import("./trace/command.js"),
        logits: () => import("./logits/command.js"),
        tiny: () => import("./tiny/command.js")
    }
};

/** A command, and the title of its group. */
export interface GroupedCommand {
    readonly group: string;
    readonly command: CommandModule;
}

/** Imports one command, or all of them if none has this name. */
export async function importCommands(name: string | undefined): Promise<GroupedCommand[]> {
    const all = Object.entries(groups).flatMap(([group, commands]) =>
        Object.entries(commands).map(([name, load]) => ({ group, name, load }))
    );
    const named = all.filter((entry) => entry.name === name);
    return await Promise.all(
        (named.length > 0 ? named : all).map(async ({ group, load }) => ({
            group,
            command: (await load()).command as CommandModule
        }))
    );
}

export const exitCodes = "Exit codes: 0 success, 1 failure, 2 wrong usage. Errors are one line on standard error.";

/** The text of `armt --help`, wrapped at a width. */
export function describeAll(commands: readonly GroupedCommand[], width: number): string {
    return `armt <command>

Runs ARMT models, which read inputs of any length in constant memory, with node-llama-cpp.
In a project that has the package, start it as "npx armt"; elsewhere, as "npx node-llama-cpp-armt".

${describeCommands(commands, width)}

armt <command> --help lists a command's options. Options of all commands:
  --help, -h  show help
  --version   show the version
  --verbose   print llama.cpp's log, and the stack of an error

${exitCodes}
`;
}

function describeCommands(commands: readonly GroupedCommand[], width: number): string {
    const nameOf = ({ command }: CommandModule) => String(command).split(" ")[0]!;
    const indent = 2 + Math.max(...commands.map(({ command }) => nameOf(command).length)) + 2;
    const titles = [...new Set(commands.map(({ group }) => group))];
    return titles
        .map((title) => {
            const lines = commands
                .filter(({ group }) => group === title)
                .map(({ command }) => {
                    const text = wrap(String(command.describe), width - indent).join(`\n${" ".repeat(indent)}`);
                    return `  ${nameOf(command)}`.padEnd(indent) + text;
                });
            return `${title}:\n${lines.join("\n")}`;
        })
        .join("\n\n");
}

function wrap(text: string, width: number): string[] {
    const lines: string[] = [];
    for (const word of text.split(" ")) {
        const last = lines.at(-1);
        if (last === undefined || last.length + 1 + word.length > width) lines.push(word);
        else lines[lines.length - 1] = `${last} ${word}`;
    }
    return lines;
}
