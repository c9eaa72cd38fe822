import { UsageError } from "../../util/failure.js";

/**
 * Checks an optional number.
 * @throws {UsageError} if it is not a single number
 * @throws {RangeError} if it is below `min`, or `integer` is set and it is not an integer
 */
export function checkNumber(
    option: string,
    value: unknown,
    { min, integer = true }: { min: number; integer?: boolean }
) {
    if (value === undefined) return;
    if (Array.isArray(value)) throw new UsageError(`--${option} is given more than once`);
    if (typeof value !== "number" || !Number.isFinite(value)) throw new UsageError(`--${option} must be a number`);
    if (value < min || (integer && !Number.isSafeInteger(value)))
        throw new RangeError(
            `--${option} must be ${integer ? "an integer" : "a number"} of at least ${min}, got ${value}`
        );
}
