import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import type { LlamaContext, LlamaContextSequence } from "node-llama-cpp";
import { contextInternals, sequenceInternals } from "./internals.js";

type LockScope = readonly [object, string];

interface Locks {
    withLock<T>(scope: LockScope, callback: () => Promise<T>): Promise<T>;
    isLockActive(scope: LockScope): boolean;
}

let locks: Promise<Locks> | undefined;

/** What ends a long use of a context early. */
const interruptions = new WeakMap<LlamaContext, () => void>();

/** Sets what is called when someone is about to wait for a context's lock. */
export function onContextWanted(context: LlamaContext, interrupt: () => void): void {
    interruptions.set(context, interrupt);
}

/** Lets others use a context whose lock is held for long. */
export function requestContext(context: LlamaContext): void {
    interruptions.get(context)?.();
}

/** Holds a sequence's `evaluate` lock: no other evaluation of this sequence runs. `work` itself may evaluate. */
export async function withSequenceLock<T>(sequence: LlamaContextSequence, work: () => Promise<T>): Promise<T> {
    const { withLock } = await importLocks();
    return await withLock([sequenceInternals(sequence)._lock, "evaluate"], work);
}

/**
 * Holds a context's `context` lock: no batch of the context runs. The context cannot be disposed until `work` is done.
 * @throws {DisposedError} if the context is disposed
 */
export async function withContextLock<T>(context: LlamaContext, work: () => Promise<T>): Promise<T> {
    const { withLock } = await importLocks();
    requestContext(context);
    return await withLock([context, "context"], async () => {
        const handle = contextInternals(context)._backendContextDisposeGuard.createPreventDisposalHandle();
        try {
            return await work();
        } finally {
            handle.dispose();
        }
    });
}

/** Whether anyone holds a context's `context` lock. */
export async function isContextLocked(context: LlamaContext): Promise<boolean> {
    const { isLockActive } = await importLocks();
    return isLockActive([context, "context"]);
}

/** The locks live in a table of the module, so this has to be node-llama-cpp's own copy of it. */
async function importLocks(): Promise<Locks> {
    locks ??= loadLocks();
    return await locks;
}

async function loadLocks(): Promise<Locks> {
    const require = createRequire(import.meta.resolve("node-llama-cpp"));
    return await import(pathToFileURL(require.resolve("lifecycle-utils")).href);
}
