import { DisposedError, type LlamaContext, type LlamaContextSequence } from "node-llama-cpp";
import { ArmtSequence } from "./ArmtSequence.js";
import type { ArmtAddon, NativeContextInfo } from "./addon.js";
import { ArmtError, ArmtEvalError, ArmtUnsupportedError } from "./errors.js";
import type { ArmtModelFacts } from "./facts.js";
import {
    betweenBatches,
    contextInternals,
    type DecodeRequest,
    type DecodeTokens,
    sequenceInternals
} from "./internals.js";
import type { ArmtMemoryStore } from "./memory/ArmtMemoryStore.js";
import { readWithStore } from "./memory/read-with-store.js";
import {
    type ArmtContextOptions,
    type ArmtSegmentOverflow,
    type ArmtStateType,
    schedules,
    segmentOverflows,
    stateTypes
} from "./options.js";
import { ProgressReporter } from "./progress.js";
import { planSegments } from "./segments.js";
import { countStateTokens } from "./state-file.js";
import { ArmtTrace } from "./trace.js";

/** What node-llama-cpp says of a failed native evaluation, whatever the reason. */
const nativeFailure = /^(Eval has failed|could not find a KV slot)/;

/** What ARMT adds to a context: `context.armt`. */
export class ArmtContext {
    /** The record of the engine's graph evaluations, off until it is started. */
    readonly trace: ArmtTrace;

    private readonly sequences = new Map<number, WeakRef<ArmtSequence>>();

    /** @internal */
    constructor(
        private readonly addon: ArmtAddon,
        /** @internal */
        readonly id: number,
        /** @internal */
        readonly facts: ArmtModelFacts,
        private readonly onProgress: ArmtContextOptions["onProgress"],
        /** Where what the context reads is looked up and kept. */
        readonly memoryStore: ArmtMemoryStore | undefined,
        /**
         * Absolute path of the model file; empty where unknown.
         * @internal
         */
        readonly modelPath: string
    ) {
        this.trace = new ArmtTrace(addon, id);
    }

    /** The schedule in use. */
    get schedule(): "sequential" | "diagonal" {
        return schedules[this.info.schedule] === "diagonal" ? "diagonal" : "sequential";
    }

    /** Text tokens in a segment. */
    get segmentSize(): number {
        return this.info.segmentSize;
    }

    /** What happens when the open segment is full. */
    get segmentOverflow(): ArmtSegmentOverflow {
        return segmentOverflows[this.info.segmentOverflow] ?? "close";
    }

    /** Tokens that fit into an open segment. */
    get openSegmentLimit(): number {
        return this.info.openSegmentLimit;
    }

    /** Cells that the diagonal schedule computes in one product. */
    get maxCells(): number {
        return this.info.maxCells;
    }

    /** Number type in which A and z are kept. */
    get stateType(): ArmtStateType {
        return stateTypes[this.info.stateType] ?? "f32";
    }

    /** Size of one sequence's memory, A and z of all layers. Unit: bytes. */
    get memoryBytes(): number {
        return this.info.memoryBytes;
    }

    /** Size of all that the context holds for its sequences: A, z, K/V, what is in flight. Unit: bytes. */
    get totalBytes(): number {
        return this.info.totalBytes;
    }

    /** Graph evaluations so far. */
    get graphs(): number {
        return this.info.graphs;
    }

    /** Of these, the ones that reused the graph before them: for the others a graph was built. */
    get graphsReused(): number {
        return this.info.graphsReused;
    }

    /** Of these, the ones that the GPU replayed as one CUDA graph. Only the backend of `armt build --tuned` counts them. */
    get graphsReplayed(): number {
        return this.info.graphsReplayed;
    }

    /** Shape of one layer's memory: A is [h, K/h, D/h], z is [h, K/h] where the model has it. */
    get memoryShape(): Pick<NativeContextInfo, "memoryHeads" | "keyLength" | "valueLength" | "useDenom"> {
        const { memoryHeads, keyLength, valueLength, useDenom } = this.info;
        return { memoryHeads, keyLength, valueLength, useDenom };
    }

    private get info(): NativeContextInfo {
        const info = this.addon.contextInfo(this.id);
        if (info === undefined) throw new DisposedError();
        return info;
    }

    /**
     * Tells the engine how to cut a prompt whose length is known, where the model's alignment needs that.
     * @internal
     */
    planPrompt(sequenceId: number, tokens: number): void {
        const { segmentAlignment } = this.facts;
        if (segmentAlignment === "left") return;
        const { first, each } = planSegments(segmentAlignment, tokens, this.segmentSize);
        this.addon.planSegments(this.id, sequenceId, first, each, tokens);
    }

