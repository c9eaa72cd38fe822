import { constants } from "node:buffer";
import { ArmtError, quote } from "./errors.js";
import { RandomAccessFile } from "./random-access-file.js";

/**
 * Reads a whole file that has to fit into memory.
 * @param maxBytes largest size. Default: what fits into a string
 * @throws {ArmtError} if it cannot be read, is too large, or is a pipe or a device, which may never end
 */
export async function readWholeFile(path: string, maxBytes: number = constants.MAX_STRING_LENGTH): Promise<Buffer> {
    const file = await RandomAccessFile.open(path);
    try {
        if (file.size > maxBytes) throw new ArmtError(`${quote(path)} has ${file.size} bytes (at most ${maxBytes})`);
        return await file.read(0, file.size);
    } finally {
        await file.close();
    }
}

/** Whether a file of this name does not exist, by the error of an attempt to read it. */
export function isMissing(error: unknown): boolean {
    const cause = error instanceof Error ? error.cause : undefined;
    return cause instanceof Error && "code" in cause && cause.code === "ENOENT";
}

/** The same as {@link readWholeFile}, as UTF-8. */
export async function readTextFile(path: string): Promise<string> {
    return (await readWholeFile(path)).toString("utf8");
}
