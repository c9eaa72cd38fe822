import { mkdir, readdir, rm, stat, utimes } from "node:fs/promises";
import path from "node:path";
import { ArmtError, quote, systemErrorText } from "../../src/util/errors.js";
import type { ArmtSnapshotOrigin } from "../types.js";
import { ArmtSnapshot } from "./ArmtSnapshot.js";
import { readSnapshotFile, writeSnapshotFile } from "./snapshot-file.js";
import { findMismatch } from "./snapshot-origin.js";

const namePattern = /^([0-9a-f]{64})\.armt$/;

/** What a process that died while it wrote left behind; a living one is done long before. Unit: milliseconds. */
const staleAfter = 3_600_000;

/** Other processes write too, so the folder is looked at anew after so many files of our own. */
const writesBetweenScans = 32;

/** Room that an eviction makes beyond what is needed, so that not every file evicts another. */
const keptShare = 0.9;

/** More are slow to list. */
const maxEntries = 4096;

type Entry = { readonly file: string; readonly bytes: number; readonly used: number };

/**
 * Snapshots in a folder that several processes may share: files appear whole and never change, a hit renews a file's time, and whoever needs room removes
 * the oldest. A file that vanishes or is damaged is as if it had never been there.
 */
export class SnapshotFolder {
    private known = 0;
    private writes = 0;

    private constructor(
        private readonly folder: string,
        private readonly maxBytes: number
    ) {}

    /** @throws {ArmtError} where there is no such folder and none can be made */
    static async open(folder: string, maxBytes: number): Promise<SnapshotFolder> {
        try {
            // what is in it tells what was read, so it is for this user alone
            await mkdir(folder, { recursive: true, mode: 0o700 });
            const opened = new SnapshotFolder(path.resolve(folder), maxBytes);
            await opened.makeRoom(0);
            return opened;
        } catch (error) {
            throw new ArmtError(`cannot keep memories in ${quote(folder)}: ${systemErrorText(error)}`, {
                cause: error
            });
        }
    }

    /** Keys of the files that are there now. */
    async list(): Promise<Set<string>> {
        const keys = new Set<string>();
        for (const name of await readdir(this.folder).catch(() => [])) {
            const key = namePattern.exec(name)?.[1];
            if (key !== undefined) keys.add(key);
        }
        return keys;
    }

    /** @returns undefined where there is no such snapshot, or a damaged one, which is removed */
    async read(key: string, origin: ArmtSnapshotOrigin): Promise<ArmtSnapshot | undefined> {
        const file = this.fileOf(key);
        try {
            const parts = await readSnapshotFile(file);
            if (findMismatch(parts.header, origin) !== undefined) return undefined;
            const now = new Date();
            await utimes(file, now, now).catch(() => {});
            return new ArmtSnapshot(parts);
        } catch (error) {
            if (error instanceof ArmtError && error.message.startsWith("cannot load"))
                await rm(file, { force: true }).catch(() => {});
            return undefined;
        }
    }

    /** @throws {ArmtError} where it cannot be written */
    async write(key: string, snapshot: ArmtSnapshot): Promise<void> {
        await this.makeRoom(snapshot.bytes);
        this.known += await writeSnapshotFile(this.fileOf(key), snapshot.parts, { mode: 0o600 });
    }

    async clear(): Promise<void> {
        for (const key of await this.list()) await rm(this.fileOf(key), { force: true });
        this.known = 0;
    }

    /** Bytes and number of files, other processes' included. */
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
