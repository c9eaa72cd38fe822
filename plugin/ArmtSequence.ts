import { DisposedError, type LlamaContext, type LlamaContextSequence, type Token } from "node-llama-cpp";
import { quote } from "../src/util/errors.js";
import type { ArmtContext } from "./ArmtContext.js";
import type { ArmtAddon, NativeSequenceStats } from "./addon.js";
import { ArmtError, ArmtEvalError } from "./errors.js";
import {
    contextInternals,
    type DecodeRequest,
    sequenceInternals,
    withContextAlive,
    withSequence
} from "./internals.js";
import type { ArmtMemoryStore, ArmtPrefill, ArmtPrefillOptions } from "./memory/ArmtMemoryStore.js";
import { type ArmtSaveOptions, ArmtSnapshot } from "./memory/ArmtSnapshot.js";
import {
    type ArmtFeedOptions,
    type ArmtFeedProgress,
    type ArmtFeedSource,
    checkKeepTokens,
    checkRoom,
    defaultKeepTokens,
    feed
} from "./memory/feed.js";
import { type ArmtSnapshotOrigin, findMismatch, originOf } from "./memory/snapshot-facts.js";
import { readSnapshotFile } from "./memory/snapshot-file.js";
import type { ArmtSnapshotSource } from "./memory/snapshot-header.js";
import { appendTokens, forgetTokens, knowsTokens, setTokens } from "./memory/token-record.js";
import { type ArmtProgress, ProgressReporter } from "./progress.js";
import type { ArmtSegmentAlignment } from "./segments.js";

/** The associative memory of one layer, float32. */
export interface ArmtLayerMemory {
    /** A, row-major: [h, K/h, D/h], h = 1 being the papers' [K, D]. */
    readonly a: Float32Array;
    /** z: [h, K/h]; undefined for a model without it. */
    readonly z?: Float32Array;
    /** Shape of `a`. */
    readonly shape: readonly [heads: number, keyLength: number, valueLength: number];
}

/** Options of `sequence.armt.snapshot` and `save`. */
export interface ArmtSnapshotOptions {
    /** Leave the open segment out, so that what goes on from the snapshot starts on a segment of its own. Default: `false`. */
    closedOnly?: boolean;
    /** Rejects with the signal's reason; nothing is changed or written. */
    signal?: AbortSignal;
}

/** Options of `sequence.armt.save`. */
export interface ArmtSequenceSaveOptions extends ArmtSnapshotOptions {
    /** Save the ids of the tokens too, 4 bytes each, so that chat sessions can tell what was read. Default: `true`. */
    tokenIds?: boolean;
    /** What the text came from, for whoever goes on reading it. Default: nothing. */
    source?: ArmtSnapshotSource;
}

/** What ARMT adds to a sequence: `sequence.armt`. All numbers are read from the engine at the moment of the call. */
export class ArmtSequence {
    private cached = 0;

    /**
     * Whether segments were only closed where they were full. Prefixes of other sequences cannot be found again.
     * @internal
     */
    isRegular = true;

    private cancelled: { readonly reason: unknown } | undefined;

    /** @internal */
    constructor(
        private readonly addon: ArmtAddon,
        /** What ARMT adds to the sequence's context. */
        readonly context: ArmtContext,
        private readonly sequence: LlamaContextSequence
    ) {}

    /** Text tokens in a segment. */
    get segmentSize(): number {
        return this.context.segmentSize;
    }

    /** The schedule in use. */
    get schedule(): "sequential" | "diagonal" {
        return this.context.schedule;
    }

    /** Size of this sequence's memory, A and z of all layers. Unit: bytes. */
    get memoryBytes(): number {
        return this.context.memoryBytes;
    }

    /** Tokens read so far. */
    get tokens(): number {
        return this.stats.tokens;
    }

    /** Tokens of the last prompt that came from a memory store instead of being read. */
    get cachedTokens(): number {
        return this.cached;
    }

    /** Tokens in the open segment: its fill. */
    get openTokens(): number {
        return this.stats.openTokens;
    }

