import { readModelInfo } from "../../plugin/model/model-file.js";

/**
 * Checks a model file before the engine is loaded, as `loadModel` does again.
 * @returns whether it is an ARMT model
 * @throws {ArmtError} that names the file, and the key or tensor at fault
 */
export async function checkModelFile(modelPath: string): Promise<boolean> {
    return (await readModelInfo(modelPath)) !== undefined;
}
