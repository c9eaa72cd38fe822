import test from "ava";
import type { ArmtSnapshotInfo } from "../../plugin/index.js";
import { contextOptions, type ModelOptions } from "../../src/model/options.js";

const memory: ArmtSnapshotInfo = {
    fingerprint: "0".repeat(64),
    segmentSize: 64,
    segmentOverflow: "close",
    openSegmentLimit: 64,
    kvTypes: ["F16", "F16"],
    stateType: "bf16",
    tokensRead: 1000,
    openTokens: 70,
    segmentsClosed: 15,
    hasTokenIds: true
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

test("without a longer segment, a memory fits whatever the user wants", (t) => {
    for (const segmentOverflow of ["close", "answer"] as const) {
        const like = { ...memory, segmentOverflow, openTokens: 64 };
        t.like(contextOptions(given, like).armt, { segmentOverflow: undefined, openSegmentLimit: undefined });
        const limited = { ...given, segmentOverflow: "answer", openSegmentLimit: 80 } as const;
        t.like(contextOptions(limited, like).armt, { segmentOverflow: "answer", openSegmentLimit: 80 });
        t.like(contextOptions({ ...given, segmentOverflow: "close" }, like).armt, { segmentOverflow: "close" });
    }
});
