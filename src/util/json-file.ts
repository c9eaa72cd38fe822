import { ArmtError, quote } from "./errors.js";
import type { JsonObject, JsonValue } from "./strict-json.js";

export type NumberRange = { min?: number; max?: number };

/**
 * A JSON object from a file. Its methods return values by key and type, and their errors name the file and the key. A
 * `null` counts as absent.
 */
export class JsonFile {
    constructor(
        public readonly path: string,
        public readonly values: JsonObject
    ) {}

    /** An object within this one. Its errors name the same file. */
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

    /** The value of a required key. */
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
                    : typeof value === "string"
                      ? quote(value)
                      : String(value);
        return new ArmtError(`${quote(this.path)}: \`${key}\` is ${got}, expected ${expected}`);
    }
}
