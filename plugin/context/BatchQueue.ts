import { type LlamaContext, type Token, TokenMeter } from "node-llama-cpp";
import { ArmtError, ArmtEvalError } from "../errors.js";
import type { NativeReadPart, NativeReadResult } from "../native/addon.js";
import type { BatchStrategy } from "../node-llama-cpp/batching.js";
import {
    type Decoded,
    type DecodeRequest,
    type DecodeTokens,
    type LogitMapper,
    rejectQueuedDecodes
} from "../node-llama-cpp/decode.js";
import { isContextLocked, onContextWanted, withContextLock } from "../node-llama-cpp/locks.js";
import { onThreadsWanted, withBatchThreads } from "../node-llama-cpp/threads.js";
import { batchItem } from "./batch-item.js";
import type { SequenceHandle } from "./SequenceHandle.js";

/** Upper bound of the rounds in which others use the context between two batches, so that reads cannot starve. */
const maxRounds = 16;

/**
 * Time that the addon may read batch after batch while nobody waits for the context or for threads. After it, each
 * context gets its share of the threads. A turn costs a millisecond or more, since the engine's work has emptied the
 * caches. Unit: milliseconds.
 */
const longestTurn = 1000;

/** A read, and how far it is. */
interface QueuedRead {
    readonly request: DecodeRequest;
    readonly mapper: LogitMapper;
    readonly accept: (decoded: Decoded) => void;
    readonly reject: (error: unknown) => void;
    readonly decoded: Decoded;
    /** All tokens of the request. */
    readonly ids: Int32Array;
    /** Indices of the tokens whose logits are wanted, in ascending order. */
    readonly asked: readonly number[];
    /** Tokens that were given to a batch. */
    done: number;
    /** How many of `asked` are among them. */
    askedDone: number;
    /** Why the read ends after the current batch. */
    failure?: { readonly reason: unknown };
    /** Batches that have passed while its next token waited for the pipeline. */
    heldFor: number;
}

/** Tokens of a read that are not in a batch yet. */
function countLeft({ ids, done }: QueuedRead): number {
    return ids.length - done;
}

/** Tokens before the next one whose logits are wanted. */
function countUnasked({ ids, asked, done, askedDone }: QueuedRead): number {
    return (asked[askedDone] ?? ids.length) - done;
}

/** Which of the next `count` tokens' logits are wanted. */
function askedWithin({ asked, done, askedDone }: QueuedRead, count: number): number[] {
    const indices: number[] = [];
    for (let i = askedDone; i < asked.length && asked[i]! < done + count; i++) indices.push(asked[i]! - done);
    return indices;
}

function indicesOf(logits: DecodeRequest["logits"]): number[] {
    const indices: number[] = [];
    for (let i = logits.indexOf(true); i >= 0; i = logits.indexOf(true, i + 1)) indices.push(i);
    return indices;
}

/** Someone who waits until the segments of a sequence have passed all layers. */
interface Waiter {
    readonly sequenceId: number;
    readonly accept: () => void;
    /** Batches that have passed meanwhile. */
    waitedFor: number;
}

/** A read's share of a batch. */
interface Share {
    readonly read: QueuedRead;
    readonly count: number;
}

/**
 * Shortens the longest shares until a batch of `size` tokens holds all. node-llama-cpp's default strategy gives away
 * more than a batch has. In their order, a long read would take all of it, and a short one would wait for its end.
 */
function fitInto(size: number, shares: readonly Share[]): Share[] {
    const counts = new Map<Share, number>();
    let left = size;
    const shortestFirst = shares.slice(0, size).sort((a, b) => a.count - b.count);
    for (const [i, share] of shortestFirst.entries()) {
        const count = Math.min(share.count, Math.floor(left / (shortestFirst.length - i)));
        counts.set(share, count);
        left -= count;
    }
    return shares.flatMap((share) => (counts.has(share) ? { read: share.read, count: counts.get(share)! } : []));
}

