import { writeAtomically } from "../../util/atomic-file.js";

/** Writes a text file. The file appears under its name only when it is complete. */
export async function writeText(file: string, text: string): Promise<void> {
    await writeAtomically(file, {}, (target) => target.write(Buffer.from(text)));
}
