import { DisposedError } from "node-llama-cpp";
import type {
    ArmtSegmentOverflow,
    ArmtSnapshotHeader,
    ArmtSnapshotInfo,
    ArmtSnapshotSource,
    ArmtStateType
} from "../types.js";
import { readSnapshotFile, readSnapshotHeader, type SnapshotParts, writeSnapshotFile } from "./snapshot-file.js";

/** Options of {@link ArmtSnapshot.save}, {@link ArmtSnapshot.load} and `sequence.armt.load`. */
export interface ArmtSaveOptions {
    /**
     * Stops saving or loading, which then rejects with the signal's reason. The file does not change. Default: none.
     */
    signal?: AbortSignal;
}

/**
 * A copy of all that a sequence has read: the associative memory of every layer, and the open segment. Apart from the
 * token ids (4 bytes each), its size does not depend on the number of tokens. It can be restored any number of times,
 * into any sequence of the same model whose context has the same options: `sequence.armt.restore`.
 *
 * Every property throws `DisposedError` after {@link dispose}.
 *
 * Example: `const snapshot = await sequence.armt.snapshot(); await other.armt.restore(snapshot); snapshot.dispose();`
 */
export class ArmtSnapshot implements ArmtSnapshotInfo {
    private contents: SnapshotParts | undefined;

    /** @internal */
    constructor(parts: SnapshotParts) {
        this.contents = parts;
    }

    /**
     * Reads a snapshot from a file, and checks all of it. It fits no context until `restore` accepts it.
     * @throws {ArmtError} if the file cannot be read, is damaged, or has another format version
     */
    static async load(path: string, { signal }: ArmtSaveOptions = {}): Promise<ArmtSnapshot> {
        return new ArmtSnapshot(await readSnapshotFile(path, { signal }));
    }

    /**
     * Reads the header of a snapshot file, a few hundred bytes, and checks it. The contents are neither read nor
     * checked.
     * @throws {ArmtError} if the file cannot be read, its header is damaged, or it has another format version
     */
    static async inspect(path: string): Promise<ArmtSnapshotHeader> {
        return await readSnapshotHeader(path);
    }

    /**
     * Writes the snapshot to a file. It gets its name only when it is complete and flushed; an existing file is
     * replaced.
     * @returns size of the file in bytes
     * @throws {ArmtError} if the file cannot be written; nothing is left behind then
     * @throws {DisposedError} after the snapshot is disposed
     */
    async save(path: string, { signal }: ArmtSaveOptions = {}): Promise<number> {
        return await writeSnapshotFile(path, this.parts, { signal });
    }

    /** Size in memory: the engine's state, and 4 bytes for each token id that the snapshot holds. Unit: bytes. */
    get bytes(): number {
        const { state, tokens } = this.parts;
        return state.length + (tokens?.byteLength ?? 0);
    }

    /** `armt.fingerprint` of the model file, 64 hexadecimal digits. The snapshot only fits this model. */
    get fingerprint(): string {
        return this.parts.header.fingerprint;
    }

    /** Text tokens in a segment of the original context. Unit: tokens. */
    get segmentSize(): number {
        return this.parts.header.segmentSize;
    }

    /** What happened in the original context when the open segment was full. */
    get segmentOverflow(): ArmtSegmentOverflow {
        return this.parts.header.segmentOverflow;
    }

    /** Tokens that fit into an open segment of the original context. Unit: tokens. */
    get openSegmentLimit(): number {
        return this.parts.header.openSegmentLimit;
    }

    /** Number types of the open segment's K/V cache, by their ggml names, for example `["F16", "F16"]`. */
    get kvTypes(): readonly [string, string] {
        return this.parts.header.kvTypes;
    }

    /** Number type of A and z. */
    get stateType(): ArmtStateType {
        return this.parts.header.stateType;
    }

    /** Tokens that the sequence had read; without the open segment if only closed segments were copied. */
    get tokensRead(): number {
        return this.parts.header.tokensRead;
    }

    /** Tokens of the open segment that the snapshot holds; 0 if only closed segments were copied. */
    get openTokens(): number {
        return this.parts.header.openTokens;
    }

    /** Segments that the sequence had closed. */
    get segmentsClosed(): number {
        return this.parts.header.segmentsClosed;
    }

    /** Whether the snapshot holds the token ids. Without them, a chat session reads its history from the start. */
    get hasTokenIds(): boolean {
        return this.parts.header.hasTokenIds;
    }

    /** The text that was read, if the snapshot was created with `source`, as `armt read` does; otherwise undefined. */
    get source(): ArmtSnapshotSource | undefined {
        return this.parts.header.source;
    }

    /** Whether the snapshot is disposed. */
    get disposed(): boolean {
        return this.contents === undefined;
    }

    /** Frees the memory. May be called twice; any other use afterwards throws `DisposedError`. */
    dispose(): void {
        this.contents = undefined;
    }

    [Symbol.dispose](): void {
        this.dispose();
    }

    /** @internal */
    get parts(): SnapshotParts {
        if (this.contents === undefined) throw new DisposedError();
        return this.contents;
    }
}
