import { DisposedError, type Token } from "node-llama-cpp";
import { ArmtError, ArmtEvalError } from "../errors.js";
import type { ArmtMemoryStore } from "../memory/ArmtMemoryStore.js";
import { ArmtSnapshot } from "../memory/ArmtSnapshot.js";
import { chooseCheckpoints } from "../memory/checkpoint-spacing.js";
import { type SegmentKey, segmentEnds, segmentKeys } from "../memory/segment-keys.js";
import type { Decoded, LogitMapper } from "../node-llama-cpp/decode.js";
import { withContextLock, withSequenceLock } from "../node-llama-cpp/locks.js";
import { takesCheckpoints } from "../node-llama-cpp/sequence-state.js";
import { hasIds } from "../node-llama-cpp/token-record.js";
import type { ArmtProgress } from "../types.js";
import type { ArmtContext } from "./ArmtContext.js";
import type { BatchQueue } from "./BatchQueue.js";
import { isGenerated, setGrowth, takeGrownSegment, takesGenerated } from "./growing-segment.js";
import { type PlannedRead, planQuestions, questionsOf } from "./plan-questions.js";
import { ProgressReporter } from "./progress.js";
import type { ReadRequest } from "./read-request.js";
import type { NativeSequence, SequenceHandle } from "./SequenceHandle.js";
import { findCut } from "./segment-cut.js";
import { planSegments } from "./segments.js";
import { copyState, loadState } from "./sequence-state.js";

/** A part of a read that ends where a segment is closed early or a checkpoint is taken, read in one or more batches. */
interface Piece {
    /** Index of the sequence at which the piece ends. */
    readonly end: number;
    /** Checkpoint to take after the piece. */
    readonly checkpoint?: SegmentKey;
    /** Whether to close the open segment after the piece. */
    readonly closes?: boolean;
}

/** What the store has for a read, and what it wants from it. */
interface StoredPrefix {
    readonly snapshot: ArmtSnapshot | undefined;
    /** Tokens of the request that the snapshot replaces. */
    readonly cachedTokens: number;
    /** Checkpoints that the store wants, in ascending order. */
    readonly checkpoints: readonly SegmentKey[];
}

/** A running read. A sequence has one at most, since its lock is held. */
interface RunningRead {
    cancelled?: { readonly reason: unknown };
    /** Whether tokens that the sequence held before are being read again. A cancel must not lose them. */
    restores?: boolean;
}

/** How node-llama-cpp reports a failed native evaluation, whatever the reason. */
const nativeFailure = /^(Eval has failed|could not find a KV slot)/;

/**
 * Reads all tokens of a context. This is the only place that cuts a read into pieces, asks the store, cancels reads,
 * and reconciles the counts of node-llama-cpp and the engine. Reads of several sequences may run at the same time.
 * The queue decides which batches a piece is read in.
 */
export class Evaluation {
    private readonly sequences = new Map<number, WeakRef<SequenceHandle>>();
    private readonly running = new WeakMap<SequenceHandle, RunningRead>();

    /**
     * @param batches reads the pieces, in batches with those of other sequences
     * @param onProgress is called while a prompt is read
     */
    constructor(
        private readonly armt: ArmtContext,
        private readonly batches: BatchQueue,
        private readonly onProgress?: (progress: ArmtProgress) => void
    ) {}

    /** Makes a new sequence known. */
    register(handle: SequenceHandle): void {
        this.sequences.set(handle.id, new WeakRef(handle));
        // the context's lock is free between batches, and the next sequence may get the number of this one
        handle.sequence.onDispose.createListener(() => this.cancel(handle, new DisposedError()));
    }

    /**
     * Reads tokens, from the longest prefix that the store holds.
     * @param logitDataMapper is called with each token whose logits are wanted
     * @returns what it returned, with each token's index in the sequence
     * @throws {ArmtEvalError} for a token outside the vocabulary, and if the engine fails
     */
    async read(request: ReadRequest, logitDataMapper: unknown = () => undefined): Promise<Decoded> {
        const mapper = logitDataMapper as LogitMapper;
        const { sequenceId, firstTokenSequenceIndex: start, tokens, isPart } = request;
        this.checkTokens(tokens);
        const handle = this.sequences.get(sequenceId)?.deref();
        if (handle === undefined && start === 0 && isPart !== true) this.planPrompt(sequenceId, tokens.length);
        if (handle === undefined) return await this.batches.read(request, mapper).catch((error) => this.fail(error));

        const isPrompt = tokens.length !== 1;
        if (start === 0) handle.isRegular = true;
        if (tokens.length > 1) handle.cachedTokens = 0;
        let progress: ProgressReporter | undefined;
        try {
            return await this.runRead(handle, tokens, async (read) => {
                const own = withoutIdleAction(request, handle);
                if (isGenerated(own, handle) && takesGenerated(this.armt, handle)) {
                    if (handle.stats.openTokens === this.armt.segmentSize) await setGrowth(handle, true);
                } else await this.cutGrown(handle, read);
                handle.answeredTo = -1;
                if (this.onProgress !== undefined && isPrompt)
                    progress = new ProgressReporter(this.onProgress, () => handle.readStats(), tokens.length);
                const planned = await planQuestions(this.armt, own, handle);
                const { firstTokenSequenceIndex: from } = planned.request;
                if (from === 0 && isPart !== true)
                    this.planPrompt(sequenceId, planned.closes[0] ?? planned.request.tokens.length);
                const store = isPrompt ? this.storeOf(request) : undefined;
                const decoded = await this.readPieces(planned, mapper, handle, read, store);
                progress?.end(true);
                if (request.logits.at(-1) === true) handle.answeredTo = start + tokens.length;
                return decoded;
            });
        } finally {
            progress?.end(false);
        }
    }

