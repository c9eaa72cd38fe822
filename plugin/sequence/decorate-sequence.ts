import type { LlamaContextSequence } from "node-llama-cpp";
import type { ArmtContext } from "../context/ArmtContext.js";
import type { Evaluation } from "../context/evaluation.js";
import { SequenceHandle } from "../context/SequenceHandle.js";
import { ArmtUnsupportedError } from "../errors.js";
import { delayStateChanges, replaceContextShift } from "../node-llama-cpp/sequence-state.js";
import { ArmtSequence } from "./ArmtSequence.js";

/** Adds `sequence.armt`. */
export function decorateSequence(
    sequence: LlamaContextSequence,
    armt: ArmtContext,
    evaluation: Evaluation
): LlamaContextSequence {
    const handle = new SequenceHandle(armt.parts.engine, sequence);
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
    // while a read runs, node-llama-cpp's record of the tokens is behind the engine's
    delayStateChanges(sequence, () => evaluation.settled(handle));
    evaluation.register(handle);
    return sequence;
}
