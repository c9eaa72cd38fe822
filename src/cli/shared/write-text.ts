import { AtomicFile, writeAtomically } from "../../util/atomic-file.js";

/** Writes a text file. The file appears under its name only when it is complete. */
export async function writeText(file: string, text: string): Promise<void> {
    await writeAtomically(file, {}, (target) => target.write(Buffer.from(text)));
}

/** A full disk has room for a name, but not for this. Unit: bytes. */
const probeBytes = 64 * 1024;

/**
 * Makes sure that files can be written, before work that takes long. A name that is undefined is skipped.
 * @throws {ArmtError} that says why one cannot
 */
export async function requireWritable(...files: (string | undefined)[]): Promise<void> {
    for (const name of files) {
        if (name === undefined) continue;
        const file = await AtomicFile.create(name);
        try {
            await file.write(Buffer.alloc(probeBytes));
        } finally {
            await file.abort();
        }
    }
}
