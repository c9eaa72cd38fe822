import type { LlamaContext } from "node-llama-cpp";
import { contextInternals } from "./internals.js";

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