    /** Segments closed so far, those that are still on their way through the layers included. */
    get segmentsClosed(): number {
        return this.stats.segmentsClosed;
    }

    /** Cells (layer, segment) computed so far, those of the open segment not counted. */
    get cells(): number {
        return this.stats.cells;
    }

    /** Graph evaluations that worked on this sequence. */
    get graphs(): number {
        return this.stats.graphs;
    }

    /** Of these, the ones that reused the graph before them: for the others a graph was built. */
    get graphsReused(): number {
        return this.stats.graphsReused;
    }

    /** Of these, the ones that the GPU replayed as one CUDA graph. Only the backend of `armt build --tuned` counts them. */
    get graphsReplayed(): number {
        return this.stats.graphsReplayed;
    }

    /**
     * Writes the open segment to memory, whatever its length, and opens the next; does nothing when it is empty.
     * @throws {ArmtEvalError} where the engine fails
     */
    async closeSegment(): Promise<void> {
        await this.exclusively(async (id, sequenceId) => {
            const { openTokens } = this.stats;
            if (openTokens > 0 && openTokens !== this.segmentSize) this.isRegular = false;
            await this.addon.closeSegment(id, sequenceId);
        });
    }

    /**
     * Copies one layer's memory as left by the closed segments.
     * @param layer from 0
     * @throws {ArmtEvalError} where the engine fails or has no such layer
     */
    async readMemory(layer: number): Promise<ArmtLayerMemory> {
        const { memoryHeads, keyLength, valueLength } = this.context.memoryShape;
        const { a, z } = await this.exclusively((id, sequenceId) => this.addon.readMemory(id, sequenceId, layer));
        return { a, z, shape: [memoryHeads, keyLength, valueLength] };
    }

    /**
     * Evaluates tokens after those that are there already and gives the logits of each.
     * @param tokens at least one
     * @returns one piece per batch of the context's batch size, each [tokens of the batch, vocabulary], row-major
     * @throws {ArmtEvalError} for a token that is not in the vocabulary, and where the engine fails
     */
    async *evaluateLogits(tokens: readonly Token[]): AsyncGenerator<Float32Array, void, void> {
        const { batchSize } = this.sequence.context;
        for (let start = 0; start < tokens.length; start += batchSize) {
            const batch = tokens.slice(start, start + batchSize);
            yield await this.exclusively(async (id, sequenceId) => {
                const internals = sequenceInternals(this.sequence);
                if (internals._nextTokenIndex === 0) this.context.planPrompt(sequenceId, tokens.length);
                const ids = Int32Array.from(batch);
                try {
                    return await this.addon.decode(id, sequenceId, ids, internals._nextTokenIndex, true);
                } finally {
                    this.takeOver(batch);
                }
            });
        }
    }

    /**
     * Ends the running evaluation of this sequence at the next batch, which then rejects with `reason`. What was read stays in memory.
     */
    cancelEvaluation(reason: unknown): void {
        this.cancelled = { reason };
        const internals = contextInternals(this.sequence.context);
        const { _sequenceId } = sequenceInternals(this.sequence);
        const mine = internals._queuedDecodes.filter(({ sequenceId }) => sequenceId === _sequenceId);
        if (mine.length > 0) internals._dispatchErrorForQueuedDecodesAndDequeue(new Set(mine), reason);
    }

    /**
     * Copies all that the sequence has read, into memory.
     * @throws {ArmtEvalError} where the engine fails
     */
    async snapshot({ closedOnly = false, signal }: ArmtSnapshotOptions = {}): Promise<ArmtSnapshot> {
        return await this.takeSnapshot({ closedOnly }, undefined, signal);
    }

