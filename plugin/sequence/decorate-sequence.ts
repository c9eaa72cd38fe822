import type { LlamaContextSequence } from "node-llama-cpp";
import type { ArmtContext } from "../context/ArmtContext.js";
import type { Evaluation } from "../context/evaluation.js";
import { SequenceHandle } from "../context/SequenceHandle.js";
import { samplingDefaults } from "../context/sampling-defaults.js";
import { ArmtError, ArmtUnsupportedError } from "../errors.js";
import { replaceContextShift, serializeStateChanges } from "../node-llama-cpp/sequence-state.js";
import { ArmtSequence } from "./ArmtSequence.js";

/** Adds `sequence.armt`. */
export function decorateSequence(
    sequence: LlamaContextSequence,
    armt: ArmtContext,
    evaluation: Evaluation
): LlamaContextSequence {
    const handle = new SequenceHandle(armt.parts.engine, sequence, armt.parts.closeBeforeQuestion);
    Object.defineProperty(sequence, "armt", {
        value: new ArmtSequence(armt, handle, evaluation),
        enumerable: true
    });
    // removing the oldest tokens, which are in memory already, would silently read the rest again without them
    replaceContextShift(sequence, async () => {
        throw new ArmtUnsupportedError(
            `the context is full: it holds ${sequence.contextSize} tokens, and ARMT models do not support context ` +
                "shift; create it with a larger `contextSize`, or without one"
        );
    });
    serializeStateChanges(sequence, {
        beforeSave: async () => {
            await handle.exclusively(({ addon, contextId, sequenceId }) => addon.checkState(contextId, sequenceId));
            if (!handle.record.isKnown)
                throw new ArmtError(
                    "the state cannot be saved by node-llama-cpp, because the ids of the first tokens were not kept; " +
                        "save it with `sequence.armt.save`"
                );
        },
        afterLoad: () => {
            handle.answeredTo = -1;
        },
        afterCopy: (from) => {
            if (from.armt !== undefined) handle.takeOver(from.armt.handle);
        }
    });
    evaluation.register(handle);
    wrapEvaluate(sequence, handle);
    return sequence;
}

/**
 * Takes what an evaluation does not say about sampling from the model file, and begins a new answer with each. Chat
 * sessions evaluate in this way too.
 */
function wrapEvaluate(sequence: LlamaContextSequence, handle: SequenceHandle): void {
    const { temperature, topK, topP, minP } = samplingDefaults(sequence.model);
    const defaults = { temperature, topK, topP, minP };
    const entries = Object.entries(defaults).filter(([, value]) => value !== undefined);
    const evaluate = sequence.evaluateWithMetadata.bind(sequence);
    const wrapped: typeof evaluate = (tokens, metadata, options = {}) => {
        // its first token is a prompt, also where an earlier answer stopped
        handle.answeredTo = -1;
        const given = Object.entries(options).filter(([, value]) => value !== undefined);
        return evaluate(tokens, metadata, Object.fromEntries([...entries, ...given]));
    };
    Object.defineProperty(sequence, "evaluateWithMetadata", { value: wrapped, configurable: true });
}
