import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { recallFolder } from "../util/assets.js";
import { ArmtError } from "../util/errors.js";

/** The model that comes with the package. */
export const recallModelPath = fileURLToPath(new URL("model.gguf", recallFolder));

/**
 * The model that comes with the package, the default of the commands.
 * @throws {ArmtError} if the package has none
 */
export function embeddedModel(): string {
    if (existsSync(recallModelPath)) return recallModelPath;
    throw new ArmtError("no model is given and the package holds none; name one with --model");
}
