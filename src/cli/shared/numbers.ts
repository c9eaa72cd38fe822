import { UsageError } from "../../util/failure.js";

/**
 * Checks an optional number.
 * @throws {UsageError} if it is not a single number, is below `min` or above `max`, or has a fraction
 * although `integer` is set
 */
export function checkNumber(
    option: string,
    value: unknown,
    { min, max = Number.POSITIVE_INFINITY, integer = true }: { min: number; max?: number; integer?: boolean }
) {
    if (value === undefined) return;
    if (Array.isArray(value)) throw new UsageError(`--${option} is given more than once`);
    if (typeof value !== "number" || !Number.isFinite(value)) throw new UsageError(`--${option} must be a number`);
    if (value >= min && value <= max && (!integer || Number.isSafeInteger(value))) return;
    const range = Number.isFinite(max) ? `from ${min} to ${max}` : `of at least ${min}`;
    throw new UsageError(`--${option} must be ${integer ? "an integer" : "a number"} ${range}, got ${value}`);
}

/**
 * Makes something from numbers whose range only the work itself knows.
 * @throws {UsageError} instead of a `RangeError`
 */
export function refuseRange<T>(make: () => T): T {
    try {
        return make();
    } catch (error) {
        if (error instanceof RangeError) throw new UsageError(error.message);
        throw error;
    }
}
