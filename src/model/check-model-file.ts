import { armtArchitecture } from "../../plugin/model/model-info.js";
import { validateArmtFile } from "../formats/gguf/armt-model.js";
import { openGguf } from "../formats/gguf/reader.js";

/**
 * Checks a model file with the strict reader first, because llama.cpp and node-llama-cpp accept some broken files.
 * @returns whether it is an ARMT model
 */
export async function checkModelFile(modelPath: string): Promise<boolean> {
    const file = await openGguf(modelPath);
    try {
        const architecture = file.metadata.get("general.architecture");
        const isArmt = architecture?.type === "STRING" && architecture.value === armtArchitecture;
        if (isArmt) validateArmtFile(file);
        return isArmt;
    } finally {
        await file.close();
    }
}
