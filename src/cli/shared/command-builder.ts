import type { Argv, CommandModule } from "yargs";
import { UsageError } from "../../util/failure.js";
import { groups } from "./option-groups.js";

/** Stands for a lone dash, which yargs drops among several arguments. No argument can contain it. */
export const dash = "\0";

/**
 * Lists a command's own options before those that other commands share. Refuses an option without its value and a value
 * that is given twice, and puts dashes back.
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
        if (value === dash) argv[name] = "-";
        else if (Array.isArray(value)) argv[name] = value.map((item) => (item === dash ? "-" : item));
        if (Array.isArray(value) && /^[a-z][a-z-]+$/.test(name) && !array.includes(name))
            throw new UsageError(`--${name} is given more than once`);
    }
}
