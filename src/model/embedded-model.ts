import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { recallFolder } from "../util/assets.js";
import { ArmtError } from "../util/errors.js";

/** Path of the model that is part of the package. */
export const recallModelPath = fileURLToPath(new URL("model.gguf", recallFolder));

/** Its name in the API. */
export const recallModelId = "armt-recall";

/**
 * The path of the model that is part of the package. It is the commands' default.
 * @throws {ArmtError} if the package does not contain it
 */
export function embeddedModel(): string {
    if (existsSync(recallModelPath)) return recallModelPath;
    throw new ArmtError("no model is given and the package holds none; name one with --model");
}
