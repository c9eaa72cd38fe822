import { lstat, readFile, stat } from "node:fs/promises";
import { ArmtError, quote, systemErrorText } from "./errors.js";
import { decodeUtf8, type JsonObject, type JsonValue, parseStrictJsonObject } from "./strict-json.js";

/** Bytes of a JSON file. The largest real ones are tokenizers of some 20 MB. */
const MAX_JSON_BYTES = 64 * 2 ** 20;
const BYTE_ORDER_MARK = /^\ufeff/;

export type NumberRange = { min?: number; max?: number };

/**
 * A JSON object from a file, whose values are taken by key and type; errors name file and key. A `null` counts as
 * absent.
 */
export class JsonFile {
    constructor(
        public readonly path: string,
        public readonly values: JsonObject
    ) {}

    /** An object within this one, with the same path in its errors. */
    public object(key: string): JsonFile | undefined {
        const value = this.get(key);
        if (value === undefined) return undefined;
        if (!(value instanceof Map)) throw this.error(key, value, "an object");
        return new JsonFile(this.path, value);
    }

    public boolean(key: string): boolean | undefined {
        const value = this.get(key);
        if (value === undefined || typeof value === "boolean") return value;
        throw this.error(key, value, "true or false");
    }

    public string(key: string): string | undefined {
        const value = this.get(key);
        if (value === undefined || typeof value === "string") return value;
        throw this.error(key, value, "text");
    }

    public number(
        key: string,
        { min = -Number.MAX_VALUE, max = Number.MAX_VALUE }: NumberRange = {}
    ): number | undefined {
        const value = this.get(key);
        if (value === undefined) return undefined;
        if (typeof value === "number" && value >= min && value <= max) return value;
        throw this.error(key, value, `a number from ${min} to ${max}`);
    }

    public integer(key: string, { min = 0, max = 2 ** 31 - 1 }: NumberRange = {}): number | undefined {
        const value = this.get(key);
        if (value === undefined) return undefined;
        if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
        throw this.error(key, value, `an integer from ${min} to ${max}`);
    }

    /** The value of a key that must be there. */
    public require<T>(key: string, value: T | undefined): T {
        if (value === undefined) throw new ArmtError(`${quote(this.path)} has no \`${key}\``);
        return value;
    }

    public get(key: string): Exclude<JsonValue, null> | undefined {
        return this.values.get(key) ?? undefined;
    }

    public error(key: string, value: JsonValue, expected: string): ArmtError {
        const got =
            value instanceof Map
                ? "an object"
                : Array.isArray(value)
                  ? "a list"
                  : typeof value === "number"
                    ? String(value)
                    : JSON.stringify(value);
        return new ArmtError(`${quote(this.path)}: \`${key}\` is ${got.slice(0, 80)}, expected ${expected}`);
    }
}

/**
 * Reads a JSON file whose top is an object. Accepts what editors and Python add to JSON: a byte order mark, `NaN`,
 * `Infinity` and `-Infinity`. The methods of `JsonFile` that return numbers still refuse those.
 * @returns `undefined` when there is no such file
 * @throws {ArmtError} when it can't be read, is too large, or is no strict JSON object
 */
export async function readJsonFile(path: string): Promise<JsonFile | undefined> {
    let bytes: Buffer;
    try {
        const { size } = await stat(path);
        if (size > MAX_JSON_BYTES) throw new ArmtError(`${quote(path)} has ${size} bytes (at most ${MAX_JSON_BYTES})`);
        bytes = await readFile(path);
    } catch (error) {
        if (error instanceof ArmtError) throw error;
        if (error instanceof Error && "code" in error && error.code === "ENOENT") {
            await refuseBrokenLink(path);
            return undefined;
        }
        throw new ArmtError(`cannot read ${quote(path)}: ${systemErrorText(error)}`, { cause: error });
    }
    try {
        return new JsonFile(
            path,
            parseStrictJsonObject(decodeUtf8(bytes).replace(BYTE_ORDER_MARK, ""), { nonFinite: true })
        );
    } catch (error) {
        if (!(error instanceof ArmtError)) throw error;
        throw new ArmtError(`${quote(path)}: ${error.message}`, { cause: error });
    }
}

/** A link without its target is a file that was not downloaded, not one that does not exist. */
async function refuseBrokenLink(path: string): Promise<void> {
    const entry = await lstat(path).catch(() => undefined);
    if (entry?.isSymbolicLink() === true)
        throw new ArmtError(`${quote(path)} is a symbolic link to a file that does not exist; download it again`);
}
