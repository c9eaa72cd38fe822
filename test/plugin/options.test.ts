import test from "ava";
import { resolveContextOptions } from "../../plugin/options.js";

test("the engine chooses options that are left out, and schedule and overflow have defaults", (t) => {
    const expected = {
        schedule: 0,
        segmentOverflow: 0,
        segmentSize: 0,
        openSegmentLimit: 0,
        maxCells: 0,
        textsPerLayer: 0,
        stateType: 0,
        precision: 0,
        fp8Products: 0
    };
    t.deepEqual(resolveContextOptions(), expected);
    t.deepEqual(resolveContextOptions({ schedule: undefined, segmentSize: undefined }), expected);
});

test("given options reach the engine as numbers", (t) => {
    t.deepEqual(
        resolveContextOptions({
            schedule: "diagonal",
            segmentOverflow: "extend",
            segmentSize: 8,
            openSegmentLimit: 9,
            maxCells: 3,
            textsPerLayer: 4,
            stateType: "bf16",
            precision: "fp8",
            fp8Products: ["down", "qkv", "down"]
        }),
        {
            schedule: 2,
            segmentOverflow: 1,
            segmentSize: 8,
            openSegmentLimit: 9,
            maxCells: 3,
            textsPerLayer: 4,
            stateType: 2,
            precision: 1,
            fp8Products: 9
        }
    );
    t.is(resolveContextOptions({ textsPerLayer: 0 }).textsPerLayer, -1);
});

type ErrorClass = typeof TypeError | typeof RangeError;

const refused = test.macro({
    exec(t, options: unknown, instanceOf: ErrorClass, message: RegExp) {
        t.throws(() => resolveContextOptions(options as object), { instanceOf, message });
    },
    title: (_, options) => `${JSON.stringify(options)} is refused by name`
});
test(refused, { segmentSize: 0 }, RangeError, /`armt\.segmentSize`.*from 1 to 4294967295, got 0/);
test(refused, { segmentSize: -5 }, RangeError, /`armt\.segmentSize`/);
test(refused, { segmentSize: 1.5 }, RangeError, /`armt\.segmentSize`/);
test(refused, { segmentSize: "8" }, TypeError, /`armt\.segmentSize` must be a number, got "8"/);
test(refused, { openSegmentLimit: 2 ** 32 }, RangeError, /`armt\.openSegmentLimit`/);
test(
    refused,
    { segmentSize: 8, segmentOverflow: "extend", openSegmentLimit: 7 },
    RangeError,
    /openSegmentLimit` \(7\).*segmentSize` \(8\)/
);
test(
    refused,
    { openSegmentLimit: 70 },
    TypeError,
    /`armt\.openSegmentLimit` requires `armt\.segmentOverflow: "extend"`/
);
test(refused, { maxCells: 0 }, RangeError, /`armt\.maxCells`/);
test(refused, { textsPerLayer: 65 }, RangeError, /`armt\.textsPerLayer` must be an integer from 0 to 64, got 65/);
test(
    refused,
    { schedule: "diagonall" },
    TypeError,
    /`armt\.schedule`.*"auto", "sequential", "diagonal", got "diagonall"/
);
test(refused, { segmentOverflow: true }, TypeError, /`armt\.segmentOverflow`/);
test(refused, { stateType: "q8_0" }, TypeError, /`armt\.stateType` must be one of "f32", "f16", "bf16", got "q8_0"/);
test(refused, { precision: "int8" }, TypeError, /`armt\.precision` must be one of "auto", "fp8", got "int8"/);
test(refused, { fp8Products: ["o"] }, TypeError, /`armt\.fp8Products` requires `armt\.precision: "fp8"`/);
test(
    refused,
    { precision: "fp8", fp8Products: [] },
    TypeError,
    /`armt\.fp8Products` must be a list with some of "qkv"/
);
test(
    refused,
    { precision: "fp8", fp8Products: ["qkv", "v"] },
    TypeError,
    /`armt\.fp8Products` must be one of "qkv", "o", "gate_up", "down", got "v"/
);
test(refused, { onProgress: 1 }, TypeError, /`armt\.onProgress`/);
test(refused, { sgementSize: 8 }, TypeError, /`armt\.sgementSize` is not an option/);
test(refused, "diagonal", TypeError, /`armt` must be an object/);

test("a segment size that is not a number is refused by name", (t) => {
    t.throws(() => resolveContextOptions({ segmentSize: Number.NaN }), { instanceOf: RangeError, message: /NaN/ });
});
