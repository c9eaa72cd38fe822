import type { ArmtSchedule, ArmtSegmentOverflow, ArmtStateType } from "../types.js";

// The engine's enums (`armt-api.h`): a value's number is its index here.

/** `enum armt_schedule` */
export const schedules: readonly ArmtSchedule[] = ["auto", "sequential", "diagonal"];

/** `enum armt_segment_overflow` */
export const segmentOverflows: readonly ArmtSegmentOverflow[] = ["close", "extend"];

/** `enum armt_state_type` */
export const stateTypes: readonly ArmtStateType[] = ["f32", "f16", "bf16"];
