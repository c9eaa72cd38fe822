import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import { resolveModel } from "../../../plugin/model/model-cache.js";
import { embeddedModel, recallModelId, recallModelPath } from "../../model/embedded-model.js";
import { ArmtError, quote, systemErrorText } from "../../util/errors.js";
import { UsageError } from "../../util/failure.js";

/** A model file, and its name in the API. */
export interface NamedModel {
    readonly id: string;
    readonly file: string;
}

const modelEnd = ".gguf";

/** Parts of a split model after the first, and image encoders, are parts of others. */
const noModel = /-(?!00001)\d{5}-of-\d{5}\.gguf$|^mmproj/;

/**
 * The models that a command line names: files, names of `armt pull`, and folders, which stand for the model files in
 * them. None: the included model.
 * @throws {UsageError} if one is named twice
 */
export async function nameModels(given: readonly string[], alias?: string): Promise<NamedModel[]> {
    const files: string[] = [];
    for (const model of given.length === 0 ? [undefined] : given) {
        if (model === undefined) files.push(embeddedModel());
        else if (await isFolder(model)) files.push(...(await modelsOf(model)));
        else files.push(resolveModel(model));
    }
    const full = files.map((file) => path.resolve(file));
    const twice = full.find((file, i) => full.indexOf(file) !== i);
    if (twice !== undefined) throw new UsageError(`the model ${quote(twice)} is named twice`);
    if (alias === undefined) return idsOf(full).map((id, i) => ({ id, file: files[i]! }));
    if (files.length > 1) throw new UsageError(`--alias is the name of one model, and there are ${files.length}`);
    return [{ id: alias, file: files[0]! }];
}

async function isFolder(model: string): Promise<boolean> {
    return (await stat(model).catch(() => undefined))?.isDirectory() === true;
}

async function modelsOf(folder: string): Promise<string[]> {
    const names = await readdir(folder).catch((error: unknown) => {
        throw new ArmtError(`cannot read ${quote(folder)}: ${systemErrorText(error)}`, { cause: error });
    });
    const models = names.filter((name) => name.endsWith(modelEnd) && !name.startsWith(".") && !noModel.test(name));
    if (models.length === 0)
        throw new ArmtError(
            `the folder ${quote(folder)} has no model file (${modelEnd}); ` +
                "make one of a checkpoint with `armt convert`"
        );
    return models.sort().map((name) => path.join(folder, name));
}

/** The files' names; those that are equal get as many folders in front as it takes to tell them apart. */
function idsOf(files: readonly string[]): string[] {
    const idOf = (file: string, parts: number) =>
        file === recallModelPath
            ? recallModelId
            : file
                  .slice(0, file.endsWith(modelEnd) ? -modelEnd.length : undefined)
                  .split(path.sep)
                  .slice(-parts)
                  .join("/");
    return files.map((file) => {
        let parts = 1;
        const isAlone = () => files.every((other) => other === file || idOf(other, parts) !== idOf(file, parts));
        while (!isAlone() && parts < file.length) parts++;
        return idOf(file, parts);
    });
}
