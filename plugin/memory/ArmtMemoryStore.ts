import { DisposedError, type LlamaContextSequence, type Token } from "node-llama-cpp";
import { ArmtUnsupportedError } from "../errors.js";
import type { ArmtPrefill, ArmtSnapshotOrigin } from "../types.js";
import type { ArmtSnapshot } from "./ArmtSnapshot.js";
import type { SegmentKey } from "./segment-keys.js";
import { SnapshotCache } from "./snapshot-cache.js";
import { SnapshotFolder } from "./snapshot-folder.js";

/** Options of {@link ArmtMemoryStore.open}. */
export interface ArmtMemoryStoreOptions {
    /** Folder that keeps the memories over the end of the process; it is made where there is none. Default: memory only. */
    folder?: string;

    /** Bound of the folder, all processes together. Unit: bytes, from 0. Default: 2 GiB. */
    maxBytes?: number;

    /** Bound of what is held in memory in front of the folder. Unit: bytes, from 0. Default: 256 MiB. */
    maxMemoryBytes?: number;

    /**
     * Smallest distance of two checkpoints of a prompt, since taking one costs a copy of the memory. Unit: tokens, from 1. Default: 512.
     */
    checkpointInterval?: number;

    /** Called where a memory could not be written, e.g. for want of disk space; the evaluation goes on without it. Default: nothing. */
    onWarning?: (error: Error) => void;
}

/** Defaults of {@link ArmtMemoryStoreOptions}. */
export const storeDefaults = { maxBytes: 2 * 2 ** 30, maxMemoryBytes: 256 * 2 ** 20, checkpointInterval: 512 } as const;

/** What a store has done so far in this process. */
export interface ArmtMemoryStoreStats {
    /** Prompts that began with a stored memory. */
    readonly hits: number;
    /** Prompts longer than a segment that did not. */
    readonly misses: number;
    /** Tokens that were not read thanks to hits. */
    readonly cachedTokens: number;
    /** Memories that were taken. */
    readonly checkpoints: number;
    /** Memories that could not be written to the folder. */
    readonly failedWrites: number;
    /** Memories held in memory now, and their size. */
    readonly memoryEntries: number;
    readonly memoryBytes: number;
}

/** Options of {@link ArmtMemoryStore.prefill}. */
export interface ArmtPrefillOptions {
    /** Stops between graph evaluations; the call then rejects with the signal's reason, and what was read stays. */
    signal?: AbortSignal;
    /** Called after each piece that was read, with the tokens of the prompt that the sequence holds. */
    onProgress?: (progress: { readonly tokensDone: number; readonly tokensTotal: number }) => void;
}

/**
 * Memories of what was read before, by the tokens that were read: a prompt that shares its first segments with any earlier one starts from there, whichever
 * sequence, context or (with a folder) process read that. Give it to `createContext({armt: {memoryStore}})`, and all that a context evaluates uses it, chat
 * sessions included; or call {@link prefill} for one sequence.
 */
export class ArmtMemoryStore {
    private readonly cache: SnapshotCache;
    private writing: Promise<void> = Promise.resolve();
    private writingBytes = 0;
    private isDisposed = false;
    private readonly counts = { hits: 0, misses: 0, cachedTokens: 0, checkpoints: 0, failedWrites: 0 };

    private constructor(
        private readonly folder: SnapshotFolder | undefined,
        /** @internal */
        readonly checkpointInterval: number,
        private readonly maxMemoryBytes: number,
        private readonly onWarning: (error: Error) => void
    ) {
        this.cache = new SnapshotCache(maxMemoryBytes);
    }

    /**
     * Opens a store. Several processes may open one folder.
     * @throws {RangeError} for a number outside its range
     * @throws {ArmtError} where the folder can neither be used nor made
     */
    static async open(options: ArmtMemoryStoreOptions = {}): Promise<ArmtMemoryStore> {
        const {
            folder,
            maxBytes = storeDefaults.maxBytes,
            maxMemoryBytes = storeDefaults.maxMemoryBytes,
            checkpointInterval = storeDefaults.checkpointInterval,
            onWarning = () => {}
        } = options;
        checkCount("maxBytes", maxBytes, 0);
        checkCount("maxMemoryBytes", maxMemoryBytes, 0);
        checkCount("checkpointInterval", checkpointInterval, 1);
        const opened = folder === undefined ? undefined : await SnapshotFolder.open(folder, maxBytes);
        return new ArmtMemoryStore(opened, checkpointInterval, maxMemoryBytes, onWarning);
    }

