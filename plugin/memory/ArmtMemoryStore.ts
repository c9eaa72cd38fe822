import { DisposedError, type LlamaContextSequence, type Token } from "node-llama-cpp";
import { ArmtUnsupportedError } from "../errors.js";
import type { ArmtPrefill, ArmtSnapshotOrigin } from "../types.js";
import type { ArmtSnapshot } from "./ArmtSnapshot.js";
import type { SegmentKey } from "./segment-keys.js";
import { SnapshotCache } from "./snapshot-cache.js";
import { SnapshotFolder } from "./snapshot-folder.js";

/** Options of {@link ArmtMemoryStore.open}. */
export interface ArmtMemoryStoreOptions {
    /**
     * Folder that keeps the memories after the process ends. It is created if it does not exist, readable for its owner
     * only. Several processes may share it. Default: none; memories are lost with the process.
     */
    folder?: string;

    /**
     * Limit for the size of the folder, for all processes together. The least recently used files are removed. Unit:
     * bytes, from 0. Default: 2 GiB. Throws `RangeError` outside the range.
     */
    maxBytes?: number;

    /**
     * Limit for the memories held in RAM; a folder may hold more. Unit: bytes, from 0. Default: 256 MiB. Throws
     * `RangeError` outside the range.
     */
    maxMemoryBytes?: number;

    /**
     * Smallest distance between two checkpoints of a prompt; each costs one copy of the memory. Unit: tokens, from 1.
     * Default: 512. Throws `RangeError` outside the range.
     */
    checkpointInterval?: number;

    /**
     * Called if a memory cannot be written, for example because the disk is full. Also called if a file of the folder
     * is removed, because it is damaged or holds another memory than its name says. The evaluation continues. Default:
     * nothing is reported.
     */
    onWarning?: (error: Error) => void;
}

/** Defaults of {@link ArmtMemoryStoreOptions}. */
export const storeDefaults = { maxBytes: 2 * 2 ** 30, maxMemoryBytes: 256 * 2 ** 20, checkpointInterval: 512 } as const;

/** What a store has done since it was opened. Work of other stores on the same folder is not counted. */
export interface ArmtMemoryStoreStats {
    /** Prompts that started from a stored memory. */
    readonly hits: number;
    /** Prompts longer than one segment that found no stored memory. Shorter prompts are not counted. */
    readonly misses: number;
    /** Tokens that did not have to be read because of hits. */
    readonly cachedTokens: number;
    /** Memories that were taken, including those that could not be written later. */
    readonly checkpoints: number;
    /** Memories that could not be written to the folder; `onWarning` got the reasons. */
    readonly failedWrites: number;
    /** Memories that are held in memory now. */
    readonly memoryEntries: number;
    /** Size of the memories that are held in memory now, at most `maxMemoryBytes`. Unit: bytes. */
    readonly memoryBytes: number;
}

/** Options of {@link ArmtMemoryStore.prefill}. */
export interface ArmtPrefillOptions {
    /** Stops after the current batch. The call then rejects with the signal's reason, and what was read stays. */
    signal?: AbortSignal;
    /** Called while tokens are read, with the number of the prompt's tokens that the sequence holds. Default: none. */
    onProgress?: (progress: { readonly tokensDone: number; readonly tokensTotal: number }) => void;
    /**
     * Tokens of the prompt after which a checkpoint is kept, at the end of the last whole segment before each of them.
     * Default: only the checkpoints that the store chooses.
     */
    checkpointsAt?: readonly number[];
}

