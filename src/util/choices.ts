import { UsageError } from "./failure.js";

/**
 * Reads a list of choices.
 * @throws {UsageError} for one that does not exist
 */
export function readChoices<T extends string>(option: string, text: string, choices: readonly T[]): T[] {
    const given = [...new Set(text.split(",").map((part) => part.trim()))];
    for (const one of given)
        if (!choices.some((choice) => choice === one))
            throw new UsageError(`--${option}: ${JSON.stringify(one)} is not one of ${choices.join(", ")}`);
    return choices.filter((choice) => given.includes(choice));
}
