import { ArmtError } from "../src/util/errors.js";

export { ArmtError };

/** A combination that ARMT models or this package do not support. */
export class ArmtUnsupportedError extends ArmtError {
    override name = "ArmtUnsupportedError";
}

/** An ARMT model file with wrong keys or tensors. */
export class ArmtModelError extends ArmtError {
    override name = "ArmtModelError";

    constructor(
        message: string,
        /** The GGUF key at fault; undefined if the fault is not in a key. */
        readonly key?: string,
        options?: ErrorOptions
    ) {
        super(message, options);
    }
}

/** The engine (the patched libllama) or the addon is missing, has the wrong version, or was not the one loaded. */
export class ArmtNativeError extends ArmtError {
    override name = "ArmtNativeError";
}

/** A device that a model was to be placed on cannot be used, such as an RPC server that does not answer. */
export class ArmtDeviceError extends ArmtError {
    override name = "ArmtDeviceError";
}

/** The engine refused or failed an evaluation. `cause` is node-llama-cpp's own error. */
export class ArmtEvalError extends ArmtError {
    override name = "ArmtEvalError";
}
