import { armtArchitecture } from "../../plugin/model/model-info.js";
import { validateArmtFile } from "../formats/gguf/armt-model.js";
import { openGguf } from "../formats/gguf/reader.js";

/**
 * llama.cpp and node-llama-cpp read some broken files as if they were whole, so the strict reader goes first.
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
