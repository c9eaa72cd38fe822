import type { Argv } from "yargs";

/**
 * yargs infers the type of options from their dashed names and provides both spellings. The caller states the type of
 * the options here instead.
 */
export function typedOptions<T>(parser: Argv<object>): Argv<T> {
    return parser as Argv<T>;
}
