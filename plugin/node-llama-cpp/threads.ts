import type { LlamaContext } from "node-llama-cpp";
import { contextInternals, llamaInternals, modelInternals, type ThreadsSplitter } from "./internals.js";

/** What ends long uses of threads early. */
const interruptions = new WeakMap<ThreadsSplitter, Set<() => void>>();

/** Sets what is called when another context of the same `Llama` waits because all threads are in use. */
export function onThreadsWanted(context: LlamaContext, interrupt: () => void): void {
    const { _threadsSplitter: splitter } = llamaInternals(modelInternals(context.model)._llama);
    const interrupts = interruptions.get(splitter) ?? announceWaiting(splitter);
    interrupts.add(interrupt);
    context.onDispose.createListener(() => interrupts.delete(interrupt));
}

function announceWaiting(splitter: ThreadsSplitter): Set<() => void> {
    const interrupts = new Set<() => void>();
    interruptions.set(splitter, interrupts);
    const wait = splitter._waitForFreeThread.bind(splitter);
    const announce = () => {
        for (const interrupt of interrupts) interrupt();
        return wait();
    };
    Object.defineProperty(splitter, "_waitForFreeThread", { value: announce });
    return interrupts;
}

/** Runs `work` with the threads that node-llama-cpp gives a batch. The caller holds the context's lock. */
export async function withBatchThreads<T>(context: LlamaContext, work: () => Promise<T>): Promise<T> {
    const internals = contextInternals(context);
    internals._reserveThreads();
    try {
        const allocation = await internals._threadSplitterConsumer?.getAllocationToConsume();
        try {
            if (allocation !== undefined) internals._ctx.setThreads(allocation[0]);
            return await work();
        } finally {
            allocation?.[1].dispose();
        }
    } finally {
        internals._scheduleToFreeReservedThreads();
    }
}
