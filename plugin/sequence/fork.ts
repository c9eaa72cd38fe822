import type { LlamaContextSequence } from "node-llama-cpp";
import type { SequenceHandle } from "../context/SequenceHandle.js";
import { ArmtError } from "../errors.js";
import type { SequenceOptions } from "../types.js";

/**
 * Copies a sequence to a new one of the same context.
 * @param handleOf the handle of the new sequence
 * @throws {ArmtError} if the context has no free sequence
 */
export async function forkSequence(
    handle: SequenceHandle,
    options: SequenceOptions | undefined,
    handleOf: (fork: LlamaContextSequence) => SequenceHandle
): Promise<LlamaContextSequence> {
    handle.throwIfDisposed();
    const { context } = handle.sequence;
    if (context.sequencesLeft === 0)
        throw new ArmtError(
            `all ${context.totalSequences} sequences of the context are in use; ` +
                "create it with a larger `sequences`, or dispose one of them"
        );
    const fork = context.getSequence(options);
    try {
        const target = handleOf(fork);
        await handle.exclusively(async ({ addon, contextId, sequenceId }) => {
            await addon.copySequence(contextId, sequenceId, target.id);
            target.record.copyFrom(handle.record);
            target.takeOver(handle);
            target.closeBeforeQuestion = handle.closeBeforeQuestion;
        });
        return fork;
    } catch (error) {
        await fork.dispose();
        throw error;
    }
}
