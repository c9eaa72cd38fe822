import { type Hash, randomBytes } from "node:crypto";
import type { ArmtSnapshot, Token } from "../../../plugin/index.js";
import { ApiError } from "../errors.js";

/** A document that was read. */
export interface StoredMemory {
    readonly id: string;
    readonly name: string | undefined;
    /** Name of the model that read it. */
    readonly model: string;
    /** Unix time. Unit: seconds. */
    readonly createdAt: number;
    /** `partial`: the client went before the document's end. */
    readonly status: "complete" | "partial";
    readonly snapshot: ArmtSnapshot;
    /** Of a partial memory: tokens that were made of the text but not read. */
    readonly unread: readonly Token[];
    /** Text that was taken in. Unit: UTF-16 code units. */
    readonly characters: number;
    /** SHA-256 of that text; undefined if it is unknown, as of a loaded memory. */
    readonly hash: Hash | undefined;
}

/**
 * The memories of a server, up to a number of bytes. A reader that still uses one that was deleted keeps it to its end.
 */
export class MemoryRegistry {
    private readonly memories = new Map<string, StoredMemory>();
    private total = 0;

    constructor(private readonly maxBytes: number) {}

    get count(): number {
        return this.memories.size;
    }

    get bytes(): number {
        return this.total;
    }

    list(): StoredMemory[] {
        return [...this.memories.values()];
    }

    /** @throws {ApiError} if there is none with this id */
    get(id: string, param?: string): StoredMemory {
        const memory = this.memories.get(id);
        if (memory === undefined)
            throw new ApiError(404, "there is no memory of this id; it was deleted, or read by another server", {
                param,
                code: "memory_not_found"
            });
        return memory;
    }

    /** @throws {ApiError} if there is no room; only clients delete memories */
    checkRoom(bytes: number): void {
        if (this.total + bytes > this.maxBytes)
            throw new ApiError(
                507,
                `the memories take ${this.total} bytes, this one needs ${bytes}, and the server holds ` +
                    `${this.maxBytes}; delete one`,
                { code: "memories_full" }
            );
    }

    add(memory: Omit<StoredMemory, "id" | "createdAt">): StoredMemory {
        this.checkRoom(memory.snapshot.bytes);
        const id = `mem_${randomBytes(12).toString("hex")}`;
        const stored = { ...memory, id, createdAt: Math.floor(Date.now() / 1000) };
        this.memories.set(id, stored);
        this.total += memory.snapshot.bytes;
        return stored;
    }

    delete(id: string): void {
        const { snapshot } = this.get(id);
        this.memories.delete(id);
        this.total -= snapshot.bytes;
    }
}
