import { DisposedError } from "node-llama-cpp";
import type { ArmtSegmentOverflow, ArmtStateType } from "../options.js";
import type { ArmtSnapshotFacts } from "./snapshot-facts.js";
import { readSnapshotFile, readSnapshotHeader, type SnapshotParts, writeSnapshotFile } from "./snapshot-file.js";
import type { ArmtSnapshotSource, SnapshotHeader } from "./snapshot-header.js";

/** Options of {@link ArmtSnapshot.save}. */
export interface ArmtSaveOptions {
    /** Stops the saving, which then rejects with the signal's reason; the file stays as it was. */
    signal?: AbortSignal;
}

/**
 * All that a sequence has read, in memory: the associative memory of every layer and the open segment. Its size does not depend on the number of tokens, but
 * for their ids (4 bytes each). It can be restored any number of times, into any sequence of the same model whose context has the same options.
 */
export class ArmtSnapshot implements ArmtSnapshotFacts {
    private parts: SnapshotParts | undefined;

    /** @internal */
    constructor(parts: SnapshotParts) {
        this.parts = parts;
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
    static async inspect(path: string): Promise<SnapshotHeader> {
        return await readSnapshotHeader(path);
    }

    /**
     * Writes a file that appears under its name only when it is whole and on the device.
     * @returns bytes of the file
     * @throws {ArmtError} where it cannot be written
     */
    async save(path: string, { signal }: ArmtSaveOptions = {}): Promise<number> {
        return await writeSnapshotFile(path, this.held, { signal });
    }

    /** Size in memory. Unit: bytes. */
    get bytes(): number {
        const { state, tokens } = this.held;
        return state.length + (tokens?.byteLength ?? 0);
    }

    get fingerprint(): string {
        return this.held.header.fingerprint;
    }

    get segmentSize(): number {
        return this.held.header.segmentSize;
    }

    get segmentOverflow(): ArmtSegmentOverflow {
        return this.held.header.segmentOverflow;
    }

    get openSegmentLimit(): number {
        return this.held.header.openSegmentLimit;
    }

    get kvTypes(): readonly [string, string] {
        return this.held.header.kvTypes;
    }

    get stateType(): ArmtStateType {
        return this.held.header.stateType;
    }

    get tokensRead(): number {
        return this.held.header.tokensRead;
    }

    get openTokens(): number {
        return this.held.header.openTokens;
    }

    get segmentsClosed(): number {
        return this.held.header.segmentsClosed;
    }

    get hasTokenIds(): boolean {
        return this.held.header.hasTokenIds;
    }

    /** What was read, where it was `armt read` that made the snapshot. */
    get source(): ArmtSnapshotSource | undefined {
        return this.held.header.source;
    }

    get disposed(): boolean {
        return this.parts === undefined;
    }

    /** Gives the memory back. May be called twice; any other use afterwards throws `DisposedError`. */
    dispose(): void {
        this.parts = undefined;
    }

    [Symbol.dispose](): void {
        this.dispose();
    }

    /** @internal */
    get held(): SnapshotParts {
        if (this.parts === undefined) throw new DisposedError();
        return this.parts;
    }
}
