import { UsageError } from "../../util/failure.js";

/**
 * Checks a number option that may be left out.
 * @throws {UsageError} where it is no single number
 * @throws {RangeError} where it is below `min`, or no integer where that is wanted
 */
export function checkNumber(
    option: string,
    value: unknown,
    { min, integer = true }: { min: number; integer?: boolean }
) {
    if (value === undefined) return;
    if (Array.isArray(value)) throw new UsageError(`--${option} is given more than once`);
    if (typeof value !== "number" || !Number.isFinite(value)) throw new UsageError(`--${option} has to be a number`);
    if (value < min || (integer && !Number.isSafeInteger(value)))
        throw new RangeError(
            `--${option} has to be ${integer ? "an integer" : "a number"} of at least ${min}, got ${value}`
        );
}