    /**
     * Puts a snapshot in the place of what the sequence holds. The snapshot can be used again.
     * @throws {ArmtError} with the reason, and nothing changed, for a snapshot of another model or of a context with other options
     */
    async restore(snapshot: ArmtSnapshot): Promise<void> {
        this.checkFit(snapshot, "the snapshot cannot be restored");
        const { header, tokens } = snapshot.held;
        await this.exclusively(async () => {
            await this.loadState(snapshot);
            setTokens(sequenceInternals(this.sequence), tokens, header.tokensRead);
        });
    }

    /**
     * Saves all that the sequence has read to a file, which appears under its name only when it is whole and on the device.
     * @returns size of the file, and tokens that it holds
     * @throws {ArmtError} where it cannot be written
     */
    async save(
        path: string,
        { closedOnly = false, tokenIds = true, signal, source }: ArmtSequenceSaveOptions = {}
    ): Promise<{ bytes: number; tokensRead: number }> {
        const snapshot = await this.takeSnapshot({ closedOnly, tokenIds }, source, signal);
        const bytes = await snapshot.save(path, { signal });
        const { tokensRead } = snapshot;
        snapshot.dispose();
        return { bytes, tokensRead };
    }

    /**
     * Puts what a file holds in the place of what the sequence holds.
     * @throws {ArmtError} with the reason, and nothing changed, for a damaged file, another model, or a context with other options
     */
    async load(path: string, { signal }: ArmtSaveOptions = {}): Promise<void> {
        const accept = (header: ArmtSnapshotOrigin) => this.checkFit(header, `cannot load ${quote(path)}`);
        const snapshot = new ArmtSnapshot(await readSnapshotFile(path, { accept, signal }));
        signal?.throwIfAborted();
        await this.restore(snapshot);
        snapshot.dispose();
    }

    /**
     * Copies the sequence to a new one of the same context; each then goes its own way.
     * @param options those of `context.getSequence`
     * @throws {ArmtError} where the context has no sequence left
     */
    async fork(options?: Parameters<LlamaContext["getSequence"]>[0]): Promise<LlamaContextSequence> {
        if (this.sequence.disposed) throw new DisposedError();
        const { context } = this.sequence;
        if (context.sequencesLeft === 0)
            throw new ArmtError(
                `all ${context.totalSequences} sequences of the context are in use; make it with a larger \`sequences\`, or dispose one`
            );
        const fork = context.getSequence(options);
        try {
            const to = sequenceInternals(fork);
            await this.exclusively(async (id, from) => {
                await this.addon.copySequence(id, from, to._sequenceId);
                const { _contextTokens } = sequenceInternals(this.sequence);
                to._contextTokens = _contextTokens.slice();
                to._nextTokenIndex = _contextTokens.length;
                fork.armt!.isRegular = this.isRegular;
            });
            return fork;
        } catch (error) {
            await fork.dispose();
            throw error;
        }
    }

    /**
     * Reads a source to its end, however long it is, and generates nothing. Text is tokenized piece by piece with the ids that the whole would have.
     * @throws the signal's reason when it is aborted; the sequence then goes on from `tokens`
     * @throws {ArmtError} for text where the model has no tokenizer, and where the context is full
     */
    async feed(
        source: ArmtFeedSource,
        { signal, onProgress, keepTokens = defaultKeepTokens }: ArmtFeedOptions = {}
    ): Promise<ArmtFeedProgress> {
        checkKeepTokens(keepTokens);
        signal?.throwIfAborted();
        const read = (tokens: readonly Token[]) =>
            this.readTokens(tokens, { keepTokens, memoryStore: null, isPart: true, signal });
        return await this.withSignal(signal, () => feed(this.sequence, source, read, { signal, onProgress }));
    }

    /** @internal */
    async prefill(
        memoryStore: ArmtMemoryStore,
        tokens: readonly Token[],
        { signal, onProgress }: ArmtPrefillOptions
    ): Promise<ArmtPrefill> {
        return await this.withSignal(signal, async () => {
            await this.sequence.adaptStateToTokens([...tokens], false);
            const held = this.sequence.nextTokenIndex;
            const rest = tokens.slice(held);
            this.cached = 0;
            if (rest.length > 0) {
                const report = ({ tokensDone }: ArmtProgress) =>
                    onProgress?.({ tokensDone: held + tokensDone, tokensTotal: tokens.length });
                const progress = new ProgressReporter(report, () => this.readStats(), rest.length);
                try {
                    await this.readTokens(rest, { memoryStore, signal });
                    progress.end(true);
                } finally {
                    progress.end(false);
                }
            }
            const cachedTokens = held + this.cached;
            return { cachedTokens, readTokens: tokens.length - cachedTokens };
        });
    }

