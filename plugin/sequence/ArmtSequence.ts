import type { LlamaContextSequence, Token } from "node-llama-cpp";
import type { ArmtContext } from "../context/ArmtContext.js";
import type { Evaluation } from "../context/evaluation.js";
import type { SequenceHandle } from "../context/SequenceHandle.js";
import type { ArmtMemoryStore, ArmtPrefillOptions } from "../memory/ArmtMemoryStore.js";
import type { ArmtSaveOptions, ArmtSnapshot } from "../memory/ArmtSnapshot.js";
import type { ArmtFeedOptions } from "../memory/feed.js";
import type { ArmtFeedProgress, ArmtFeedSource, ArmtLayerMemory, ArmtPrefill, SequenceOptions } from "../types.js";
import { forkSequence } from "./fork.js";
import { evaluateLogits } from "./logits.js";
import { feedSequence, prefillSequence } from "./reading.js";
import {
    type ArmtSequenceSaveOptions,
    type ArmtSnapshotOptions,
    loadSequence,
    restoreSnapshot,
    saveSequence,
    takeSnapshot
} from "./snapshots.js";

/**
 * What ARMT adds to a sequence: `sequence.armt`. All numbers are read from the engine at the moment of the call. After
 * the sequence is disposed, everything here throws `DisposedError`.
 */
export class ArmtSequence {
    /** @internal */
    constructor(
        /** What ARMT adds to the sequence's context. */
        readonly context: ArmtContext,
        /** @internal */
        readonly handle: SequenceHandle,
        private readonly evaluation: Evaluation
    ) {}

    /** Text tokens in a segment. */
    get segmentSize(): number {
        return this.context.segmentSize;
    }

    /** The schedule in use. */
    get schedule(): "sequential" | "diagonal" {
        return this.context.schedule;
    }

    /** Size of this sequence's memory: A and z of all layers. Unit: bytes. */
    get memoryBytes(): number {
        return this.context.memoryBytes;
    }

    /** Tokens read so far. */
    get tokens(): number {
        return this.handle.stats.tokens;
    }

    /** Tokens of the last prompt that came from a memory store and were not read. */
    get cachedTokens(): number {
        return this.handle.cachedTokens;
    }

    /** Tokens in the open segment. */
    get openTokens(): number {
        return this.handle.stats.openTokens;
    }

    /** Segments closed so far, including those that are still on their way through the layers. */
    get segmentsClosed(): number {
        return this.handle.stats.segmentsClosed;
    }

    /** Cells (layer, segment) computed so far, not counting those of the open segment. */
    get cells(): number {
        return this.handle.stats.cells;
    }

    /** Graph evaluations that worked on this sequence. */
    get graphs(): number {
        return this.handle.stats.graphs;
    }

    /** Graph evaluations that reused the previous graph instead of building one. */
    get graphsReused(): number {
        return this.handle.stats.graphsReused;
    }

    /**
     * Graph evaluations that the GPU replayed as one CUDA graph. Only the backend of `armt build --tuned` counts them.
     */
    get graphsReplayed(): number {
        return this.handle.stats.graphsReplayed;
    }

    /**
     * Writes the open segment to memory, whatever its length, and opens the next one. Does nothing if it is empty.
     * @throws {ArmtEvalError} if the engine fails
     */
    async closeSegment(): Promise<void> {
        await this.evaluation.exclusively(this.handle, async ({ addon, contextId, sequenceId }) => {
            const { openTokens } = this.handle.stats;
            if (openTokens > 0 && openTokens !== this.segmentSize) this.handle.isRegular = false;
            await addon.closeSegment(contextId, sequenceId);
        });
    }

    /**
     * Whether a question starts a new segment in this sequence: the context's option `closeBeforeQuestion`, until it is
     * set. It takes effect for what is read from then on. `undefined`: as the model was trained.
     */
    get closeBeforeQuestion(): boolean | undefined {
        return this.handle.closeBeforeQuestion;
    }

    set closeBeforeQuestion(value: boolean | undefined) {
        if (value !== undefined && typeof value !== "boolean")
            throw new TypeError(`\`closeBeforeQuestion\` must be a boolean, got ${String(value)}`);
        this.handle.closeBeforeQuestion = value;
    }

