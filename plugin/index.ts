/**
 * node-llama-cpp with ARMT models: everything that it exports, and what is new. `getLlama` replaces node-llama-cpp's
 * own.
 * @module
 */
import "./augmentation.js";
import "./node-llama-cpp/hide-ci.js";

export * from "node-llama-cpp";

import "./node-llama-cpp/restore-ci.js";

export type { ArmtContext } from "./context/ArmtContext.js";
export type { ArmtSamplingDefaults } from "./context/sampling-defaults.js";
export type { ArmtTrace } from "./context/trace.js";
export {
    ArmtDeviceError,
    ArmtError,
    ArmtEvalError,
    ArmtModelError,
    ArmtNativeError,
    ArmtUnsupportedError
} from "./errors.js";
// replaces node-llama-cpp's
export { getLlama } from "./getLlama.js";
export {
    ArmtMemoryStore,
    type ArmtMemoryStoreOptions,
    type ArmtMemoryStoreStats,
    type ArmtPrefillOptions
} from "./memory/ArmtMemoryStore.js";
export { type ArmtSaveOptions, ArmtSnapshot } from "./memory/ArmtSnapshot.js";
export type { ArmtFeedOptions } from "./memory/feed.js";
export { type CachedModel, listModels, removeModel, resolveModel } from "./model/model-cache.js";
export type { ArmtModelOptions, ArmtSplitMode } from "./model/placement.js";
export type { ArmtContextOptions } from "./options.js";
export type { ArmtSequence } from "./sequence/ArmtSequence.js";
export type { ArmtSequenceSaveOptions, ArmtSnapshotOptions } from "./sequence/snapshots.js";
export type {
    ArmtAskForm,
    ArmtDevice,
    ArmtFeedProgress,
    ArmtFeedSource,
    ArmtLayerMemory,
    ArmtModelInfo,
    ArmtPrecision,
    ArmtPrefill,
    ArmtProduct,
    ArmtProgress,
    ArmtSchedule,
    ArmtSegmentAlignment,
    ArmtSegmentOverflow,
    ArmtSnapshotHeader,
    ArmtSnapshotInfo,
    ArmtSnapshotOrigin,
    ArmtSnapshotSource,
    ArmtStateType,
    ArmtTraceStep
} from "./types.js";
