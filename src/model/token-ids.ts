import { ArmtError, quote } from "../util/errors.js";
import { readTextFile } from "../util/whole-file.js";

/**
 * Reads a JSON array of token ids.
 * @throws {ArmtError} if the file contains anything else
 */
export async function readTokenIds(file: string): Promise<number[]> {
    const text = await readTextFile(file);
    let ids: unknown;
    try {
        ids = JSON.parse(text);
    } catch (error) {
        throw new ArmtError(`${quote(file)} is not JSON; it must be an array of token ids`, { cause: error });
    }
    if (!Array.isArray(ids)) throw new ArmtError(`${quote(file)} must be a JSON array of token ids`);
    const wrong = ids.findIndex((id) => !Number.isSafeInteger(id));
    if (wrong >= 0)
        throw new ArmtError(
            `${quote(file)}: entry ${wrong} (${quote(String(JSON.stringify(ids[wrong])))}) is not an integer`
        );
    return ids;
}

/**
 * Checks a prompt before any computation.
 * @throws {ArmtError} if it is empty or has an id outside the vocabulary
 */
export function checkTokenIds(ids: readonly number[], vocabSize: number): void {
    if (ids.length === 0) throw new ArmtError("the prompt is empty; it needs at least one token");
    const wrong = ids.findIndex((id) => id < 0 || id >= vocabSize);
    if (wrong >= 0)
        throw new ArmtError(
            `token id ${ids[wrong]} at position ${wrong} is out of range; the model's ids are 0 to ${vocabSize - 1}`
        );
}
