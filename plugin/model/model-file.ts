import { access } from "node:fs/promises";
import { ArmtKeyError } from "../../src/formats/gguf/armt-keys.js";
import { validateArmtFile } from "../../src/formats/gguf/armt-model.js";
import { checkPlainModel, type NativeLimits } from "../../src/formats/gguf/plain-model.js";
import { type GgufFile, openGguf } from "../../src/formats/gguf/reader.js";
import { checkByteTokens, checkTokenTexts } from "../../src/formats/gguf/vocabulary.js";
import { ArmtError, quote } from "../../src/util/errors.js";
import { ArmtModelError } from "../errors.js";
import type { ArmtModelInfo } from "../types.js";
import { armtArchitecture, modelInfoOf } from "./model-info.js";

/**
 * Checks a model file before any native code reads it: an ARMT model by every rule, and another model against what
 * would end the process or take very long.
 * @param limits what llama.cpp takes; undefined before it is loaded
 * @returns undefined for a plain model
 * @throws {ArmtModelError} that names the file, and the key or tensor at fault
 */
export async function readModelInfo(modelPath: string, limits?: NativeLimits): Promise<ArmtModelInfo | undefined> {
    try {
        return (await withFile(modelPath, true, isArmt))
            ? await withFile(modelPath, false, (file) => checkArmt(file, limits))
            : await checkPlain(modelPath, limits);
    } catch (error) {
        throw modelError(error);
    }
}

async function checkArmt(file: GgufFile, limits: NativeLimits | undefined): Promise<ArmtModelInfo> {
    const keys = validateArmtFile(file);
    try {
        if (limits !== undefined && keys.blockCount > limits.maxLayers)
            throw new ArmtError(`"armt.block_count" is ${keys.blockCount}, and llama.cpp takes ${limits.maxLayers}`);
        await checkTokenTexts(file);
        await checkByteTokens(file);
    } catch (error) {
        throw named("bad ARMT model", file, error);
    }
    return modelInfoOf(keys);
}

/** A model may be split into several files. `modelPath` is the first. */
async function checkPlain(modelPath: string, limits: NativeLimits | undefined): Promise<undefined> {
    await withFile(modelPath, true, async (file) => {
        try {
            await checkPlainModel(file, limits);
        } catch (error) {
            throw named("bad model", file, error);
        }
    });
    const [, start = "", count = ""] = /^(.*)-00001-of-(\d{5})\.gguf$/.exec(modelPath) ?? [];
    for (let part = 2; part <= Number(count); part++) {
        const path = `${start}-${String(part).padStart(5, "0")}-of-${count}.gguf`;
        // llama.cpp says which part is missing
        if (!(await exists(path))) break;
        await withFile(path, true, async () => {});
    }
}

function isArmt({ metadata }: GgufFile): boolean {
    const architecture = metadata.get("general.architecture");
    return architecture?.type === "STRING" && architecture.value === armtArchitecture;
}

async function withFile<T>(path: string, lenient: boolean, work: (file: GgufFile) => Promise<T> | T): Promise<T> {
    const file = await openGguf(path, { lenient });
    try {
        return await work(file);
    } finally {
        await file.close();
    }
}

async function exists(path: string): Promise<boolean> {
    return await access(path).then(
        () => true,
        () => false
    );
}

function named(what: string, { path }: GgufFile, error: unknown): unknown {
    return error instanceof ArmtError
        ? new ArmtError(`${what} ${quote(path)}: ${error.message}`, { cause: error })
        : error;
}

function modelError(cause: unknown): ArmtModelError {
    const message = cause instanceof Error ? cause.message : String(cause);
    const reason = cause instanceof Error ? cause.cause : undefined;
    return new ArmtModelError(message, reason instanceof ArmtKeyError ? reason.key : undefined, { cause });
}
