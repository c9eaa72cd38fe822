import { withoutMemoryAdvice } from "../formats/gguf/armt-keys.js";
import { ArmtError, quote } from "../util/errors.js";

/** Reports that a command that needs an associative memory got a plain model. */
export function withoutMemory(file: string): ArmtError {
    return new ArmtError(`${quote(file)} is a plain model without a memory; ${withoutMemoryAdvice}`);
}