    /**
     * Runs `work` like {@link SequenceHandle.exclusively}, but cuts an open segment that has grown while an answer was
     * generated like any text before.
     */
    async exclusively<T>(handle: SequenceHandle, work: (native: NativeSequence) => Promise<T>): Promise<T> {
        handle.throwIfDisposed();
        return await withSequenceLock(handle.sequence, async () => {
            handle.throwIfDisposed();
            await this.runRead(handle, [], (read) => this.cutGrown(handle, read));
            return await handle.betweenBatches(work);
        });
    }

    /**
     * Ends the running read of a sequence after the current batch. The read rejects with `reason`; what was read stays.
     */
    cancel(handle: SequenceHandle, reason: unknown): void {
        const read = this.running.get(handle);
        if (read !== undefined) read.cancelled = { reason };
        if (read?.restores === true && !(reason instanceof DisposedError)) return;
        this.batches.cancel(handle, reason);
    }

    /** Tells the engine how to cut a prompt of known length, if the model's alignment requires it. */
    planPrompt(sequenceId: number, tokens: number): void {
        const { engine, model } = this.armt.parts;
        if (model.segmentAlignment === "left") return;
        const { first, each } = planSegments(model.segmentAlignment, tokens, this.armt.segmentSize);
        engine.addon.planSegments(engine.id, sequenceId, first, each, tokens);
    }

    /**
     * Runs a read of a sequence, whose lock the caller holds.
     * @param tokens what the read appends
     */
    private async runRead<T>(
        handle: SequenceHandle,
        tokens: readonly Token[],
        work: (read: RunningRead) => Promise<T>
    ): Promise<T> {
        const read: RunningRead = {};
        this.running.set(handle, read);
        try {
            return await work(read);
        } catch (error) {
            await this.reconcileAfterFailure(handle, tokens);
            return this.fail(error);
        } finally {
            this.running.delete(handle);
        }
    }

    /** Reads an open segment that has grown again, cut like any text. */
    private async cutGrown(handle: SequenceHandle, read: RunningRead): Promise<void> {
        read.restores = true;
        const planned = await takeGrownSegment(this.armt, handle);
        if (planned !== undefined) await this.readPieces(planned, () => undefined, handle, {}, undefined);
        read.restores = false;
        if (read.cancelled !== undefined) throw read.cancelled.reason;
    }

    private async readPieces(
        planned: PlannedRead,
        mapper: LogitMapper,
        handle: SequenceHandle,
        read: RunningRead,
        store: ArmtMemoryStore | undefined
    ): Promise<Decoded> {
        const { request, closes } = planned;
        const { firstTokenSequenceIndex: start, tokens } = request;
        const stored = store === undefined ? undefined : await this.lookUp(store, request, handle);
        if (store !== undefined && stored !== undefined) {
            if (stored.snapshot !== undefined) await this.startFrom(stored.snapshot, handle, stored.cachedTokens);
            store.count(stored.cachedTokens);
        }
        const decoded: Decoded = [];
        let at = start + (stored?.cachedTokens ?? 0);
        for (const piece of cutIntoPieces(start + tokens.length, stored?.checkpoints ?? [], closes)) {
            const { end, checkpoint } = piece;
            if (end > at || tokens.length === 0) {
                if (read.cancelled !== undefined) throw read.cancelled.reason;
                handle.throwIfDisposed();
                for (const value of await this.batches.read(pieceOf(request, at, end), mapper)) decoded.push(value);
                at = end;
            }
            if ((piece.closes === true && end === at) || checkpoint !== undefined)
                await this.batches.passSegments(handle.id);
            if (piece.closes === true && end === at)
                await handle.betweenBatches(({ addon, contextId, sequenceId }) =>
                    addon.closeSegment(contextId, sequenceId)
                );
            if (store !== undefined && checkpoint !== undefined) await this.takeCheckpoint(store, handle, checkpoint);
        }
        return decoded;
    }

    private storeOf({ memoryStore = this.armt.memoryStore }: ReadRequest): ArmtMemoryStore | undefined {
        return memoryStore == null || memoryStore.disposed ? undefined : memoryStore;
    }

