import { existsSync } from "node:fs";
import { ArmtError, quote } from "../../util/errors.js";
import { UsageError } from "../../util/failure.js";

/**
 * The model for a memory file: the one that `-m` names, or the one that read the text.
 * @param modelPath the model's path in the memory file; empty if it has none
 * @throws {UsageError} if neither is known
 * @throws {ArmtError} if the model that read the text is gone
 */
export function modelOfMemory(memory: string, modelPath: string, named: string | undefined): string {
    if (named !== undefined) return named;
    if (modelPath === "") throw new UsageError(`${quote(memory)} does not say which model read it; name it with -m`);
    if (!existsSync(modelPath))
        throw new ArmtError(
            `the model that read ${quote(memory)} is no longer at ${quote(modelPath)}; name it with -m`
        );
    return modelPath;
}
