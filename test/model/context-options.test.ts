import test from "ava";
import type { ArmtSnapshotOrigin } from "../../plugin/index.js";
import { contextOptions, type ModelOptions } from "../../src/model/options.js";

const memory: ArmtSnapshotOrigin = {
    fingerprint: "0".repeat(64),
    segmentSize: 64,
    segmentOverflow: "close",
    openSegmentLimit: 64,
    kvTypes: ["F16", "F16"],
    stateType: "bf16"
};
const given: ModelOptions = { kvType: "f32", verify: true, stateType: "f32" };

test("a context suits the memory that it is for", (t) => {
    for (const [segmentOverflow, openSegmentLimit] of [
        ["extend", 100],
        ["answer", 200]
    ] as const) {
        const options = contextOptions(given, { ...memory, segmentOverflow, openSegmentLimit });
        t.like(options.armt, { segmentSize: 64, segmentOverflow, openSegmentLimit, stateType: "bf16" });
        t.is(options.experimentalKvCacheKeyType, "F16");
    }
});

test("after a memory of closed segments, answers may grow", (t) => {
    t.like(contextOptions(given, memory).armt, { segmentOverflow: undefined, openSegmentLimit: undefined });
    const limited = { ...given, segmentOverflow: "answer", openSegmentLimit: 80 } as const;
    t.like(contextOptions(limited, memory).armt, { segmentOverflow: "answer", openSegmentLimit: 80 });
});
