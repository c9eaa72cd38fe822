import { readFile } from "node:fs/promises";
import type { z } from "zod";
import { ArmtError, quote, systemErrorText } from "../util/errors.js";

/**
 * Reads a JSON file and checks it against a schema; `what` names the file in messages.
 * @throws {ArmtError} if the file cannot be read, is not JSON or does not match the schema
 */
export async function readJsonAs<T>(file: string, schema: z.ZodType<T>, what: string): Promise<T> {
    let text: string;
    try {
        text = await readFile(file, "utf8");
    } catch (error) {
        throw new ArmtError(`cannot read ${quote(file)}: ${systemErrorText(error)}`, { cause: error });
    }
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
