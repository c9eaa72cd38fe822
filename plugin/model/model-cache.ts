import { existsSync, statSync } from "node:fs";
import { readdir, rm, stat } from "node:fs/promises";
import path from "node:path";
import { userCacheFolder } from "../../src/util/cache-folder.js";
import { ArmtError, quote, systemErrorText } from "../../src/util/errors.js";
import { knownModels, modelsToPull } from "./known-models.js";

/** A model in the user's cache. */
export type CachedModel = {
    readonly name: string;
    /** Unit: bytes. */
    readonly size: number;
    readonly path: string;
};

const modelEnd = ".gguf";
/** Names without a folder, and not options. */
const namePattern = /^[A-Za-z0-9][\w.-]*$/;

/** Where `armt pull` keeps models: `models` in the user's cache folder. */
export function modelFolder(env?: NodeJS.ProcessEnv): string {
    return path.join(userCacheFolder(env), "models");
}

/** The file of a model in the cache, whether it is there or not. */
export function cachedModelPath(name: string, env?: NodeJS.ProcessEnv): string {
    return path.join(modelFolder(env), `${name}${modelEnd}`);
}

/** The models in the cache, by name. */
export async function listModels(env?: NodeJS.ProcessEnv): Promise<CachedModel[]> {
    const folder = modelFolder(env);
    const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
        if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
        throw new ArmtError(`cannot read ${quote(folder)}: ${systemErrorText(error)}`, { cause: error });
    });
    const models: CachedModel[] = [];
    for (const entry of entries) {
        if (!entry.isFile() || !entry.name.endsWith(modelEnd) || entry.name.startsWith(".")) continue;
        const file = path.join(folder, entry.name);
        models.push({ name: entry.name.slice(0, -modelEnd.length), size: (await stat(file)).size, path: file });
    }
    return models.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Removes a model from the cache. @throws {ArmtError} if it is not there */
export async function removeModel(name: string, env?: NodeJS.ProcessEnv): Promise<CachedModel> {
    const models = await listModels(env);
    const model = models.find((other) => other.name === name);
    if (model === undefined)
        throw new ArmtError(
            `no model ${quote(name)} in ${quote(modelFolder(env))}` +
                (models.length === 0 ? "" : `; there are ${models.map((other) => other.name).join(", ")}`)
        );
    await rm(model.path);
    return model;
}

/**
 * The file of a model: a name that `armt pull` knows becomes its file in the user's cache; a path stays as it is.
 *
 * ```ts
 * const model = await llama.loadModel({ modelPath: resolveModel("smollm2-135m") });
 * ```
 * @throws {ArmtError} for a known name whose model was not pulled yet, and for a name that is neither known nor a file
 */
export function resolveModel(model: string): string {
    // "./name" is always a file
    if (!namePattern.test(model) || model.endsWith(modelEnd)) return model;
    const cached = cachedModelPath(model);
    if (isFile(cached)) return cached;
    if (knownModels.some(({ name }) => name === model))
        throw new ArmtError(`the model ${quote(model)} is not on this machine yet; run \`npx armt pull ${model}\``);
    // a folder is a path too; opening it says what is wrong
    if (existsSync(model)) return model;
    const names = modelsToPull().map(({ name }) => name);
    throw new ArmtError(
        `${quote(model)} is neither a file nor the name of a model that was pulled` +
            (names.length === 0 ? "" : `; \`npx armt pull\` gets ${names.join(", ")}`)
    );
}

function isFile(file: string): boolean {
    return statSync(file, { throwIfNoEntry: false })?.isFile() === true;
}
