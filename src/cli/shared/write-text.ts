import { AtomicFile, writeAtomically } from "../../util/atomic-file.js";

/** Writes a text file. The file appears under its name only when it is complete. */
export async function writeText(file: string, text: string): Promise<void> {
    await writeAtomically(file, {}, (target) => target.write(Buffer.from(text)));
}

/**
 * Makes sure that files can be written, before work that takes long. A name that is undefined is skipped.
 * @throws {ArmtError} that says why one cannot
 */
export async function requireWritable(...files: (string | undefined)[]): Promise<void> {
    for (const file of files) if (file !== undefined) await (await AtomicFile.create(file)).abort();
}
