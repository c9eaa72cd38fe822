import { ArmtError } from "../src/util/errors.js";

export { ArmtError };

/** A combination that ARMT models or this package do not support. */
export class ArmtUnsupportedError extends ArmtError {
    override name = "ArmtUnsupportedError";
}

/** A model file that says it is an ARMT model but cannot be used as one. */
export class ArmtModelError extends ArmtError {
    override name = "ArmtModelError";

    constructor(
        message: string,
        /** The GGUF key that is wrong, where it is one. */
        readonly key?: string,
        options?: ErrorOptions
    ) {
        super(message, options);
    }
}

/** The engine (the patched libllama) or the addon is missing, is of another version, or was not the one that got loaded. */
export class ArmtNativeError extends ArmtError {
    override name = "ArmtNativeError";
}

/** The engine refused or failed an evaluation. `cause` is node-llama-cpp's own error. */
export class ArmtEvalError extends ArmtError {
    override name = "ArmtEvalError";
}
