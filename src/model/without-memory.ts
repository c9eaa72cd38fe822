import { ArmtError, quote } from "../util/errors.js";

/** What to do with a model that has no associative memory. */
export const withoutMemoryAdvice =
    "train one with armt-train, add one with `armt attach`, or run the model as it is with `armt run`";

/** Reports that a command that needs an associative memory got a plain model. */
export function withoutMemory(file: string): ArmtError {
    return new ArmtError(`${quote(file)} is a plain model without a memory; ${withoutMemoryAdvice}`);
}
