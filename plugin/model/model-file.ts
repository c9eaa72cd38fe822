import { readGgufFileInfo } from "node-llama-cpp";
import { ArmtKeyError } from "../../src/formats/gguf/armt-keys.js";
import { validateArmtFile } from "../../src/formats/gguf/armt-model.js";
import { type GgufFile, openGguf } from "../../src/formats/gguf/reader.js";
import { ArmtModelError } from "../errors.js";
import type { ArmtModelInfo } from "../types.js";
import { armtArchitecture, modelInfoOf } from "./model-info.js";

/**
 * Checks a model file before any native code reads it.
 * @returns undefined for a plain model, and for a file that is no GGUF file: node-llama-cpp judges those
 * @throws {ArmtModelError} for an ARMT model file with wrong keys or tensors
 */
export async function readModelInfo(modelPath: string): Promise<ArmtModelInfo | undefined> {
    let file: GgufFile;
    try {
        file = await openGguf(modelPath);
    } catch (error) {
        if (await isArmtFile(modelPath).catch(() => false)) throw modelError(error);
        return undefined;
    }
    try {
        const architecture = file.metadata.get("general.architecture");
        if (architecture?.type !== "STRING" || architecture.value !== armtArchitecture) return undefined;
        return modelInfoOf(validateArmtFile(file));
    } catch (error) {
        throw modelError(error);
    } finally {
        await file.close();
    }
}

/** Whether a file holds an ARMT model, as node-llama-cpp reads it. */
export async function isArmtFile(modelPath: string): Promise<boolean> {
    const info = await readGgufFileInfo(modelPath, { sourceType: "filesystem" });
    return String(info.metadata.general.architecture) === armtArchitecture;
}

function modelError(cause: unknown): ArmtModelError {
    const message = cause instanceof Error ? cause.message : String(cause);
    const reason = cause instanceof Error ? cause.cause : undefined;
    return new ArmtModelError(message, reason instanceof ArmtKeyError ? reason.key : undefined, { cause });
}
