import type { LlamaContext, LlamaContextSequence } from "node-llama-cpp";
import { ArmtError, ArmtUnsupportedError } from "../errors.js";
import { replaceDecode } from "../node-llama-cpp/decode.js";
import { clearNativeSequence, wrapStateLoading } from "../node-llama-cpp/sequence-state.js";
import type { SequenceOptions } from "../types.js";
import type { ArmtContext } from "./ArmtContext.js";
import type { Evaluation } from "./evaluation.js";
import { countStateTokens } from "./state-file.js";

/**
 * Adds `context.armt`, and routes the context's evaluations and sequences through this package.
 * @param decorateSequence is called for each sequence that the context creates
 */
export function decorateContext(
    context: LlamaContext,
    armt: ArmtContext,
    evaluation: Evaluation,
    decorateSequence: (sequence: LlamaContextSequence) => LlamaContextSequence
): void {
    const getSequence = context.getSequence.bind(context);
    Object.defineProperties(context, {
        armt: { value: armt, enumerable: true },
        // node-llama-cpp's would compute the segments in flight, on this thread, even while a batch runs
        stateSize: { get: () => armt.totalBytes },
        getSequence: {
            value: (options: SequenceOptions = {}) => {
                if (options.tokenPredictor != null)
                    throw new ArmtUnsupportedError(
                        "ARMT models do not support token predictors yet; leave out `tokenPredictor`"
                    );
                // by default node-llama-cpp copies the memory every 8192 tokens; copies add up, and each empties the
                // pipeline
                const checkpoints = { interval: false as const, ...options.checkpoints };
                return decorateSequence(getSequence({ ...options, checkpoints }));
            }
        }
    });
    replaceDecode(context, (request, mapper) => evaluation.read(request, mapper));
    wrapStateLoading(context, (load) => async (file, sequenceId, maxTokens) => {
        try {
            const tokens = await countStateTokens(file);
            return await load(file, sequenceId, Math.min(tokens, maxTokens));
        } catch (error) {
            // node-llama-cpp now takes the sequence to be empty
            clearNativeSequence(context, sequenceId);
            throw explainLoadFailure(armt, file, error);
        }
    });
}

function explainLoadFailure({ parts: { engine } }: ArmtContext, file: string, error: unknown): unknown {
    if (!(error instanceof Error) || !error.message.startsWith("Failed to load state")) return error;
    return new ArmtError(`cannot load ${file}: ${engine.lastError || error.message}`, { cause: error });
}
