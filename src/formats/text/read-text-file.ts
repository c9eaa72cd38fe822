import { lstat, readFile, stat } from "node:fs/promises";
import { ArmtError, quote, systemErrorText } from "../../util/errors.js";
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
        const { size } = await stat(path);
        if (size > maxBytes) throw new ArmtError(`${quote(path)} has ${size} bytes (at most ${maxBytes})`);
        bytes = await readFile(path);
    } catch (error) {
        if (error instanceof ArmtError) throw error;
        if (error instanceof Error && "code" in error && error.code === "ENOENT") {
            await refuseBrokenLink(path);
            return undefined;
        }
        throw new ArmtError(`cannot read ${quote(path)}: ${systemErrorText(error)}`, { cause: error });
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
