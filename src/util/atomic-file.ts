import { randomBytes } from "node:crypto";
import { type FileHandle, open, readdir, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { ArmtError, quote, systemErrorText } from "./errors.js";
import { ignoreFileSizeSignal } from "./file-size-signal.js";

export type AtomicFileOptions = {
    /** Whether to replace an existing file. With `false`, an existing file is an error. Default: `true`. */
    overwrite?: boolean;
    /** Permissions of a new file, before the process's umask applies. Default: `0o666`. */
    mode?: number;
};

/** Temporary files of this process that are being written. */
const inUse = new Set<string>();

/**
 * A file that appears under its name only when it is complete. Bytes go to a temporary file in the same folder;
 * `commit` flushes and renames it. If anything fails, the caller calls `abort`, which removes the temporary file.
 */
export class AtomicFile {
    /** Number of bytes appended so far. */
    public position = 0;

    private constructor(
        private readonly target: string,
        private readonly temporary: string,
        private readonly handle: FileHandle,
        private readonly overwrite: boolean
    ) {}

    /** @throws {ArmtError} if the target exists and may not be replaced, is a folder, or its folder is not writable */
    public static async create(
        target: string,
        { overwrite = true, mode }: AtomicFileOptions = {}
    ): Promise<AtomicFile> {
        await checkTarget(target, overwrite);
        ignoreFileSizeSignal();
        const suffix = `${process.pid}-${randomBytes(4).toString("hex")}.tmp`;
        const temporary = path.join(path.dirname(target), temporaryPrefix(target) + suffix);
        inUse.add(temporary);
        try {
            return new AtomicFile(target, temporary, await open(temporary, "wx", mode), overwrite);
        } catch (error) {
            inUse.delete(temporary);
            throw writeError(target, error);
        }
    }

    /** Appends bytes. */
    public async write(data: Uint8Array): Promise<void> {
        await this.writeAt(data, this.position);
        this.position += data.byteLength;
    }

    /** Overwrites bytes at an offset without moving the end. */
    public async writeAt(data: Uint8Array, offset: number): Promise<void> {
        let done = 0;
        try {
            while (done < data.byteLength) {
                const { bytesWritten } = await this.handle.write(data, done, data.byteLength - done, offset + done);
                done += bytesWritten;
            }
        } catch (error) {
            throw writeError(this.target, error);
        }
    }

    /** Flushes the file to the device and renames it to its final name. */
    public async commit(): Promise<void> {
        try {
            await this.handle.sync();
            await this.handle.close();
            if (!this.overwrite) await checkTarget(this.target, false);
            await renameOver(this.temporary, this.target);
        } catch (error) {
            throw error instanceof ArmtError ? error : writeError(this.target, error);
        }
        inUse.delete(this.temporary);
        await syncFolder(path.dirname(this.target));
        await removeStrays(this.target);
    }

    /**
     * Removes the temporary file. Does nothing after a successful `commit`. A file that cannot be removed stays until
     * the next `commit`, because the caller has a better error to report.
     */
    public async abort(): Promise<void> {
        await this.handle.close().catch(() => {});
        await rm(this.temporary, { force: true }).catch(() => {});
        inUse.delete(this.temporary);
    }
}

/** Runs `write` with a new atomic file and commits it. If `write` throws, no file is left behind. */
export async function writeAtomically(
    target: string,
    options: AtomicFileOptions,
    write: (file: AtomicFile) => Promise<void>
): Promise<void> {
    const file = await AtomicFile.create(target, options);
    try {
        await write(file);
        await file.commit();
    } catch (error) {
        await file.abort();
        throw error;
    }
}

function temporaryPrefix(target: string): string {
    return `.${path.basename(target).slice(0, 200)}.`;
}

/** Removes the temporary files of this target that were left behind: by killed processes, or by a failed removal. */
async function removeStrays(target: string): Promise<void> {
    const folder = path.dirname(target);
    const prefix = temporaryPrefix(target);
    for (const name of await readdir(folder).catch(() => [])) {
        const [, pid] = (name.startsWith(prefix) && /^(\d+)-[0-9a-f]{8}\.tmp$/.exec(name.slice(prefix.length))) || [];
        if (pid === undefined) continue;
        const file = path.join(folder, name);
        const isStray = Number(pid) === process.pid ? !inUse.has(file) : !isRunning(Number(pid));
        if (isStray) await rm(file, { force: true }).catch(() => {});
    }
}

function isRunning(pid: number): boolean {
    try {
        process.kill(pid, 0);
        return true;
    } catch (error) {
        // another user's process
        return (error as NodeJS.ErrnoException).code === "EPERM";
    }
}

async function checkTarget(target: string, overwrite: boolean): Promise<void> {
    const found = await stat(target).catch(() => undefined);
    if (found === undefined) return;
    if (!found.isFile()) throw new ArmtError(`cannot write ${quote(target)}: it exists and is not a regular file`);
    if (!overwrite) throw new ArmtError(`cannot write ${quote(target)}: the file exists; use --force to replace it`);
}

/** Waits before further attempts of a rename on Windows. Unit: milliseconds. */
const renameWaits = [10, 20, 50, 100, 200, 400] as const;

/**
 * Renames a file over another one. Windows refuses that while any program has the target open, as virus scanners and
 * other readers do for a moment, so there it is tried again.
 * @param move for tests: another `rename`
 * @throws the last attempt's error; a target that stays open is one, with advice
 */
export async function renameOver(
    from: string,
    to: string,
    { move = rename, system = process.platform }: { move?: typeof rename; system?: NodeJS.Platform } = {}
): Promise<void> {
    for (let attempt = 0; ; attempt++) {
        try {
            await move(from, to);
            return;
        } catch (error) {
            const { code } = error as NodeJS.ErrnoException;
            if (system !== "win32" || !["EPERM", "EACCES", "EBUSY"].includes(code ?? "")) throw error;
            const wait = renameWaits[attempt];
            if (wait === undefined)
                throw new ArmtError(
                    `cannot write ${quote(to)}: Windows does not replace it (${code}); close every program that has ` +
                        "it open, such as one that runs this model",
                    { cause: error }
                );
            await setTimeout(wait);
        }
    }
}

/**
 * Makes the rename itself durable. Some file systems cannot sync a folder; the file's contents are already safe then.
 */
async function syncFolder(folder: string): Promise<void> {
    const handle = await open(folder, "r").catch(() => undefined);
    await handle?.sync().catch(() => {});
    await handle?.close();
}

function writeError(target: string, error: unknown): ArmtError {
    return new ArmtError(`cannot write ${quote(target)}: ${systemErrorText(error)}`, { cause: error });
}
