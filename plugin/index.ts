/**
 * node-llama-cpp with ARMT models: all that it exports, and what is new. `getLlama` is the one that makes the difference.
 * @module
 */
import "./augmentation.js";

export * from "node-llama-cpp";
export type { ArmtContext } from "./ArmtContext.js";
export type { ArmtLayerMemory, ArmtSequence, ArmtSequenceSaveOptions, ArmtSnapshotOptions } from "./ArmtSequence.js";
export { ArmtError, ArmtEvalError, ArmtModelError, ArmtNativeError, ArmtUnsupportedError } from "./errors.js";
export type { ArmtModelFacts } from "./facts.js";
// in place of node-llama-cpp's
export { getLlama } from "./getLlama.js";
export {
    ArmtMemoryStore,
    type ArmtMemoryStoreOptions,
    type ArmtMemoryStoreStats,
    type ArmtPrefill,
    type ArmtPrefillOptions
} from "./memory/ArmtMemoryStore.js";
export { type ArmtSaveOptions, ArmtSnapshot } from "./memory/ArmtSnapshot.js";
export type { ArmtFeedOptions, ArmtFeedProgress, ArmtFeedSource } from "./memory/feed.js";
export type { ArmtSnapshotFacts, ArmtSnapshotOrigin } from "./memory/snapshot-facts.js";
export type { ArmtSnapshotSource, SnapshotHeader as ArmtSnapshotHeader } from "./memory/snapshot-header.js";
export type { ArmtContextOptions, ArmtSchedule, ArmtSegmentOverflow, ArmtStateType } from "./options.js";
export type { ArmtProgress } from "./progress.js";
export type { ArmtSegmentAlignment } from "./segments.js";
export type { ArmtTrace, ArmtTraceStep } from "./trace.js";
