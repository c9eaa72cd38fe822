import { ArmtError, quote } from "../../util/errors.js";
import { JsonFile } from "../../util/json-file.js";
import { parseStrictJsonObject } from "../../util/strict-json.js";
import { readTextFile } from "./read-text-file.js";

/**
 * Reads a JSON file with an object at the top level. Accepts what editors and Python add to JSON: a byte order mark,
 * `NaN`, `Infinity` and `-Infinity`. The methods of `JsonFile` that return numbers still refuse those numbers.
 * @returns `undefined` if there is no such file
 * @throws {ArmtError} if it cannot be read, is too large, or is not a strict JSON object
 */
export async function readJsonFile(path: string): Promise<JsonFile | undefined> {
    const text = await readTextFile(path);
    if (text === undefined) return undefined;
    if (text.trim() === "") throw new ArmtError(`${quote(path)} is empty; download it again`);
    try {
        return new JsonFile(path, parseStrictJsonObject(text, { nonFinite: true }));
    } catch (error) {
        if (!(error instanceof ArmtError)) throw error;
        throw new ArmtError(`${quote(path)}: ${error.message}`, { cause: error });
    }
}
