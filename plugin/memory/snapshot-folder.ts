import { readdir, rm, stat, utimes } from "node:fs/promises";
import path from "node:path";
import { ArmtError, quote, systemErrorText } from "../../src/util/errors.js";
import { makeFolder } from "../../src/util/make-folder.js";
import type { ArmtSnapshotOrigin } from "../types.js";
import { ArmtSnapshot } from "./ArmtSnapshot.js";
import { readSnapshotFile, writeSnapshotFile } from "./snapshot-file.js";
import { DamagedSnapshotError } from "./snapshot-header.js";
import { findMismatch } from "./snapshot-origin.js";

const namePattern = /^([0-9a-f]{64})\.armt$/;

/** Age at which a temporary file must be left over from a process that died. Unit: milliseconds. */
const staleAfter = 3_600_000;

/** Own writes before the folder is scanned again: other processes write too. */
const writesBetweenScans = 32;

/** Share of the limits that an eviction leaves in use, so that not every write evicts. */
const keptShare = 0.9;

/** Largest number of files: longer folders are slow to list. */
const maxEntries = 4096;

type Entry = { readonly file: string; readonly bytes: number; readonly used: number };

/**
 * Snapshots in a folder that several processes may share. Files appear complete and never change; a hit renews the time
 * of a file, and a process that needs room removes the oldest. A file that is missing, damaged or another one's copy
 * counts as not stored.
 */
export class SnapshotFolder {
    private known = 0;
    private writes = 0;

    private constructor(
        private readonly folder: string,
        private readonly maxBytes: number,
        private readonly onDamage: (error: Error) => void
    ) {}

    /**
     * @param onDamage is called with the reason for each file that is removed because of its contents
     * @throws {ArmtError} if the folder can be neither used nor created
     */
    static async open(
        folder: string,
        maxBytes: number,
        onDamage: (error: Error) => void = () => {}
    ): Promise<SnapshotFolder> {
        try {
            // the files reveal what was read, so only their owner gets access
            await makeFolder(folder, 0o700);
            const opened = new SnapshotFolder(path.resolve(folder), maxBytes, onDamage);
            await opened.makeRoom(0);
            return opened;
        } catch (error) {
            throw new ArmtError(`cannot keep memories in ${quote(folder)}: ${systemErrorText(error)}`, {
                cause: error
            });
        }
    }

    /** Keys of the current files. */
    async list(): Promise<Set<string>> {
        const keys = new Set<string>();
        for (const name of await readdir(this.folder).catch(() => [])) {
            const key = namePattern.exec(name)?.[1];
            if (key !== undefined) keys.add(key);
        }
        return keys;
    }

    /** @returns undefined if there is no such snapshot, and for a damaged or foreign one, which is removed */
    async read(key: string, origin: ArmtSnapshotOrigin): Promise<ArmtSnapshot | undefined> {
        const file = this.fileOf(key);
        try {
            const parts = await readSnapshotFile(file, { accept: ({ storeKey }) => checkKey(storeKey, key) });
            if (findMismatch(parts.header, origin) !== undefined) return undefined;
            const now = new Date();
            await utimes(file, now, now).catch(() => {});
            return new ArmtSnapshot(parts);
        } catch (error) {
            // a newer version may read the file, and a failure to read may pass
            if (error instanceof ArmtError && error.cause instanceof DamagedSnapshotError) {
                this.onDamage(error);
                await rm(file, { force: true }).catch(() => {});
            }
            return undefined;
        }
    }

    /** @throws {ArmtError} if the file cannot be written, or is larger than the folder may be */
    async write(key: string, snapshot: ArmtSnapshot): Promise<void> {
        if (snapshot.bytes > this.maxBytes)
            throw new ArmtError(
                `a memory of ${snapshot.bytes} bytes is not kept in ${quote(this.folder)}: the limit (maxBytes) is ` +
                    `${this.maxBytes} bytes`
            );
        await this.makeRoom(snapshot.bytes);
        const { header, ...rest } = snapshot.parts;
        const parts = { header: { ...header, storeKey: key }, ...rest };
        this.known += await writeSnapshotFile(this.fileOf(key), parts, { mode: 0o600 });
    }

    async clear(): Promise<void> {
        for (const key of await this.list()) await rm(this.fileOf(key), { force: true });
        this.known = 0;
    }

    /** Size and number of all files, including those of other processes. */
    async measure(): Promise<{ bytes: number; entries: number }> {
        const entries = await this.scan();
        return { bytes: entries.reduce((sum, { bytes }) => sum + bytes, 0), entries: entries.length };
    }

    private async makeRoom(wanted: number): Promise<void> {
        if (this.writes++ % writesBetweenScans !== 0 && this.known + wanted <= this.maxBytes) return;
        const entries = await this.scan();
        let bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
        let count = entries.length;
        if (bytes + wanted > this.maxBytes || count >= maxEntries) {
            entries.sort((a, b) => a.used - b.used);
            for (const entry of entries) {
                if (bytes + wanted <= keptShare * this.maxBytes && count < keptShare * maxEntries) break;
                await rm(entry.file, { force: true }).catch(() => {});
                bytes -= entry.bytes;
                count--;
            }
        }
        this.known = bytes;
    }

    private async scan(): Promise<Entry[]> {
        const entries: Entry[] = [];
        for (const name of await readdir(this.folder)) {
            const file = path.join(this.folder, name);
            const info = await stat(file).catch(() => undefined);
            if (info === undefined || !info.isFile()) continue;
            if (namePattern.test(name)) entries.push({ file, bytes: info.size, used: info.mtimeMs });
            else if (name.startsWith(".") && name.endsWith(".tmp") && Date.now() - info.mtimeMs > staleAfter)
                await rm(file, { force: true }).catch(() => {});
        }
        return entries;
    }

    private fileOf(key: string): string {
        return path.join(this.folder, `${key}.armt`);
    }
}

/** The name alone proves nothing: anybody can copy or rename a file. */
function checkKey(storeKey: string | undefined, key: string): void {
    if (storeKey === key) return;
    const what =
        storeKey === undefined ? "does not say which memory it holds" : "holds another memory than its name says";
    throw new DamagedSnapshotError(`it ${what}, so it is removed, and the text is read again`);
}
