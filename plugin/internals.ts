import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import type { Llama, LlamaContext, LlamaContextSequence, Token, TokenMeter } from "node-llama-cpp";
import { ArmtNativeError } from "./errors.js";
import type { ArmtMemoryStore } from "./memory/ArmtMemoryStore.js";

// What is used of node-llama-cpp's private members. Its classes are made by factories that know no subclasses, so their instances are
// decorated; the version is pinned, and each member is checked before its use.

/** A part of a prompt on its way to the native evaluation: the one place that all evaluations of a context pass. */
export interface DecodeRequest {
    readonly sequenceId: number;
    readonly firstTokenSequenceIndex: number;
    readonly tokens: Token[];
    /** Whether the logits of a token are wanted; holes where not. */
    readonly logits: readonly (true | undefined)[];
    readonly evaluationPriority?: number;
    readonly tokenMeter?: TokenMeter;
    /** Ours: the store to use in place of the context's; null for none. */
    readonly memoryStore?: ArmtMemoryStore | null;
    /** Ours: more of the prompt follows, so it is cut from the left whatever the model's alignment. */
    readonly isPart?: boolean;
}

/** Resolves to what the mapper made of each token's logits, with the token's index in the sequence. */
export type DecodeTokens = (
    request: DecodeRequest,
    logitDataMapper: unknown
) => Promise<[index: number, value: unknown][]>;

/** The native context. */
export interface NativeContext {
    loadSequenceStateFromFile(file: string, sequenceId: number, maxTokens: number): Promise<Uint32Array>;
    disposeSequence(sequenceId: number): void;
}

export interface ContextInternals {
    readonly _ctx: NativeContext;
    _decodeTokens: DecodeTokens;
    readonly _queuedDecodes: DecodeRequest[];
    _dispatchErrorForQueuedDecodesAndDequeue(requests: ReadonlySet<DecodeRequest>, error: unknown): void;
    readonly _backendContextDisposeGuard: { createPreventDisposalHandle(): { dispose(): void } };
}

export interface SequenceInternals {
    readonly _sequenceId: number;
    readonly _lock: object;
    _contextTokens: Token[];
    _nextTokenIndex: number;
    readonly _loadedTokenPredictions: unknown[];
    readonly _checkpoints: { clearAllCheckpoints(): void };
}

interface LlamaInternals {
    readonly _bindings: { getIsArchSupported(architecture: string): boolean };
}

type WithLock = <T>(scope: readonly [object, string], callback: () => Promise<T>) => Promise<T>;

export function contextInternals(context: LlamaContext): ContextInternals {
    return internals<ContextInternals>(context, [
        "_ctx",
        "_decodeTokens",
        "_queuedDecodes",
        "_dispatchErrorForQueuedDecodesAndDequeue",
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
        "_checkpoints"
    ]);
}

/** Whether the libllama in use knows an architecture. */
export function knowsArchitecture(llama: Llama, architecture: string): boolean {
    return internals<LlamaInternals>(llama, ["_bindings"])._bindings.getIsArchSupported(architecture);
}

/**
 * Runs `work` while node-llama-cpp neither evaluates in this context nor disposes it. The locks live in a table of their module, so it has to
 * be node-llama-cpp's own copy of it.
 */
export async function withExclusiveSequence<T>(sequence: LlamaContextSequence, work: () => Promise<T>): Promise<T> {
    return await withSequence(sequence, () => withContextAlive(sequence.context, work));
}

/** Runs `work` while nobody else evaluates in this sequence; `work` itself may. */
export async function withSequence<T>(sequence: LlamaContextSequence, work: () => Promise<T>): Promise<T> {
    const { withLock } = await importLocks();
    return await withLock([sequenceInternals(sequence)._lock, "evaluate"], work);
}

/** Runs `work` when no batch of the context is being evaluated. */
export async function betweenBatches<T>(context: LlamaContext, work: () => Promise<T>): Promise<T> {
    const { withLock } = await importLocks();
    return await withLock([context, "context"], work);
}

/** The same, with a context that is not disposed until `work` is done. */
export async function withContextAlive<T>(context: LlamaContext, work: () => Promise<T>): Promise<T> {
    return await betweenBatches(context, async () => {
        const handle = contextInternals(context)._backendContextDisposeGuard.createPreventDisposalHandle();
        try {
            return await work();
        } finally {
            handle.dispose();
        }
    });
}

/** Runs one `work` after the other. */
export async function withLockOn<T>(scope: object, work: () => Promise<T>): Promise<T> {
    const { withLock } = await importLocks();
    return await withLock([scope, "armt"], work);
}

async function importLocks(): Promise<{ withLock: WithLock }> {
    const require = createRequire(import.meta.resolve("node-llama-cpp"));
    return await import(pathToFileURL(require.resolve("lifecycle-utils")).href);
}

function internals<T>(owner: object, members: readonly (keyof T & string)[]): T {
    for (const member of members)
        if (!(member in owner))
            throw new ArmtNativeError(
                `this node-llama-cpp has no ${owner.constructor.name}.${member}; install the version that node-llama-cpp-armt names`
            );
    return owner as T;
}
