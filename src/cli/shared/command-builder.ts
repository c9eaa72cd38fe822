import type { Argv, CommandModule } from "yargs";
import { UsageError } from "../../util/failure.js";
import { outerCommands } from "./explain-usage.js";
import { groups } from "./option-groups.js";

/** Begins a word that yargs must not interpret. No argument can contain it. */
const mark = "\0";

/**
 * Hides words from yargs that the commands should see: it drops a lone dash among several arguments, and shows help if
 * the last word of a question is "help". Right after a command's name, "help" does ask for help.
 */
export function hideWords(args: readonly string[]): string[] {
    const words = args.filter((arg) => !arg.startsWith("-"));
    const isText = words.length > 2 && !outerCommands.has(words[0]!);
    return args.map((arg) => (arg === "-" || (arg === "help" && isText) ? mark + arg : arg));
}

/** The reverse, for values and for messages with such words. */
export function showWords(text: string): string {
    return text.replaceAll(mark, "").replaceAll("\\u0000", "");
}

/**
 * Lists a command's own options before those that other commands share. Refuses an option without its value and a value
 * that is given twice, and puts hidden words back.
 */
export function ownOptionsFirst<T, U>(command: CommandModule<T, U>): CommandModule<T, U> {
    const { builder } = command;
    if (typeof builder !== "function") return command;
    return {
        ...command,
        builder: (parser: Argv<T>) => {
            const built = builder(parser.group([], groups.positional).group([], groups.own)) as HasOptions<U>;
            const { array, string, number } = built.getOptions();
            built.requiresArg([...string, ...number].filter((name) => !array.includes(name)));
            // this also runs for commands within this one, which have options of their own by then
            return built.middleware((argv) => checkArguments(argv, built.getOptions().array));
        }
    };
}

/** Not in yargs's types. */
interface HasOptions<U> extends Argv<U> {
    getOptions(): { array: string[]; string: string[]; number: string[] };
}

function checkArguments(argv: Record<string, unknown>, array: readonly string[]): void {
    for (const [name, value] of Object.entries(argv)) {
        if (typeof value === "string") argv[name] = showWords(value);
        else if (Array.isArray(value))
            argv[name] = value.map((item) => (typeof item === "string" ? showWords(item) : item));
        if (Array.isArray(value) && /^[a-z][a-z-]+$/.test(name) && !array.includes(name))
            throw new UsageError(`--${name} is given more than once`);
    }
}