/** The addon's way to read tokens whose logits nobody wants, without node-llama-cpp's queue. */
export interface NativeReader {
    read(parts: readonly NativeReadPart[], batchSize: number, limitMs: number): Promise<NativeReadResult>;
    /** Ends the running read after its current batch. */
    interrupt(): void;
}

/** The pipeline of diagonals that the sequences of a context share. */
export interface SharedPipeline {
    /** Steps from a segment's entry to its end. */
    readonly layers: number;
    /** Unit: tokens. */
    readonly segmentSize: number;
    /** Segments of a sequence in the pipeline. */
    segmentsInFlight(sequenceId: number): number;
}

/**
 * The reads of all sequences of a context. node-llama-cpp gets no more of them than one batch holds, because it keeps
 * the context locked until its own queue is empty. Between two batches, everything that waits for the context runs, and
 * reads that come from it join the next batch. Batches without logits do not pass node-llama-cpp at all.
 */
export class BatchQueue {
    private readonly queued: QueuedRead[] = [];
    private readonly waiters: Waiter[] = [];
    private isRunning = false;
    /** How often someone was about to wait for the context or for threads. */
    private requests = 0;

    /**
     * @param decode reads one piece: node-llama-cpp's own `_decodeTokens`
     * @param strategy shares a batch among the reads
     * @param takeError the engine's reason why the last batch of a sequence failed; undefined if it did not
     * @param pipeline undefined if each sequence has one of its own
     * @param native undefined if node-llama-cpp has to read everything
     */
    constructor(
        private readonly context: LlamaContext,
        private readonly decode: DecodeTokens,
        private readonly strategy: BatchStrategy,
        private readonly takeError: (sequenceId: number) => Error | undefined,
        private readonly pipeline?: SharedPipeline,
        private readonly native?: NativeReader
    ) {
        if (native === undefined) return;
        const interrupt = () => {
            this.requests++;
            native.interrupt();
        };
        onContextWanted(context, interrupt);
        onThreadsWanted(context, interrupt);
    }

    /**
     * Reads the tokens of a request in as many batches as they need.
     * @param mapper is called with each token whose logits are wanted
     * @returns what `mapper` returned, with each token's index in the sequence
     */
    read(request: DecodeRequest, mapper: LogitMapper): Promise<Decoded> {
        const { tokens, logits } = request;
        if (tokens.length === 0) return Promise.resolve([]);
        return new Promise((accept, reject) => {
            this.queued.push({
                request,
                mapper,
                accept,
                reject,
                decoded: [],
                ids: new Int32Array(tokens),
                asked: indicesOf(logits),
                done: 0,
                askedDone: 0,
                heldFor: 0
            });
            this.native?.interrupt();
            void this.run();
        });
    }

    /**
     * Waits while reads of other sequences push the segments of this one through the layers. Its memory is then
     * complete. To complete it at once would keep all segments from entering the shared pipeline meanwhile.
     */
    passSegments(sequenceId: number): Promise<void> {
        const waiter = { sequenceId, waitedFor: 0 };
        if (!this.isPassing(waiter)) return Promise.resolve();
        return new Promise((accept) => this.waiters.push({ ...waiter, accept }));
    }

    /** Ends the reads of a sequence after the current batch. They reject with `reason`; what was read stays. */
    cancel({ id, sequence }: SequenceHandle, reason: unknown): void {
        for (const read of this.queued) if (read.request.sequenceId === id) read.failure ??= { reason };
        this.releaseWaiters((waiter) => waiter.sequenceId === id);
        this.native?.interrupt();
        rejectQueuedDecodes(sequence, reason);
    }

    private async run(): Promise<void> {
        if (this.isRunning) return;
        this.isRunning = true;
        try {
            while (this.queued.length > 0) {
                this.releaseWaiters((waiter) => !this.isPassing(waiter));
                await this.letOthersRun();
                this.rejectCancelled();
                const batch = this.chooseBatch();
                for (const waiter of this.waiters) waiter.waitedFor++;
                if (batch.length === 0) continue;
                if (this.native !== undefined && batch.every(isSilent)) await this.readSilently(this.native, batch);
                else await Promise.all(batch.map(({ read, count }) => this.readPiece(read, count)));
            }
        } catch (error) {
            for (const read of this.queued.splice(0)) read.reject(error);
        } finally {
            this.isRunning = false;
            this.releaseWaiters(() => true);
        }
    }

