import type { Token } from "node-llama-cpp";
import type { Evaluation } from "../context/evaluation.js";
import type { SequenceHandle } from "../context/SequenceHandle.js";

/** Evaluates tokens batch by batch through the addon, which copies the logits of every token. */
export async function* evaluateLogits(
    handle: SequenceHandle,
    evaluation: Evaluation,
    tokens: readonly Token[]
): AsyncGenerator<Float32Array, void, void> {
    const { batchSize } = handle.sequence.context;
    for (let start = 0; start < tokens.length; start += batchSize) {
        const batch = tokens.slice(start, start + batchSize);
        yield await evaluation.exclusively(handle, async ({ addon, contextId, sequenceId }) => {
            const { nextIndex } = handle.record;
            if (nextIndex === 0) evaluation.planPrompt(sequenceId, tokens.length);
            try {
                return await addon.decode(contextId, sequenceId, Int32Array.from(batch), nextIndex, true);
            } finally {
                handle.reconcile(batch);
            }
        });
    }
}
