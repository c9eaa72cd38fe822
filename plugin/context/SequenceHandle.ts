import { DisposedError, type LlamaContextSequence } from "node-llama-cpp";
import { ArmtEvalError } from "../errors.js";
import type { ArmtAddon, NativeSequenceStats } from "../native/addon.js";
import type { EngineContext } from "../native/EngineContext.js";
import { sequenceIdOf } from "../node-llama-cpp/decode.js";
import { withContextLock, withSequenceLock } from "../node-llama-cpp/locks.js";
import { TokenRecord } from "../node-llama-cpp/token-record.js";

/** The native calls that work may make while it has a sequence to itself. */
export interface NativeSequence {
    readonly addon: ArmtAddon;
    readonly contextId: number;
    readonly sequenceId: number;
}

/** One sequence of a context: the engine's side, node-llama-cpp's side, and what neither of them records. */
export class SequenceHandle {
    /** node-llama-cpp's list of the tokens that the sequence holds. */
    readonly record: TokenRecord;

    /** Whether all segments were closed when full. Otherwise a store cannot find prefixes of the sequence. */
    isRegular = true;

    /** Where the last read ended, if its last token's logits were wanted; else -1. Unit: tokens of the sequence. */
    answeredTo = -1;

    /** Tokens of the last prompt that came from a memory store. */
    cachedTokens = 0;
    /** End of the last checkpoint that the last read left. Unit: tokens of the sequence. */
    keptTokens = 0;

    constructor(
        private readonly engine: EngineContext,
        readonly sequence: LlamaContextSequence,
        /** Whether a question starts a new segment; undefined: as the model was trained. */
        public closeBeforeQuestion?: boolean
    ) {
        this.record = new TokenRecord(sequence);
    }

    /** Takes over what is known of another sequence, whose state was copied here. */
    takeOver({ isRegular, answeredTo }: SequenceHandle): void {
        this.isRegular = isRegular;
        this.answeredTo = answeredTo;
    }

    /** Number of the sequence in its context. */
    get id(): number {
        return sequenceIdOf(this.sequence);
    }

    /** The engine's counts; undefined after the context is disposed. */
    readStats(): NativeSequenceStats | undefined {
        return this.engine.addon.sequenceStats(this.engine.id, this.id);
    }

    /** @throws {DisposedError} after the sequence or its context is disposed */
    get stats(): NativeSequenceStats {
        const stats = this.sequence.disposed ? undefined : this.readStats();
        if (stats === undefined) throw new DisposedError();
        return stats;
    }

    /** @throws {DisposedError} after the sequence is disposed */
    throwIfDisposed(): void {
        if (this.sequence.disposed) throw new DisposedError();
    }

    /**
     * Runs `work` while no evaluation of this sequence and no batch of the context runs.
     * @throws {DisposedError} after the sequence is disposed
     * @throws {ArmtEvalError} if `work` throws
     */
    async exclusively<T>(work: (native: NativeSequence) => Promise<T>): Promise<T> {
        this.throwIfDisposed();
        return await withSequenceLock(this.sequence, () => this.betweenBatches(work));
    }

    /** The same for an evaluation of this sequence, which already holds the sequence's lock. */
    async betweenBatches<T>(work: (native: NativeSequence) => Promise<T>): Promise<T> {
        return await withContextLock(this.sequence.context, async () => {
            this.throwIfDisposed();
            try {
                const { addon, id } = this.engine;
                return await work({ addon, contextId: id, sequenceId: this.id });
            } catch (error) {
                // the engine clears a sequence whose numbers are not finite
                this.reconcile([]);
                throw new ArmtEvalError(error instanceof Error ? error.message : String(error), { cause: error });
            }
        });
    }

    /**
     * Makes node-llama-cpp's record agree with what the engine holds. node-llama-cpp counts a prompt only when all of
     * it succeeds; the engine counts every batch.
     * @param tokens tokens that were passed to the engine and are not in the record yet
     */
    reconcile(tokens: Parameters<TokenRecord["reconcile"]>[1]): void {
        const held = this.readStats()?.tokens;
        if (held !== undefined) this.record.reconcile(held, tokens);
    }
}