    /**
     * Prepares a question about what the sequence has read: closes the open segment if questions start a new one
     * (`closeBeforeQuestion`). For a model whose training had questions inside the open segment, it closes the segment
     * only if the question would not fit into the rest of it. Reads nothing.
     * @param question the tokens that will be read next
     * @throws {ArmtEvalError} if the engine fails
     */
    async startQuestion(question: readonly Token[]): Promise<void> {
        await this.evaluation.exclusively(this.handle, async () => {});
        const { ask } = this.context.parts.model;
        const { openTokens, segmentSize } = this;
        const fits = openTokens + question.length <= segmentSize || question.length > segmentSize;
        if (!(this.closeBeforeQuestion ?? ask?.close ?? false)) {
            if (this.closeBeforeQuestion === undefined && ask !== undefined && !fits) await this.closeSegment();
            return;
        }
        // reading the question closes the segment, and a store still finds what was read
        if (this.context.parts.questions?.opens(question) !== true) await this.closeSegment();
    }

    /**
     * Copies one layer's memory as the closed segments left it.
     * @param layer from 0
     * @throws {ArmtEvalError} if the engine fails or has no such layer
     */
    async readMemory(layer: number): Promise<ArmtLayerMemory> {
        const { memoryHeads, keyLength, valueLength } = this.context.memoryShape;
        const { a, z } = await this.handle.exclusively(({ addon, contextId, sequenceId }) =>
            addon.readMemory(contextId, sequenceId, layer)
        );
        return { a, z, shape: [memoryHeads, keyLength, valueLength] };
    }

    /**
     * Evaluates tokens after those that the sequence holds, and returns the logits of each. For comparisons with other
     * implementations: a segment ends only where it is full, even if a question starts inside it.
     * @param tokens at least one
     * @returns one array for each batch of the context's batch size: [tokens of the batch, vocabulary], row-major
     * @throws {ArmtEvalError} for a token outside the vocabulary, and if the engine fails
     */
    async *evaluateLogits(tokens: readonly Token[]): AsyncGenerator<Float32Array, void, void> {
        yield* evaluateLogits(this.handle, this.evaluation, tokens);
    }

    /**
     * Ends the running evaluation of this sequence after the current batch. It rejects with `reason`; what was read
     * stays.
     */
    cancelEvaluation(reason: unknown): void {
        this.evaluation.cancel(this.handle, reason);
    }

    /**
     * Copies all that the sequence has read.
     * @throws {ArmtEvalError} if the engine fails
     */
    async snapshot(options?: ArmtSnapshotOptions): Promise<ArmtSnapshot> {
        return await takeSnapshot(this.handle, this.evaluation, this.context, options);
    }

    /**
     * Replaces what the sequence holds with a snapshot, which can be used again.
     * @throws {ArmtError} for a snapshot of another model, or of a context with other options; nothing is changed then
     */
    async restore(snapshot: ArmtSnapshot): Promise<void> {
        await restoreSnapshot(this.handle, this.context, snapshot);
    }

    /**
     * Saves all that the sequence has read to a file, which appears under its name only when it is complete and
     * flushed.
     * @returns size of the file in bytes, and tokens that it holds
     * @throws {ArmtError} if the file cannot be written
     */
    async save(path: string, options?: ArmtSequenceSaveOptions): Promise<{ bytes: number; tokensRead: number }> {
        return await saveSequence(this.handle, this.evaluation, this.context, path, options);
    }

    /**
     * Replaces what the sequence holds with the contents of a file.
     * @throws {ArmtError} for a damaged file, another model, or a context with other options; nothing is changed then
     */
    async load(path: string, options?: ArmtSaveOptions): Promise<void> {
        await loadSequence(this.handle, this.context, path, options);
    }

    /**
     * Copies the sequence to a new one of the same context. The two are independent from then on.
     * @param options those of `context.getSequence`
     * @throws {ArmtError} if the context has no free sequence
     */
    async fork(options?: SequenceOptions): Promise<LlamaContextSequence> {
        return await forkSequence(this.handle, options, (fork) => fork.armt!.handle);
    }

    /**
     * Reads a source to its end, however long it is, and generates nothing. Text is tokenized piece by piece, with the
     * ids that the whole text would have.
     * @throws the signal's reason when it is aborted; the sequence then continues from `tokens`
     * @throws {ArmtError} for text if the model has no tokenizer, and if the context is full
     */
    async feed(source: ArmtFeedSource, options?: ArmtFeedOptions): Promise<ArmtFeedProgress> {
        return await feedSequence(this.handle, this.evaluation, source, options);
    }

    /** @internal */
    async prefill(
        memoryStore: ArmtMemoryStore,
        tokens: readonly Token[],
        options: ArmtPrefillOptions
    ): Promise<ArmtPrefill> {
        return await prefillSequence(this.handle, this.evaluation, memoryStore, tokens, options);
    }
}
