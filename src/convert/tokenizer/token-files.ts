import type { JsonFile } from "../../util/json-file.js";
import type { JsonObject } from "../../util/strict-json.js";

/** The files that name special tokens. */
export type TokenFiles = {
    /** `tokenizer_config.json` */
    own: JsonFile | undefined;
    /** `generation_config.json` */
    generation: JsonFile | undefined;
    /** `config.json` */
    config: JsonFile;
};

/** A token given as text or as an object with its content. */
export function tokenText(value: unknown): string | undefined {
    const text = value instanceof Map ? (value as JsonObject).get("content") : value;
    return typeof text === "string" ? text : undefined;
}

/**
 * The ids of a key that holds one id or a list. A negative id stands for none.
 * @throws {ArmtError} for anything else
 */
export function tokenIds(json: JsonFile | undefined, key: string): number[] {
    const value = json?.get(key);
    if (json === undefined || value === undefined) return [];
    const ids = Array.isArray(value) ? value : [value];
    return ids
        .map((id) => {
            if (typeof id !== "number" || !Number.isSafeInteger(id))
                throw json.error(key, id, "an id or a list of ids");
            return id;
        })
        .filter((id) => id >= 0);
}
