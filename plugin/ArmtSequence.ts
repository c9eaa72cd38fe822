import { DisposedError, type LlamaContextSequence, type Token } from "node-llama-cpp";
import type { ArmtContext } from "./ArmtContext.js";
import type { ArmtAddon, NativeSequenceStats } from "./addon.js";
import { ArmtEvalError } from "./errors.js";
import { contextInternals, sequenceInternals, withExclusiveSequence } from "./internals.js";

/** The associative memory of one layer, float32. */
export interface ArmtLayerMemory {
    /** A, row-major: [h, K/h, D/h], h = 1 being the papers' [K, D]. */
    readonly a: Float32Array;
    /** z: [h, K/h]; undefined for a model without it. */
    readonly z?: Float32Array;
    /** Shape of `a`. */
    readonly shape: readonly [heads: number, keyLength: number, valueLength: number];
}

/** What ARMT adds to a sequence: `sequence.armt`. All numbers are read from the engine at the moment of the call. */
export class ArmtSequence {
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

    /** Of these, the ones that reused the graph before them. */
    get graphsReused(): number {
        return this.stats.graphsReused;
    }

    /**
     * Writes the open segment to memory, whatever its length, and opens the next; does nothing when it is empty.
     * @throws {ArmtEvalError} where the engine fails
     */
    async closeSegment(): Promise<void> {
        await this.exclusively((id, sequenceId) => this.addon.closeSegment(id, sequenceId));
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
        const internals = contextInternals(this.sequence.context);
        const { _sequenceId } = sequenceInternals(this.sequence);
        const mine = internals._queuedDecodes.filter(({ sequenceId }) => sequenceId === _sequenceId);
        if (mine.length > 0) internals._dispatchErrorForQueuedDecodesAndDequeue(new Set(mine), reason);
    }

    /**
     * Brings node-llama-cpp's record of the sequence up to what the engine holds of the tokens that were handed to it.
     * @internal
     */
    takeOver(tokens: readonly Token[]): void {
        const internals = sequenceInternals(this.sequence);
        const held = this.addon.sequenceStats(this.context.id, internals._sequenceId)?.tokens;
        if (held === undefined) return;
        const known = internals._contextTokens.concat(tokens.slice());
        internals._contextTokens = known.slice(0, held);
        internals._nextTokenIndex = internals._contextTokens.length;
    }

    /** @internal */
    readStats(): NativeSequenceStats | undefined {
        return this.addon.sequenceStats(this.context.id, sequenceInternals(this.sequence)._sequenceId);
    }

    private get stats(): NativeSequenceStats {
        const stats = this.sequence.disposed ? undefined : this.readStats();
        if (stats === undefined) throw new DisposedError();
        return stats;
    }

    private async exclusively<T>(work: (contextId: number, sequenceId: number) => Promise<T>): Promise<T> {
        if (this.sequence.disposed) throw new DisposedError();
        const { _sequenceId } = sequenceInternals(this.sequence);
        return await withExclusiveSequence(this.sequence, async () => {
            if (this.sequence.disposed) throw new DisposedError();
            try {
                return await work(this.context.id, _sequenceId);
            } catch (error) {
                throw new ArmtEvalError(error instanceof Error ? error.message : String(error), { cause: error });
            }
        });
    }
}
