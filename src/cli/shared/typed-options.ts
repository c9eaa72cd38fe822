import type { Argv } from "yargs";

/**
 * yargs types options by their spelling with dashes, and gives them in both spellings: the type of the options is said
 * here instead.
 */
export function typedOptions<T>(parser: Argv<object>): Argv<T> {
    return parser as Argv<T>;
}