    /** Whether others' reads push a waiting sequence's segments ahead, for as many batches as layers at most. */
    private isPassing({ sequenceId, waitedFor }: Omit<Waiter, "accept">): boolean {
        if (this.pipeline === undefined || waitedFor >= this.pipeline.layers) return false;
        return this.pipeline.segmentsInFlight(sequenceId) > 0 && this.othersRead(sequenceId);
    }

    private releaseWaiters(isDone: (waiter: Waiter) => boolean): void {
        for (const waiter of this.waiters.filter(isDone)) {
            this.waiters.splice(this.waiters.indexOf(waiter), 1);
            waiter.accept();
        }
    }

    /** Whether other sequences have tokens to read whose logits nobody waits for. */
    private othersRead(sequenceId: number): boolean {
        return this.queued.some((other) => other.request.sequenceId !== sequenceId && countUnasked(other) > 0);
    }

    /** What waits for the context runs, and what it leads to: a restored chat is read in the next batch. */
    private async letOthersRun(): Promise<void> {
        for (let round = 0; round < maxRounds; round++) {
            await new Promise((resolve) => setImmediate(resolve));
            if (!(await isContextLocked(this.context))) return;
            await withContextLock(this.context, async () => {});
        }
    }

    private rejectCancelled(): void {
        for (const read of this.queued.filter(({ failure }) => failure !== undefined)) this.settle(read);
    }

    /** @throws what the strategy throws */
    private chooseBatch(): Share[] {
        const reads = new Map<object, { read: QueuedRead; ready: number }>();
        for (const read of this.queued) {
            const ready = this.countReady(read);
            if (ready === 0) {
                read.heldFor++;
                continue;
            }
            const { evaluationPriority = 5 } = read.request;
            const ids = read.ids.subarray(read.done, read.done + ready);
            reads.set(
                batchItem(ids, () => askedWithin(read, ready), evaluationPriority),
                { read, ready }
            );
        }
        if (reads.size === 0) return [];
        const { batchSize } = this.context;
        const wanted: Share[] = [];
        for (const { item, processAmount } of this.strategy({ items: [...reads.keys()], size: batchSize })) {
            const chosen = reads.get(item);
            if (chosen === undefined)
                throw new ArmtError(
                    "`batching.itemPrioritizationStrategy` returned an item that is not one of `items`, or twice the " +
                        "same; return each of the original objects at most once"
                );
            reads.delete(item);
            wanted.push({ read: chosen.read, count: Math.min(Math.max(1, Math.floor(processAmount)), chosen.ready) });
        }
        const batch = fitInto(batchSize, wanted);
        if (batch.length === 0)
            throw new ArmtError(
                "`batching.itemPrioritizationStrategy` chose none of the items; return at least one of them"
            );
        return batch;
    }

    /**
     * Tokens of a read that the next batch may hold. A token whose logits are wanted makes all segments before it pass
     * all layers in its batch. In a shared pipeline, the layers after them would then stay empty while others still
     * read. So the token waits until its segments have passed with those of the others.
     */
    private countReady(read: QueuedRead): number {
        const left = countLeft(read);
        if (this.pipeline === undefined) return left;
        const { layers, segmentSize } = this.pipeline;
        const { sequenceId } = read.request;
        const unasked = countUnasked(read);
        if (unasked === left || read.heldFor >= layers) return left;
        const leavesSegments = unasked >= segmentSize || this.pipeline.segmentsInFlight(sequenceId) > 0;
        return leavesSegments && this.othersRead(sequenceId) ? unasked : left;
    }