/**
 * Memories of earlier prompts, found by their tokens. A prompt that shares its first segments with an earlier one
 * starts from there, whichever sequence, context or (with a folder) process read the earlier one. Pass the store to
 * `createContext({armt: {memoryStore}})` to use it for everything that the context evaluates, including chat sessions;
 * or call {@link prefill} for a single sequence.
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
     * Opens a store. Several processes may open the same folder.
     * @throws {RangeError} for a number outside its range
     * @throws {ArmtError} if the folder can be neither used nor created
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
        const warn = (error: unknown) => report(error, onWarning);
        const opened = folder === undefined ? undefined : await SnapshotFolder.open(folder, maxBytes, warn);
        return new ArmtMemoryStore(opened, checkpointInterval, maxMemoryBytes, onWarning);
    }

    /**
     * Makes a sequence hold exactly these tokens, with as little reading as possible. It starts from what the sequence
     * holds or from the longest stored prefix, and leaves checkpoints. To generate, pass all tokens but the last, and
     * evaluate the last one.
     * @throws {ArmtUnsupportedError} for a sequence of a plain model
     * @throws {ArmtError} if the context has no room for the tokens
     * @throws {DisposedError} after the store or the sequence is disposed
     */
    async prefill(
        sequence: LlamaContextSequence,
        tokens: readonly Token[],
        { signal, onProgress, checkpointsAt }: ArmtPrefillOptions = {}
    ): Promise<ArmtPrefill> {
        this.ensureOpen();
        const { armt } = sequence;
        if (armt === undefined)
            throw new ArmtUnsupportedError("a memory store works with sequences of ARMT models only");
        signal?.throwIfAborted();
        return await armt.prefill(this, tokens, { signal, onProgress, checkpointsAt });
    }

    /** Counts since the store was opened. They can still be read after it is disposed. */
    get stats(): ArmtMemoryStoreStats {
        return { ...this.counts, memoryEntries: this.cache.entries, memoryBytes: this.cache.bytes };
    }

    /** Size of the folder, including the memories of other processes. Unit: bytes. Without a folder both are 0. */
    async measureFolder(): Promise<{ bytes: number; entries: number }> {
        return (await this.folder?.measure()) ?? { bytes: 0, entries: 0 };
    }

    /** Waits until all memories taken so far are written to the folder. */
    async flush(): Promise<void> {
        await this.writing;
    }

    /**
     * Forgets everything, in the folder too.
     * @throws {DisposedError} after the store is disposed
     */
    async clear(): Promise<void> {
        this.ensureOpen();
        await this.flush();
        this.cache.clear();
        await this.folder?.clear();
    }

    /** Whether the store is disposed. */
    get disposed(): boolean {
        return this.isDisposed;
    }

    /**
     * Finishes all writes and frees the memory. Contexts that use the store continue without it. May be called twice.
     */
    async dispose(): Promise<void> {
        this.isDisposed = true;
        await this.flush();
        this.cache.clear();
    }

    async [Symbol.asyncDispose](): Promise<void> {
        await this.dispose();
    }

    /**
     * Finds the longest stored prefix.
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

    /**
     * The keys that are not stored yet.
     * @internal
     */
    async missing(keys: readonly SegmentKey[]): Promise<SegmentKey[]> {
        const stored = await this.folder?.list();
        return keys.filter(({ key }) => (stored === undefined ? !this.cache.has(key) : !stored.has(key)));
    }

    /**
     * Stores a snapshot. It is written to the folder in the background.
     * @internal
     */
    async put(key: string, snapshot: ArmtSnapshot): Promise<void> {
        this.counts.checkpoints++;
        this.cache.put(key, snapshot);
        if (this.folder === undefined) return;
        // with a slow disk, snapshots must not pile up in memory
        if (this.writingBytes > this.maxMemoryBytes) await this.writing;
        const { bytes } = snapshot;
        this.writingBytes += bytes;
        this.writing = this.writing.then(async () => {
            try {
                await this.folder!.write(key, snapshot);
            } catch (error) {
                this.counts.failedWrites++;
                report(error, this.onWarning);
            } finally {
                this.writingBytes -= bytes;
            }
        });
    }

    /**
     * Counts a prompt as a hit or a miss.
     * @internal
     */
    count(cachedTokens: number): void {
        if (cachedTokens > 0) this.counts.hits++;
        else this.counts.misses++;
        this.counts.cachedTokens += cachedTokens;
    }

    private ensureOpen(): void {
        if (this.isDisposed) throw new DisposedError();
    }
}

function report(error: unknown, onWarning: (error: Error) => void): void {
    try {
        onWarning(error instanceof Error ? error : new Error(String(error)));
    } catch (broken) {
        // as with node-llama-cpp's callbacks, a faulty one must not end the evaluation
        console.error(broken);
    }
}

function checkCount(name: string, value: unknown, min: number): void {
    if (typeof value !== "number" || !(value >= min))
        throw new RangeError(`\`${name}\` must be a number of at least ${min}, got ${String(value)}`);
}