    /**
     * Brings a sequence to hold exactly these tokens, with as little reading as possible: it goes on from what the sequence holds or from the longest stored
     * prefix, and leaves checkpoints. To generate, hand in all tokens but the last and evaluate that one.
     * @throws {ArmtUnsupportedError} for a sequence of a plain model
     */
    async prefill(
        sequence: LlamaContextSequence,
        tokens: readonly Token[],
        { signal, onProgress }: ArmtPrefillOptions = {}
    ): Promise<ArmtPrefill> {
        this.ensureOpen();
        const { armt } = sequence;
        if (armt === undefined) throw new ArmtUnsupportedError("a memory store is for sequences of ARMT models");
        signal?.throwIfAborted();
        return await armt.prefill(this, tokens, { signal, onProgress });
    }

    get stats(): ArmtMemoryStoreStats {
        return { ...this.counts, memoryEntries: this.cache.entries, memoryBytes: this.cache.bytes };
    }

    /** Size of the folder, other processes' memories included. */
    async measureFolder(): Promise<{ bytes: number; entries: number }> {
        return (await this.folder?.measure()) ?? { bytes: 0, entries: 0 };
    }

    /** Waits until all memories taken so far are on the device. */
    async flush(): Promise<void> {
        await this.writing;
    }

    /** Forgets everything, in the folder too. */
    async clear(): Promise<void> {
        this.ensureOpen();
        await this.flush();
        this.cache.clear();
        await this.folder?.clear();
    }

    get disposed(): boolean {
        return this.isDisposed;
    }

    /** Writes what is left to write and gives the memory back. Contexts that have the store go on without it. */
    async dispose(): Promise<void> {
        this.isDisposed = true;
        await this.flush();
        this.cache.clear();
    }

    async [Symbol.asyncDispose](): Promise<void> {
        await this.dispose();
    }

    /**
     * The longest stored prefix.
     * @param keys in ascending order
     * @internal
     */
    async find(
        keys: readonly SegmentKey[],
        origin: ArmtSnapshotOrigin
    ): Promise<{ end: number; snapshot: ArmtSnapshot } | undefined> {
        const stored = await this.folder?.list();
        for (const { key, end } of [...keys].reverse()) {
            let snapshot = this.cache.get(key);
            if (snapshot === undefined && stored?.has(key)) {
                snapshot = await this.folder!.read(key, origin);
                if (snapshot !== undefined) this.cache.put(key, snapshot);
            }
            if (snapshot?.tokensRead === end) return { end, snapshot };
        }
        return undefined;
    }

    /** @internal */
    async missing(keys: readonly SegmentKey[]): Promise<SegmentKey[]> {
        const stored = await this.folder?.list();
        return keys.filter(({ key }) => (stored === undefined ? !this.cache.has(key) : !stored.has(key)));
    }

    /**
     * Takes a snapshot in; the folder gets it later.
     * @internal
     */
    async put(key: string, snapshot: ArmtSnapshot): Promise<void> {
        this.counts.checkpoints++;
        this.cache.put(key, snapshot);
        if (this.folder === undefined) return;
        // a slow disk must not pile up what it is behind with
        if (this.writingBytes > this.maxMemoryBytes) await this.writing;
        const { bytes } = snapshot;
        this.writingBytes += bytes;
        this.writing = this.writing.then(async () => {
            try {
                await this.folder!.write(key, snapshot);
            } catch (error) {
                this.counts.failedWrites++;
                this.warn(error);
            } finally {
                this.writingBytes -= bytes;
            }
        });
    }

    /** @internal */
    count(cachedTokens: number): void {
        if (cachedTokens > 0) this.counts.hits++;
        else this.counts.misses++;
        this.counts.cachedTokens += cachedTokens;
    }

    private warn(error: unknown): void {
        try {
            this.onWarning(error instanceof Error ? error : new Error(String(error)));
        } catch (broken) {
            // as with node-llama-cpp's callbacks
            console.error(broken);
        }
    }

    private ensureOpen(): void {
        if (this.isDisposed) throw new DisposedError();
    }
}

function checkCount(name: string, value: unknown, min: number): void {
    if (typeof value !== "number" || !(value >= min))
        throw new RangeError(`\`${name}\` has to be a number of at least ${min}, got ${String(value)}`);
}
