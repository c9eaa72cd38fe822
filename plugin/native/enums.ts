import type { ArmtPrecision, ArmtProduct, ArmtSchedule, ArmtSegmentOverflow, ArmtStateType } from "../types.js";

// The engine's enums (`armt-api.h`): a value's number is its index here.

/** `enum armt_schedule` */
export const schedules: readonly ArmtSchedule[] = ["auto", "sequential", "diagonal"];

/** `enum armt_segment_overflow` */
export const segmentOverflows: readonly ArmtSegmentOverflow[] = ["close", "extend", "answer"];

/** `enum armt_state_type` */
export const stateTypes: readonly ArmtStateType[] = ["f32", "f16", "bf16"];

/** `enum armt_precision` */
export const precisions: readonly ArmtPrecision[] = ["auto", "fp8"];

/** `enum armt_product`: a product's bit is its index here. */
export const products: readonly ArmtProduct[] = ["qkv", "o", "gate_up", "down"];
export const defaultProducts: readonly ArmtProduct[] = ["qkv", "gate_up", "down"];
