import { statSync } from "node:fs";
import { readModelInfo } from "../../plugin/model/model-file.js";
import { ArmtError, quote } from "../util/errors.js";

/**
 * Checks a model file before the engine is loaded, as `loadModel` does again.
 * @returns whether it is an ARMT model
 * @throws {ArmtError} that names the file, and the key or tensor at fault
 */
export async function checkModelFile(modelPath: string): Promise<boolean> {
    refuseFolder(modelPath);
    return (await readModelInfo(modelPath)) !== undefined;
}

/** @throws {ArmtError} if a folder is named, such as a checkpoint, where a model file is needed */
export function refuseFolder(modelPath: string): void {
    if (statSync(modelPath, { throwIfNoEntry: false })?.isDirectory() === true)
        throw new ArmtError(`${quote(modelPath)} is a folder; make a model file of a checkpoint with \`armt convert\``);
}