    /**
     * Brings node-llama-cpp's record of the sequence up to what the engine holds of the tokens that were handed to it.
     * @internal
     */
    takeOver(tokens: readonly Token[]): void {
        const internals = sequenceInternals(this.sequence);
        const held = this.addon.sequenceStats(this.context.id, internals._sequenceId)?.tokens;
        if (held === undefined) return;
        const known = internals._contextTokens.length;
        if (held < known) internals._contextTokens.length = held;
        appendTokens(internals, tokens, Math.min(tokens.length, Math.max(0, held - known)));
    }

    /** @internal */
    beginEvaluation(start: number, count: number): void {
        this.cancelled = undefined;
        if (start === 0) this.isRegular = true;
        if (count > 1) this.cached = 0;
    }

    /** @internal */
    throwIfCancelled(): void {
        if (this.cancelled !== undefined) throw this.cancelled.reason;
    }

    /** @internal */
    get segmentAlignment(): ArmtSegmentAlignment {
        return this.context.facts.segmentAlignment;
    }

    /** @internal */
    get origin(): ArmtSnapshotOrigin {
        return originOf(this.sequence.context, this.context, this.context.facts);
    }

    /**
     * The ids of all tokens held, and more behind them; undefined where they are not known.
     * @internal
     */
    tokensWith(tokens: readonly Token[]): Uint32Array | undefined {
        const internals = sequenceInternals(this.sequence);
        if (!knowsTokens(internals)) return undefined;
        const { _contextTokens } = internals;
        const all = new Uint32Array(_contextTokens.length + tokens.length);
        all.set(_contextTokens);
        all.set(tokens, _contextTokens.length);
        return all;
    }

    /**
     * What the first `end` tokens left in memory, where these are just the closed segments. For whoever evaluates in this sequence.
     * @internal
     */
    async takeClosed(end: number): Promise<ArmtSnapshot | undefined> {
        if (this.readStats()?.segmentStart !== end) return undefined;
        return await this.inContext(() => this.copyState({ closedOnly: true, tokenIds: false }, undefined));
    }

    /**
     * Puts a snapshot in the place of the engine's state. For whoever evaluates in this sequence and keeps the record of its tokens.
     * @internal
     */
    async replaceState(snapshot: ArmtSnapshot, cachedTokens: number): Promise<void> {
        await this.inContext(() => this.loadState(snapshot));
        this.cached = cachedTokens;
    }

    /** @internal */
    readStats(): NativeSequenceStats | undefined {
        return this.addon.sequenceStats(this.context.id, sequenceInternals(this.sequence)._sequenceId);
    }

    private async takeSnapshot(
        { closedOnly, tokenIds = true }: { closedOnly: boolean; tokenIds?: boolean },
        source: ArmtSnapshotSource | undefined,
        signal: AbortSignal | undefined
    ): Promise<ArmtSnapshot> {
        signal?.throwIfAborted();
        const snapshot = await this.exclusively(() => this.copyState({ closedOnly, tokenIds }, source));
        signal?.throwIfAborted();
        return snapshot;
    }

