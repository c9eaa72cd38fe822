import type { z } from "zod";
import { ArmtError, quote } from "../util/errors.js";
import { readTextFile } from "../util/whole-file.js";

/**
 * Reads a JSON file and checks it against a schema; `what` names the file in messages.
 * @throws {ArmtError} if the file cannot be read, is not JSON or does not match the schema
 */
export async function readJsonAs<T>(file: string, schema: z.ZodType<T>, what: string): Promise<T> {
    const text = await readTextFile(file);
    let json: unknown;
    try {
        json = JSON.parse(text);
    } catch (error) {
        throw new ArmtError(`${quote(file)} is not a ${what}: it is not JSON, or not all of it`, { cause: error });
    }
    const parsed = schema.safeParse(json);
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    throw new ArmtError(
        `${quote(file)} is not a ${what}: ${issue?.path.join(".") || "the whole file"}: ${issue?.message ?? "wrong"}`
    );
}
