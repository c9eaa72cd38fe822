import "./augmentation.js";

export * from "node-llama-cpp";
export type { ArmtContext } from "./ArmtContext.js";
export type { ArmtLayerMemory, ArmtSequence } from "./ArmtSequence.js";
export { ArmtError, ArmtEvalError, ArmtModelError, ArmtNativeError, ArmtUnsupportedError } from "./errors.js";
export type { ArmtModelFacts } from "./facts.js";
// in place of node-llama-cpp's
export { getLlama } from "./getLlama.js";
export type { ArmtContextOptions, ArmtSchedule, ArmtSegmentOverflow } from "./options.js";
export type { ArmtProgress } from "./progress.js";
export type { ArmtSegmentAlignment } from "./segments.js";