    private async copyState(
        { closedOnly, tokenIds }: { closedOnly: boolean; tokenIds: boolean },
        source: ArmtSnapshotSource | undefined
    ): Promise<ArmtSnapshot> {
        const internals = sequenceInternals(this.sequence);
        const state = await this.addon.saveState(this.context.id, internals._sequenceId, closedOnly);
        const { tokens, openTokens, segmentsClosed } = this.stats;
        const tokensRead = closedOnly ? tokens - openTokens : tokens;
        const hasTokenIds = tokenIds && knowsTokens(internals) && internals._contextTokens.length >= tokensRead;
        const header = {
            ...this.origin,
            tokensRead,
            openTokens: closedOnly ? 0 : openTokens,
            segmentsClosed,
            hasTokenIds,
            regular: this.isRegular,
            modelPath: this.context.modelPath,
            created: new Date().toISOString(),
            source
        };
        const ids = hasTokenIds ? Uint32Array.from(internals._contextTokens.slice(0, tokensRead)) : undefined;
        return new ArmtSnapshot({ header, tokens: ids, state });
    }

    private async loadState(snapshot: ArmtSnapshot): Promise<void> {
        const { header, state } = snapshot.held;
        const { _sequenceId } = sequenceInternals(this.sequence);
        await this.addon.loadState(this.context.id, _sequenceId, state);
        this.isRegular = header.regular;
        if (this.stats.tokens === header.tokensRead) return;
        // whoever made such a file, positions would be wrong from here on
        contextInternals(this.sequence.context)._ctx.disposeSequence(_sequenceId);
        this.takeOver([]);
        throw new ArmtError("the snapshot contradicts itself about the tokens read; the sequence is empty now");
    }

    private checkFit(snapshot: ArmtSnapshotOrigin, what: string): void {
        const mismatch = findMismatch(snapshot, this.origin);
        if (mismatch !== undefined) throw new ArmtError(`${what}: ${mismatch}`);
    }

    /** Evaluates tokens without results. Unlike node-llama-cpp's own way, it takes no longer the more the sequence holds. */
    private async readTokens(
        tokens: readonly Token[],
        {
            keepTokens = Number.POSITIVE_INFINITY,
            signal,
            ...ours
        }: { keepTokens?: number; signal?: AbortSignal } & Pick<DecodeRequest, "memoryStore" | "isPart">
    ): Promise<void> {
        if (this.sequence.disposed) throw new DisposedError();
        await withSequence(this.sequence, async () => {
            if (this.sequence.disposed) throw new DisposedError();
            // what is not queued yet cannot be cancelled
            signal?.throwIfAborted();
            const internals = sequenceInternals(this.sequence);
            const start = internals._nextTokenIndex;
            checkRoom(this.sequence, start, tokens.length);
            const request: DecodeRequest = {
                sequenceId: internals._sequenceId,
                firstTokenSequenceIndex: start,
                tokens: [...tokens],
                logits: [],
                tokenMeter: this.sequence.tokenMeter,
                ...ours
            };
            await contextInternals(this.sequence.context)._decodeTokens(request, () => undefined);
            appendTokens(internals, tokens);
            if (internals._contextTokens.length > keepTokens) forgetTokens(internals);
        });
    }

    private async withSignal<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
        const cancel = () => this.cancelEvaluation(signal?.reason);
        signal?.addEventListener("abort", cancel);
        try {
            return await work();
        } finally {
            signal?.removeEventListener("abort", cancel);
        }
    }

    private get stats(): NativeSequenceStats {
        const stats = this.sequence.disposed ? undefined : this.readStats();
        if (stats === undefined) throw new DisposedError();
        return stats;
    }

    private async exclusively<T>(work: (contextId: number, sequenceId: number) => Promise<T>): Promise<T> {
        if (this.sequence.disposed) throw new DisposedError();
        return await withSequence(this.sequence, () => this.inContext(work));
    }

    /** For whoever evaluates in this sequence. */
    private async inContext<T>(work: (contextId: number, sequenceId: number) => Promise<T>): Promise<T> {
        return await withContextAlive(this.sequence.context, async () => {
            if (this.sequence.disposed) throw new DisposedError();
            try {
                return await work(this.context.id, sequenceInternals(this.sequence)._sequenceId);
            } catch (error) {
                throw new ArmtEvalError(error instanceof Error ? error.message : String(error), { cause: error });
            }
        });
    }
}
