import type { Llama, LlamaContext, LlamaContextSequence, LlamaModel, Token, TokenMeter } from "node-llama-cpp";
import { ArmtNativeError } from "../errors.js";

// Every private member of node-llama-cpp that this package uses. Its classes come from factories that know no
// subclasses, so their instances are decorated. The version is pinned, and each member is checked before its use.

/** One evaluation on its way to the native context. All evaluations of a context pass `_decodeTokens` in this form. */
export interface DecodeRequest {
    readonly sequenceId: number;
    readonly firstTokenSequenceIndex: number;
    readonly tokens: Token[];
    /** Whether the logits of a token are wanted; a hole means no. */
    readonly logits: readonly (true | undefined)[];
    readonly evaluationPriority?: number;
    readonly tokenMeter?: TokenMeter;
    /** Called after each batch with the number of tokens after it. It takes node-llama-cpp's own checkpoints. */
    readonly afterBatchAction?: (sequenceStateLength: number) => unknown;
}

/** What the mapper made of each token's logits, with the token's index in the sequence. */
export type Decoded = [index: number, value: unknown][];

/** Makes something of a token's logits, e.g. the next token. */
export type LogitMapper = (logitIndex: number, tokenIndex: number) => unknown;

export type DecodeTokens = (request: DecodeRequest, logitDataMapper: unknown) => Promise<Decoded>;

/** A native sampler. */
export interface NativeSampler {
    applyConfig(config: object): unknown;
    dispose(): void;
}

/** The native context. */
export interface NativeContext {
    loadSequenceStateFromFile(file: string, sequenceId: number, maxTokens: number): Promise<Uint32Array>;
    disposeSequence(sequenceId: number): void;
    removeTokenCellsFromSequence(sequenceId: number, start: number, end: number): boolean;
    sampleToken(logitIndex: number, sampler: NativeSampler, ...options: unknown[]): Promise<unknown[]>;
    setThreads(threads: number): void;
}

/** Threads for one batch, and what gives them back. */
type ThreadAllocation = readonly [threads: number, handle: { dispose(): void }];

export interface ContextInternals {
    readonly _ctx: NativeContext;
    readonly _decodeTokens: DecodeTokens;
    readonly _queuedDecodes: DecodeRequest[];
    readonly _batchingOptions: { itemPrioritizationStrategy: unknown };
    _dispatchErrorForQueuedDecodesAndDequeue(requests: ReadonlySet<DecodeRequest>, error: unknown): void;
    readonly _threadSplitterConsumer?: {
        getAllocationToConsume(): ThreadAllocation | Promise<ThreadAllocation>;
    };
    _reserveThreads(): void;
    _scheduleToFreeReservedThreads(): void;
    readonly _backendContextDisposeGuard: { createPreventDisposalHandle(): { dispose(): void } };
}

export interface SequenceInternals {
    readonly _sequenceId: number;
    readonly _lock: object;
    _contextTokens: Token[];
    _nextTokenIndex: number;
    readonly _loadedTokenPredictions: unknown[];
    readonly _checkpoints: { clearAllCheckpoints(): void };
    readonly _checkpointOptions: { readonly interval: number | false };
    readonly _freeUpSpaceForTokens: () => Promise<void>;
    readonly _eraseContextTokenRanges: (...args: unknown[]) => Promise<void>;
    readonly _copyStateFromOtherSequence: (...args: unknown[]) => Promise<boolean>;
    readonly takeCheckpoint: (...args: unknown[]) => Promise<void>;
    readonly _takeNamedCheckpoint: (...args: unknown[]) => Promise<void>;
    readonly saveStateToFile: (...args: unknown[]) => Promise<unknown>;
    readonly loadStateFromFile: (...args: unknown[]) => Promise<unknown>;
}

interface LlamaInternals {
    readonly _bindings: {
        getIsArchSupported(architecture: string): boolean;
        readonly AddonSampler: new (model: object) => NativeSampler;
    };
    readonly _threadsSplitter: ThreadsSplitter;
}

/** Divides the threads of a `Llama` between its contexts. */
export interface ThreadsSplitter {
    /** Called by each context that gets no thread. */
    readonly _waitForFreeThread: () => Promise<void>;
}

/** The native model. All tokenization passes its method. */
export interface NativeModel {
    tokenize(text: string, specialTokens: boolean): Uint32Array;
}

interface ModelInternals {
    readonly _model: NativeModel;
    readonly _llama: Llama;
}

export function contextInternals(context: LlamaContext): ContextInternals {
    return internals<ContextInternals>(context, [
        "_ctx",
        "_decodeTokens",
        "_queuedDecodes",
        "_batchingOptions",
        "_dispatchErrorForQueuedDecodesAndDequeue",
        "_reserveThreads",
        "_scheduleToFreeReservedThreads",
        "_backendContextDisposeGuard"
    ]);
}

export function sequenceInternals(sequence: LlamaContextSequence): SequenceInternals {
    return internals<SequenceInternals>(sequence, [
        "_sequenceId",
        "_lock",
        "_contextTokens",
        "_nextTokenIndex",
        "_loadedTokenPredictions",
        "_checkpoints",
        "_checkpointOptions",
        "_freeUpSpaceForTokens",
        "_eraseContextTokenRanges",
        "_copyStateFromOtherSequence",
        "takeCheckpoint",
        "_takeNamedCheckpoint",
        "saveStateToFile",
        "loadStateFromFile"
    ]);
}

export function llamaInternals(llama: Llama): LlamaInternals {
    return internals<LlamaInternals>(llama, ["_bindings", "_threadsSplitter"]);
}

export function modelInternals(model: LlamaModel): ModelInternals {
    return internals<ModelInternals>(model, ["_model", "_llama"]);
}

export function nativeModelOf(model: LlamaModel): NativeModel {
    return internals<NativeModel>(modelInternals(model)._model, ["tokenize"]);
}

function internals<T>(owner: object, members: readonly (keyof T & string)[]): T {
    for (const member of members)
        if (!(member in owner))
            throw new ArmtNativeError(
                `this node-llama-cpp has no ${owner.constructor.name}.${member}; ` +
                    "install the version that node-llama-cpp-armt requires"
            );
    return owner as T;
}
