import { mkdir, stat } from "node:fs/promises";
import path from "node:path";

/**
 * Makes a folder and those above it. Node.js can do that too, but never ends where the system makes no folders and says
 * that something is missing, as in `/proc`.
 */
export async function makeFolder(folder: string, mode?: number): Promise<void> {
    try {
        await makeOne(folder, mode);
    } catch (error) {
        const parent = path.dirname(folder);
        if ((error as NodeJS.ErrnoException).code !== "ENOENT" || parent === folder) throw error;
        await makeFolder(parent, mode);
        await makeOne(folder, mode);
    }
}

/** Another process may have made it already. */
async function makeOne(folder: string, mode?: number): Promise<void> {
    await mkdir(folder, { mode }).catch(async (error: unknown) => {
        if (!(await isFolder(folder))) throw error;
    });
}

async function isFolder(folder: string): Promise<boolean> {
    return (await stat(folder).catch(() => undefined))?.isDirectory() === true;
}