    /**
     * Makes a context and its sequences pass through here.
     * @internal
     */
    decorate(context: LlamaContext): void {
        const internals = contextInternals(context);
        const decodeTokens = internals._decodeTokens.bind(context);
        const getSequence = context.getSequence.bind(context);
        const native = internals._ctx;
        const loadState = native.loadSequenceStateFromFile.bind(native);
        Object.defineProperty(native, "loadSequenceStateFromFile", {
            value: async (file: string, sequenceId: number, maxTokens: number) => {
                try {
                    const tokens = await countStateTokens(file);
                    return await loadState(file, sequenceId, Math.min(tokens, maxTokens));
                } catch (error) {
                    // node-llama-cpp takes the sequence for empty now
                    native.disposeSequence(sequenceId);
                    throw this.explainStateFailure(file, error);
                }
            }
        });
        Object.defineProperties(context, {
            armt: { value: this, enumerable: true },
            getSequence: {
                value: (options: Parameters<LlamaContext["getSequence"]>[0] = {}) => {
                    if (options.tokenPredictor != null)
                        throw new ArmtUnsupportedError(
                            "token predictors are not supported with ARMT models yet; leave out `tokenPredictor`"
                        );
                    // node-llama-cpp would save the state every 8192 tokens: copies of the memory that add up, each emptying the pipeline
                    const checkpoints = { interval: false as const, ...options.checkpoints };
                    return this.decorateSequence(getSequence({ ...options, checkpoints }));
                }
            },
            _decodeTokens: {
                // the server looks at logits here, too
                configurable: true,
                value: (request: DecodeRequest, mapper: unknown) =>
                    this.evaluate(context, request, (part) => decodeTokens(part, mapper))
            }
        });
    }

    private decorateSequence(sequence: LlamaContextSequence): LlamaContextSequence {
        const armt = new ArmtSequence(this.addon, this, sequence);
        Object.defineProperties(sequence, {
            armt: { value: armt, enumerable: true },
            // node-llama-cpp would erase the oldest tokens; those are in memory already, so the rest would be read again without them, and nothing said
            _freeUpSpaceForTokens: {
                value: async () => {
                    throw new ArmtUnsupportedError(
                        `the context is full: it holds ${sequence.contextSize} tokens, and context shift is not supported with ARMT models; make it with a larger \`contextSize\`, or without one`
                    );
                }
            }
        });
        this.sequences.set(sequenceInternals(sequence)._sequenceId, new WeakRef(armt));
        return sequence;
    }

    private async evaluate(
        context: LlamaContext,
        request: DecodeRequest,
        decodeTokens: (request: DecodeRequest) => ReturnType<DecodeTokens>
    ): ReturnType<DecodeTokens> {
        const { sequenceId, firstTokenSequenceIndex, tokens, memoryStore, isPart } = request;
        const sequence = this.sequences.get(sequenceId)?.deref();
        // node-llama-cpp's list has holes where ids were not kept, which would be read as token 0
        if (tokens.length > 0 && !(0 in tokens))
            throw new ArmtError(
                "what was removed cannot be made up for: the ids of the tokens before it were not kept, so they cannot be read again; the sequence is empty now"
            );
        const wrong = tokens.findIndex((id) => id < 0 || id >= this.facts.vocabSize);
        if (wrong >= 0)
            throw new ArmtEvalError(
                `token id ${tokens[wrong]} is out of range; the vocabulary has ${this.facts.vocabSize} tokens`
            );
        const store = memoryStore === undefined ? this.memoryStore : memoryStore;
        if (firstTokenSequenceIndex === 0 && isPart !== true) this.planPrompt(sequenceId, tokens.length);
        sequence?.beginEvaluation(firstTokenSequenceIndex, tokens.length);
        const progress =
            this.onProgress === undefined || sequence === undefined || tokens.length === 1
                ? undefined
                : new ProgressReporter(this.onProgress, () => sequence.readStats(), tokens.length);
        try {
            const result =
                sequence === undefined || store == null || store.disposed || tokens.length === 1
                    ? await decodeTokens(request)
                    : await readWithStore(store, sequence, request, decodeTokens);
            progress?.end(true);
            return result;
        } catch (error) {
            progress?.end(false);
            // node-llama-cpp only counts prompts that succeed as a whole, the engine every batch
            if (sequence !== undefined) await betweenBatches(context, async () => sequence.takeOver(tokens));
            throw this.explain(error);
        }
    }

    private explainStateFailure(file: string, error: unknown): unknown {
        if (!(error instanceof Error) || !error.message.startsWith("Failed to load state")) return error;
        return new ArmtError(`cannot load ${file}: ${this.addon.lastError(this.id) || error.message}`, {
            cause: error
        });
    }

    private explain(error: unknown): unknown {
        if (!(error instanceof Error) || !nativeFailure.test(error.message)) return error;
        return new ArmtEvalError(this.addon.lastError(this.id) || error.message, { cause: error });
    }
}
