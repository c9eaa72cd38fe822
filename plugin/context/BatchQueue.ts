import type { LlamaContext, Token } from "node-llama-cpp";
import { ArmtError } from "../errors.js";
import type { BatchStrategy } from "../node-llama-cpp/batching.js";
import {
    type Decoded,
    type DecodeRequest,
    type DecodeTokens,
    type LogitMapper,
    rejectQueuedDecodes
} from "../node-llama-cpp/decode.js";
import { isContextLocked, withContextLock } from "../node-llama-cpp/locks.js";
import type { SequenceHandle } from "./SequenceHandle.js";

/** Upper bound of the rounds in which others use the context between two batches, so that reads cannot starve. */
const maxRounds = 16;

/** A read, and how far it is. */
interface QueuedRead {
    readonly request: DecodeRequest;
    readonly mapper: LogitMapper;
    readonly accept: (decoded: Decoded) => void;
    readonly reject: (error: unknown) => void;
    readonly decoded: Decoded;
    /** Tokens that no batch has read yet, and which of their logits are wanted. */
    tokens: Token[];
    logits: readonly (true | undefined)[];
    /** Tokens before the first one whose logits are wanted. */
    unasked: number;
    /** Why the read ends after the current batch. */
    failure?: { readonly reason: unknown };
    /** Batches that have passed while its next token waited for the pipeline. */
    heldFor: number;
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

function countUnasked({ tokens, logits }: Pick<QueuedRead, "tokens" | "logits">): number {
    const first = logits.indexOf(true);
    return first < 0 ? tokens.length : first;
}

/**
 * The reads of all sequences of a context. node-llama-cpp gets no more of them than one batch holds, because it keeps
 * the context locked until its own queue is empty. Between two batches, everything that waits for the context runs, and
 * reads that come from it join the next batch.
 */
export class BatchQueue {
    private readonly queued: QueuedRead[] = [];
    private isRunning = false;

    /**
     * @param decode reads one piece: node-llama-cpp's own `_decodeTokens`
     * @param strategy shares a batch among the reads
     * @param takeError the engine's reason why the last batch of a sequence failed; undefined if it did not
     * @param pipeline undefined if each sequence has one of its own
     */
    constructor(
        private readonly context: LlamaContext,
        private readonly decode: DecodeTokens,
        private readonly strategy: BatchStrategy,
        private readonly takeError: (sequenceId: number) => Error | undefined,
        private readonly pipeline?: SharedPipeline
    ) {}

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
                tokens,
                logits,
                unasked: countUnasked(request),
                heldFor: 0
            });
            void this.run();
        });
    }

    /** Ends the reads of a sequence after the current batch. They reject with `reason`; what was read stays. */
    cancel({ id, sequence }: SequenceHandle, reason: unknown): void {
        for (const read of this.queued) if (read.request.sequenceId === id) read.failure ??= { reason };
        rejectQueuedDecodes(sequence, reason);
    }

    private async run(): Promise<void> {
        if (this.isRunning) return;
        this.isRunning = true;
        try {
            while (this.queued.length > 0) {
                await this.letOthersRun();
                this.rejectCancelled();
                await Promise.all(this.chooseBatch().map(({ read, count }) => this.readPiece(read, count)));
            }
        } catch (error) {
            for (const read of this.queued.splice(0)) read.reject(error);
        } finally {
            this.isRunning = false;
        }
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
    private chooseBatch(): { read: QueuedRead; count: number }[] {
        const reads = new Map<object, { read: QueuedRead; ready: number }>();
        for (const read of this.queued) {
            const ready = this.countReady(read);
            if (ready === 0) {
                read.heldFor++;
                continue;
            }
            const isAll = ready === read.tokens.length;
            const tokens = isAll ? read.tokens : read.tokens.slice(0, ready);
            const logits = isAll ? read.logits : read.logits.slice(0, ready);
            const { evaluationPriority = 5 } = read.request;
            reads.set({ tokens, logits, evaluationPriority }, { read, ready });
        }
        if (reads.size === 0) return [];
        let left = this.context.batchSize;
        const batch: { read: QueuedRead; count: number }[] = [];
        for (const { item, processAmount } of this.strategy({ items: [...reads.keys()], size: left })) {
            const chosen = reads.get(item);
            if (chosen === undefined)
                throw new ArmtError(
                    "`batching.itemPrioritizationStrategy` returned an item that is not one of `items`, or twice the " +
                        "same; return each of the original objects at most once"
                );
            reads.delete(item);
            const count = Math.min(Math.max(1, Math.floor(processAmount)), chosen.ready, left);
            if (count === 0) break;
            batch.push({ read: chosen.read, count });
            left -= count;
        }
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
        const { tokens, unasked } = read;
        if (this.pipeline === undefined) return tokens.length;
        const { layers, segmentSize } = this.pipeline;
        const { sequenceId } = read.request;
        if (unasked === tokens.length || read.heldFor >= layers) return tokens.length;
        const leavesSegments = unasked >= segmentSize || this.pipeline.segmentsInFlight(sequenceId) > 0;
        const othersRead = this.queued.some((other) => other.request.sequenceId !== sequenceId && other.unasked > 0);
        return leavesSegments && othersRead ? unasked : tokens.length;
    }

    private async readPiece(read: QueuedRead, count: number): Promise<void> {
        const { request, mapper } = read;
        const { sequenceId } = request;
        const done = request.tokens.length - read.tokens.length;
        const piece = {
            ...request,
            firstTokenSequenceIndex: request.firstTokenSequenceIndex + done,
            tokens: read.tokens.slice(0, count),
            logits: read.logits.slice(0, count)
        };
        read.tokens = read.tokens.slice(count);
        read.logits = read.logits.slice(count);
        // found again only behind the last one: a long text is not searched for each batch
        read.unasked = read.unasked < count ? countUnasked(read) : read.unasked - count;
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
        if (read.failure !== undefined || read.tokens.length === 0) this.settle(read);
    }

    private settle(read: QueuedRead): void {
        const index = this.queued.indexOf(read);
        if (index >= 0) this.queued.splice(index, 1);
        if (read.failure === undefined) read.accept(read.decoded);
        else read.reject(read.failure.reason);
    }
}