    /**
     * @returns undefined if the store cannot help: no segment ends in the read, or its tokens or segments are not known
     */
    private async lookUp(
        store: ArmtMemoryStore,
        request: ReadRequest,
        handle: SequenceHandle
    ): Promise<StoredPrefix | undefined> {
        const { firstTokenSequenceIndex: start, tokens, logits } = request;
        const total = start + tokens.length;
        const { segmentSize, parts } = this.armt;
        const questions = questionsOf(this.armt, handle);
        let ids = questions === undefined ? undefined : handle.record.idsWith(tokens, start);
        const closes = ids === undefined ? [] : questions?.find(ids);
        const cut = findCut(request, handle, parts.model.segmentAlignment, segmentSize, closes);
        const ends = cut === undefined ? [] : segmentEnds(total, cut);
        // checked before the ids are copied, since short turns of a long chat are frequent
        if (cut === undefined || (ends.at(-1) ?? 0) <= start) return undefined;
        ids ??= handle.record.idsWith(tokens, start);
        if (ids === undefined) return undefined;

        const { origin } = this.armt;
        const keys = segmentKeys(origin, cut, ids, ends);
        const firstOutput = logits.indexOf(true);
        const lastStart = firstOutput < 0 ? total : start + firstOutput;
        const found = await store.find(
            keys.filter(({ end }) => end > start && end <= lastStart),
            origin
        );
        const cachedTokens = found === undefined ? 0 : found.end - start;
        const wanted = (request.checkpointsAt ?? []).map((mark) => ends.filter((end) => end <= mark).at(-1));
        const chosen = new Set([...chooseCheckpoints(ends, store.checkpointInterval), ...wanted]);
        const checkpoints = await store.missing(
            keys.filter(({ end }) => end > start + cachedTokens && chosen.has(end))
        );
        return { snapshot: found?.snapshot, cachedTokens, checkpoints };
    }

    private async startFrom(snapshot: ArmtSnapshot, handle: SequenceHandle, cachedTokens: number): Promise<void> {
        await handle.betweenBatches((native) => loadState(native, handle, snapshot, this.armt.origin.fingerprint));
        handle.cachedTokens = cachedTokens;
    }

    /** Stores what the tokens up to the end of a segment left in memory. */
    private async takeCheckpoint(
        store: ArmtMemoryStore,
        handle: SequenceHandle,
        { end, key }: SegmentKey
    ): Promise<void> {
        if (handle.readStats()?.segmentStart !== end) return;
        const parts = await handle.betweenBatches((native) =>
            copyState(native, handle, this.armt, { closedOnly: true, tokenIds: false })
        );
        await store.put(key, new ArmtSnapshot(parts));
        handle.keptTokens = end;
    }

    private async reconcileAfterFailure(handle: SequenceHandle, tokens: readonly Token[]): Promise<void> {
        try {
            await withContextLock(handle.sequence.context, async () => handle.reconcile(tokens));
            if (this.armt.segmentOverflow === "answer") await setGrowth(handle, false);
        } catch (error) {
            // a disposed context has no counts
            if (!(error instanceof DisposedError)) throw error;
        }
    }

    private checkTokens(tokens: readonly Token[]): void {
        // the engine would read the holes of ids that were not kept as token 0
        if (tokens.length > 0 && !hasIds(tokens))
            throw new ArmtError(
                "the tokens before the removed ones cannot be read again, because their ids were not kept; " +
                    "the sequence is empty now"
            );
        const { vocabSize } = this.armt.parts.model;
        const wrong = tokens.findIndex((id) => id < 0 || id >= vocabSize);
        if (wrong >= 0)
            throw new ArmtEvalError(
                `token id ${tokens[wrong]} is out of range; the vocabulary has ${vocabSize} tokens`
            );
    }

    /** Rethrows an error, with the engine's reason instead of node-llama-cpp's general message. */
    private fail(error: unknown): never {
        if (!(error instanceof Error) || !nativeFailure.test(error.message)) throw error;
        throw new ArmtEvalError(this.armt.parts.engine.lastError || error.message, { cause: error });
    }
}

/**
 * The pieces of a read: one for each early close and each checkpoint, and the rest. A full segment is closed by the
 * token after it.
 */
function cutIntoPieces(total: number, checkpoints: readonly SegmentKey[], closes: readonly number[]): Piece[] {
    const pieces: Piece[] = checkpoints.map((checkpoint) => ({ end: checkpoint.end + 1, checkpoint }));
    if (closes.length > 0) {
        for (const end of closes) pieces.push({ end, closes: true });
        // stable: a checkpoint is taken before the segment after it is closed
        pieces.sort((a, b) => a.end - b.end);
    }
    return [...pieces, { end: total }];
}

/** Leaves out node-llama-cpp's checkpoints where the sequence takes none. */
function withoutIdleAction(request: ReadRequest, { sequence }: SequenceHandle): ReadRequest {
    return takesCheckpoints(sequence) ? request : { ...request, afterBatchAction: undefined };
}

function pieceOf(request: ReadRequest, at: number, end: number): ReadRequest {
    const { firstTokenSequenceIndex: start, tokens, logits } = request;
    if (at === start && end === start + tokens.length) return request;
    return {
        ...request,
        firstTokenSequenceIndex: at,
        tokens: tokens.slice(at - start, end - start),
        logits: logits.slice(at - start, end - start)
    };
}
