import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import path from "node:path";
import { ArmtSnapshot, type ArmtSnapshotHeader } from "../../../plugin/index.js";
import { ArmtError, quote, systemErrorText } from "../../util/errors.js";
import { makeFolder } from "../../util/make-folder.js";

const extension = ".armt";
const maxNameLength = 100;

/** Letters and digits of any language; no name leaves the folder, and every system accepts it. */
const namePattern = /^[\p{L}\p{N}_](?:[\p{L}\p{N}\p{M}_ .'()-]*[\p{L}\p{N}\p{M}_)])?$/u;

/** A memory in the folder. */
export interface KeptMemory {
    readonly name: string;
    readonly header: ArmtSnapshotHeader;
}

/** The memory files of a folder, under their names without `.armt`. */
export class MemoryFolder {
    private constructor(private readonly folder: string) {}

    /** @throws {ArmtError} if the folder cannot be made or read */
    static async open(folder: string): Promise<MemoryFolder> {
        try {
            await makeFolder(folder);
            await readdir(folder);
        } catch (error) {
            throw new ArmtError(`cannot use the folder ${quote(folder)}: ${systemErrorText(error)}`, { cause: error });
        }
        return new MemoryFolder(folder);
    }

    /**
     * The path of a memory, which may not exist yet.
     * @throws {ArmtError} for a name that files cannot have
     */
    pathOf(name: string): string {
        if (name.length > maxNameLength || !namePattern.test(name))
            throw new ArmtError(
                `${quote(name)} cannot be the name of a memory; use up to ${maxNameLength} letters, digits, spaces ` +
                    "and . _ ' ( ) -"
            );
        return path.join(this.folder, `${name}${extension}`);
    }

    has(name: string): boolean {
        return existsSync(this.pathOf(name));
    }

    /** @throws {ArmtError} if there is no memory of this name */
    async get(name: string): Promise<{ file: string; header: ArmtSnapshotHeader }> {
        const file = this.pathOf(name);
        if (!existsSync(file)) {
            const names = (await this.list()).map((memory) => quote(memory.name));
            const others = names.length === 0 ? "there are none yet" : `the memories are ${names.join(", ")}`;
            throw new ArmtError(`there is no memory ${quote(name)}; ${others}`);
        }
        return { file, header: await ArmtSnapshot.inspect(file) };
    }

    /** All memories, by name. Files that are no memories are left out. */
    async list(): Promise<KeptMemory[]> {
        const memories: KeptMemory[] = [];
        for (const file of (await readdir(this.folder)).sort()) {
            if (!file.endsWith(extension)) continue;
            const header = await ArmtSnapshot.inspect(path.join(this.folder, file)).catch(() => undefined);
            if (header !== undefined) memories.push({ name: file.slice(0, -extension.length), header });
        }
        return memories;
    }

    /** @throws {ArmtError} if there is no memory of this name */
    async forget(name: string): Promise<void> {
        const { file } = await this.get(name);
        await rm(file);
    }
}