    /**
     * Reads a batch without logits through the addon. If one read has the context to itself, its next batches follow
     * at once, until someone wants the context.
     */
    private async readSilently(native: NativeReader, batch: readonly Share[]): Promise<void> {
        const { batchSize } = this.context;
        const [only] = batch;
        const isAlone =
            this.queued.length === 1 &&
            this.waiters.length === 0 &&
            only!.count === Math.min(batchSize, countLeft(only!.read));
        const shares = isAlone ? [{ read: only!.read, count: countSilent(only!.read, batchSize) }] : batch;
        const parts = shares.map(({ read: { request, ids, done }, count }) => ({
            sequenceId: request.sequenceId,
            start: request.firstTokenSequenceIndex + done,
            tokens: ids.subarray(done, done + count)
        }));
        for (const { read } of shares) this.takeError(read.request.sequenceId);
        let result: NativeReadResult | undefined;
        let failure: { readonly reason: unknown } | undefined;
        const { requests } = this;
        try {
            result = await withContextLock(this.context, () =>
                withBatchThreads(this.context, () => {
                    // who came while this waited for the context and for threads; the first request is its own
                    const isWanted = this.requests > requests + 1;
                    return native.read(parts, batchSize, isWanted ? 0 : longestTurn);
                })
            );
            if (result.failure !== undefined)
                failure = { reason: new ArmtEvalError(result.failure || "Eval has failed") };
        } catch (reason) {
            failure = { reason };
        }
        for (const { read, count } of shares) {
            const passed = isAlone && result !== undefined ? result.tokens : count;
            if (result !== undefined) TokenMeter.useTokens(read.request.tokenMeter, passed, "input");
            read.done += passed;
            const error = this.takeError(read.request.sequenceId);
            if (error !== undefined) read.failure ??= { reason: error };
            else if (failure !== undefined) read.failure ??= failure;
            if (read.failure !== undefined || countLeft(read) === 0) this.settle(read);
        }
    }

    private async readPiece(read: QueuedRead, count: number): Promise<void> {
        const { request, mapper } = read;
        const { sequenceId } = request;
        const { done } = read;
        const asked = askedWithin(read, count);
        const logits: (true | undefined)[] = [];
        for (const index of asked) logits[index] = true;
        const piece = {
            ...request,
            firstTokenSequenceIndex: request.firstTokenSequenceIndex + done,
            tokens: Array.from(read.ids.subarray(done, done + count)) as Token[],
            logits
        };
        read.done += count;
        read.askedDone += asked.length;
        // one that nobody asked for, of an evaluation through the addon
        this.takeError(sequenceId);
        const fail = (reason: unknown) => {
            read.failure ??= { reason };
        };
        const checkEngine = () => {
            const error = this.takeError(sequenceId);
            if (error !== undefined) fail(error);
        };
        let isFirst = true;
        // an exception in the mapper would end node-llama-cpp's loop, and with it the reads of all sequences
        const guarded: LogitMapper = async (logitIndex, tokenIndex) => {
            if (isFirst) checkEngine();
            isFirst = false;
            if (read.failure !== undefined) return undefined;
            try {
                return await mapper(logitIndex, tokenIndex);
            } catch (error) {
                fail(error);
                return undefined;
            }
        };
        try {
            const decoded = await this.decode(piece, guarded);
            for (const value of decoded) read.decoded.push(value);
            checkEngine();
        } catch (error) {
            fail(this.takeError(sequenceId) ?? error);
        }
        if (read.failure !== undefined || countLeft(read) === 0) this.settle(read);
    }

    private settle(read: QueuedRead): void {
        const index = this.queued.indexOf(read);
        if (index >= 0) this.queued.splice(index, 1);
        if (read.failure === undefined) read.accept(read.decoded);
        else read.reject(read.failure.reason);
    }
}

/** Whether a share of a batch needs nothing that node-llama-cpp does around a batch. */
function isSilent({ read, count }: Share): boolean {
    return read.request.afterBatchAction === undefined && countUnasked(read) >= count;
}

/** Tokens of a read up to the batch in which logits are wanted; the batches stay those of a read one by one. */
function countSilent(read: QueuedRead, batchSize: number): number {
    const unasked = countUnasked(read);
    return unasked === countLeft(read) ? unasked : Math.floor(unasked / batchSize) * batchSize;
}
