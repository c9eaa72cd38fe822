import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { ArmtSnapshot } from "../../../plugin/index.js";
import { ArmtError, quote } from "../../util/errors.js";
import { UsageError } from "../../util/failure.js";
import { isSameFile } from "../../util/keep-inputs.js";
import { openTexts } from "../shared/text-input.js";
import { requireWritable } from "../shared/write-text.js";
import type { ReadOptions } from "./options.js";

/**
 * Checks the memory file before the text is read, which may take hours. A memory of another text is not replaced.
 * @throws {UsageError} if the file is one of those to read, or the model
 * @throws {ArmtError} if the file cannot be written, or exists and is not a memory of this text
 */
export async function checkTarget({ out, files = [], model, force }: ReadOptions): Promise<void> {
    const input = [...files, model ?? ""].find((file) => isSameFile(file, out));
    if (input !== undefined)
        throw new UsageError(`--out would replace ${quote(input)}, which is to be read; name another file`);
    // of a folder or a device, the attempt to write says what is wrong
    if (force || statSync(out, { throwIfNoEntry: false })?.isFile() !== true) return await requireWritable(out);
    const remedy = "choose another name, or replace it with --force";
    const { source } = await ArmtSnapshot.inspect(out).catch(() => {
        throw new ArmtError(`${quote(out)} exists and is not a memory file; ${remedy}`);
    });
    // standard input can be read only once; a file is read far faster than a model reads it
    const isFile = files.length > 0 && !files.includes("-");
    if (isFile && source !== undefined && (await hashOf(files)) === source.sha256) return await requireWritable(out);
    const name = source === undefined || source.name === "-" ? "" : ` (${quote(source.name)})`;
    const verb = isFile ? "is" : "may be";
    throw new ArmtError(`${quote(out)} exists and ${verb} the memory of another text${name}; ${remedy}`);
}

/** SHA-256 of a text in UTF-8, as a memory file stores it. */
async function hashOf(files: readonly string[]): Promise<string> {
    const hash = createHash("sha256");
    for await (const piece of (await openTexts(files)).pieces) hash.update(piece, "utf8");
    return hash.digest("hex");
}
