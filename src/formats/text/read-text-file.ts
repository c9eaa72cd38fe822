import { lstat } from "node:fs/promises";
import { ArmtError, quote } from "../../util/errors.js";
import { isMissing, readWholeFile } from "../../util/whole-file.js";
import { TextReader } from "./TextReader.js";

/** Maximum size of a checkpoint's text file. The largest real ones are tokenizers of about 20 MB. Unit: bytes. */
const maxBytes = 64 * 2 ** 20;

/**
 * Reads a text file of a checkpoint: UTF-8 and, by its byte order mark, UTF-16.
 * @returns `undefined` if there is no such file
 * @throws {ArmtError} if it cannot be read, is too large, or is not text
 */
export async function readTextFile(path: string): Promise<string | undefined> {
    let bytes: Buffer;
    try {
        bytes = await readWholeFile(path, maxBytes);
    } catch (error) {
        if (!isMissing(error)) throw error;
        await refuseBrokenLink(path);
        return undefined;
    }
    const reader = new TextReader(path);
    return reader.push(bytes) + reader.end();
}

/** Refuses a link without a target. It means that the file was not downloaded, not that it does not exist. */
async function refuseBrokenLink(path: string): Promise<void> {
    const entry = await lstat(path).catch(() => undefined);
    if (entry?.isSymbolicLink() === true)
        throw new ArmtError(`${quote(path)} is a symbolic link to a file that does not exist; download it again`);
}
