import type { CommandModule } from "yargs";
import { dashed } from "../../util/option-names.js";

/** Commands that have commands within them. */
export const outerCommands: ReadonlySet<string> = new Set(["eval", "models"]);

/** Options that may come before the command. */
const general: ReadonlySet<string> = new Set(["--help", "-h", "--version", "--verbose"]);

/**
 * Says what yargs found wrong, with the names as the user typed them and where to read on.
 * @param command the one that the arguments name, if they do
 */
export function explainUsage(message: string, args: readonly string[], command: CommandModule | undefined): string {
    const [name, second] = args.filter((arg) => !arg.startsWith("-"));
    if (command === undefined) {
        if (name === undefined || !/^(Did you mean|Unknown argument)/.test(message)) return message;
        const advice = message.startsWith("Did") ? `did${message.slice(3)}` : "see armt --help";
        return `unknown command ${JSON.stringify(name)}; ${advice}`;
    }
    const hasInner = second !== undefined && outerCommands.has(name!);
    const help = `see armt ${hasInner ? `${name} ${second}` : name} --help`;
    const isLate = args.slice(0, args.indexOf(name!)).some((arg) => !general.has(arg));
    if (isLate && /^(Did you mean|Unknown argument)/.test(message))
        return `options come after the command, as in armt ${name} …; ${help}`;
    if (message.startsWith("Did you mean"))
        return `unknown command ${JSON.stringify(`${name} ${second}`)}; see armt ${name} --help`;
    return message
        .replace(/^Unknown arguments?: (.*)/, (_, words: string) => {
            const given = words
                .split(", ")
                // yargs also names the camel case of an option
                .filter((word, _i, all) => !/[A-Z]/.test(word) || !all.includes(dashed(word)))
                .map((word) => optionIn(args, word) ?? JSON.stringify(word));
            const kind = given.every((word) => word.startsWith("-")) ? "option" : "argument";
            const quotes =
                kind === "argument" && name === "ask" ? "put quotes around a question of several words, or " : "";
            return `unknown ${kind} ${given.join(", ")}; ${quotes}${help}`;
        })
        .replace(/^Not enough non-option arguments.*/s, () => {
            return hasInner ? `not enough arguments; ${help}` : `not enough arguments for armt ${command.command}`;
        })
        .replace(/^Not enough arguments following: (.+)/, (_, word) => `${optionIn(args, word)} needs a value; ${help}`)
        .replace(/^Missing required arguments?: (.*)/, (_, words: string) => {
            const options = words.split(", ").map((word) => `--${word}`);
            return `${options.join(" and ")} ${options.length > 1 ? "are" : "is"} missing; ${help}`;
        })
        .replace(/^Invalid values:\s+Argument: (\S+), Given: (.*), Choices: (.*)/s, (_, word, given, choices) => {
            return `${optionIn(args, word) ?? word} cannot be ${given}; choose one of ${choices}`;
        });
}

/** An option as it was typed, if it was. */
function optionIn(args: readonly string[], word: string): string | undefined {
    return [`--${word}`, `-${word}`].find((option) => args.some((arg) => arg.split("=", 1)[0] === option));
}
