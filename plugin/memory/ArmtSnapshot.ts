import { DisposedError } from "node-llama-cpp";
import type {
    ArmtSegmentOverflow,
    ArmtSnapshotHeader,
    ArmtSnapshotInfo,
    ArmtSnapshotSource,
    ArmtStateType
} from "../types.js";
import { readSnapshotFile, readSnapshotHeader, type SnapshotParts, writeSnapshotFile } from "./snapshot-file.js";

/** Options of {@link ArmtSnapshot.save}. */
export interface ArmtSaveOptions {
    /** Stops the saving, which then rejects with the signal's reason; the file stays as it was. */
    signal?: AbortSignal;
}

/**
 * All that a sequence has read, in memory: the associative memory of every layer and the open segment. Its size does not depend on the number of tokens, but
 * for their ids (4 bytes each). It can be restored any number of times, into any sequence of the same model whose context has the same options.
 */
export class ArmtSnapshot implements ArmtSnapshotInfo {
    private contents: SnapshotParts | undefined;

    /** @internal */
    constructor(parts: SnapshotParts) {
        this.contents = parts;
    }

    /**
     * Reads a snapshot from a file, and checks all of it.
     * @throws {ArmtError} where it cannot be read, is damaged or of another version
     */
    static async load(path: string, { signal }: ArmtSaveOptions = {}): Promise<ArmtSnapshot> {
        return new ArmtSnapshot(await readSnapshotFile(path, { signal }));
    }

    /**
     * What a snapshot file says about itself, without reading its contents.
     * @throws {ArmtError} where it cannot be read, is damaged or of another version
     */
    static async inspect(path: string): Promise<ArmtSnapshotHeader> {
        return await readSnapshotHeader(path);
    }

    /**
     * Writes a file that appears under its name only when it is whole and on the device.
     * @returns bytes of the file
     * @throws {ArmtError} where it cannot be written
     */
    async save(path: string, { signal }: ArmtSaveOptions = {}): Promise<number> {
        return await writeSnapshotFile(path, this.parts, { signal });
    }

    /** Size in memory. Unit: bytes. */
    get bytes(): number {
        const { state, tokens } = this.parts;
        return state.length + (tokens?.byteLength ?? 0);
    }

    get fingerprint(): string {
        return this.parts.header.fingerprint;
    }

    get segmentSize(): number {
        return this.parts.header.segmentSize;
    }

    get segmentOverflow(): ArmtSegmentOverflow {
        return this.parts.header.segmentOverflow;
    }

    get openSegmentLimit(): number {
        return this.parts.header.openSegmentLimit;
    }

    get kvTypes(): readonly [string, string] {
        return this.parts.header.kvTypes;
    }

    get stateType(): ArmtStateType {
        return this.parts.header.stateType;
    }

    get tokensRead(): number {
        return this.parts.header.tokensRead;
    }

    get openTokens(): number {
        return this.parts.header.openTokens;
    }

    get segmentsClosed(): number {
        return this.parts.header.segmentsClosed;
    }

    get hasTokenIds(): boolean {
        return this.parts.header.hasTokenIds;
    }

    /** What was read, where it was `armt read` that made the snapshot. */
    get source(): ArmtSnapshotSource | undefined {
        return this.parts.header.source;
    }

    get disposed(): boolean {
        return this.contents === undefined;
    }

    /** Gives the memory back. May be called twice; any other use afterwards throws `DisposedError`. */
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
