import test from "ava";
import { segmentLengths } from "../../src/util/segment-lengths.js";
import { compareLogits, relativeError } from "../../src/verify/compare.js";
import { activations, multiply, readNumbers, roundTo } from "../../src/verify/numbers.js";
import { failureText, judge, reportText } from "../../src/verify/report.js";
import { gelu } from "../helpers/activations.js";
import { decodeNumbers } from "../helpers/decode-numbers.js";

test("numbers of all float types are read exactly", (t) => {
    // at an odd place in memory, as a pooled buffer may be
    const at1 = (bytes: Uint8Array) => Buffer.concat([Buffer.alloc(1), bytes]).subarray(1);
    const halves = at1(new Uint8Array(Uint16Array.from({ length: 65_536 }, (_, i) => i).buffer));
    for (const dtype of ["F16", "BF16"] as const)
        t.deepEqual(Float64Array.from(readNumbers(halves, dtype, "x")), decodeNumbers(dtype, halves));
    const singles = at1(new Uint8Array(Float32Array.of(1.5, -0, 1e-40, Number.NaN).buffer));
    t.deepEqual(Float64Array.from(readNumbers(singles, "F32", "x")), decodeNumbers("F32", singles));
    t.deepEqual([...readNumbers(at1(new Uint8Array(Float64Array.of(1 / 3).buffer)), "F64", "x")], [1 / 3]);
    t.throws(() => readNumbers(singles, "I32", "x"), { message: /tensor "x" is I32/ });
});

test("GELU is that of another way to compute the error function", (t) => {
    for (let x = -8; x <= 8; x += 0.0625) {
        const expected = gelu(x);
        t.true(Math.abs(activations.gelu(x) - expected) <= 1e-13 * Math.max(1, Math.abs(expected)), String(x));
    }
    t.is(activations.gelu(0), 0);
    t.is(activations.gelu(60), 60);
});

test("numbers round to a significand", (t) => {
    t.is(roundTo(Math.sqrt(32), 8), 5.65625);
    t.is(roundTo(Math.sqrt(32), 24), Math.fround(Math.sqrt(32)));
    t.is(roundTo(16, 8), 16);
});

test("a product with an adapter is that of the merged matrix", (t) => {
    const values = Float32Array.of(1, 2, 3, 4, 5, 6);
    const lora = { a: Float32Array.of(1, 0, 2), b: Float32Array.of(3, 4), rank: 1, scale: 0.5 };
    const x = Float64Array.of(1, -1, 2, 0, 1, 0);
    const merged = Float32Array.of(1 + 1.5, 2, 3 + 3, 4 + 2, 5, 6 + 4);
    const sizes = { inputs: 3, outputs: 2 };
    const expected = multiply({ ...sizes, values: merged, transposed: false, lora: undefined }, x, 2);
    t.deepEqual([...expected], [2.5 - 2 + 12, 6 - 5 + 20, 2, 5]);
    t.deepEqual(multiply({ ...sizes, values, transposed: false, lora }, x, 2), expected);
    const transposed = Float32Array.of(1, 4, 2, 5, 3, 6);
    t.deepEqual(multiply({ ...sizes, values: transposed, transposed: true, lora }, x, 2), expected);
});

test("segments are cut as the alignment says", (t) => {
    t.deepEqual(segmentLengths(10, 4, "left"), [4, 4, 2]);
    t.deepEqual(segmentLengths(10, 4, "right"), [2, 4, 4]);
    t.deepEqual(segmentLengths(10, 4, "center"), [4, 4, 2]);
    t.deepEqual(segmentLengths(9, 4, "center"), [3, 3, 3]);
    t.deepEqual(segmentLengths(4, 4, "right"), [4]);
});

test("differences of logits are measured", (t) => {
    const expected = Float64Array.of(0, 2, 0, 2);
    t.deepEqual(compareLogits(expected, expected, 2), { tokens: 2, maxAbs: 0, relative: 0, kl: 0, top1: 1 });
    const swapped = compareLogits(expected, [0, 2, 2, 0], 2);
    t.like(swapped, { tokens: 2, maxAbs: 2, top1: 0.5 });
    t.is(swapped.relative, Math.sqrt(2));
    const p = 1 / (1 + Math.exp(-2));
    t.true(Math.abs(swapped.kl - ((2 * p - 1) * 2) / 2) < 1e-12);
    t.true(Number.isNaN(compareLogits(expected, [0, Number.NaN, 0, 2], 2).relative));
    t.is(relativeError(Float64Array.of(3, 4), [3, 4.5]), 0.1);
});

test("a value that is not finite is no pass", (t) => {
    const parts = {
        model: "m",
        checkpoint: "c",
        baseArchitecture: "llama",
        type: "F32",
        gpu: false,
        tolerance: 0.1
    } as const;
    const segment = { tokens: 1, maxAbs: 0, relative: 0, kl: 0, top1: 1 };
    t.true(judge({ ...parts, segments: [segment], memories: [{ layer: 0, a: 0.2 }] }).passed);
    t.false(
        judge({ ...parts, segments: [{ ...segment, relative: Number.NaN }], memories: [{ layer: 0, a: 0 }] }).passed
    );
    const report = judge({ ...parts, segments: [segment], memories: [{ layer: 0, a: 0, z: Number.NaN }] });
    t.like(report, { passed: false, firstBadLayer: 0 });
    t.regex(reportText(report), /at most NaN \(layer 0 of 1\); the first layer that is off is 0\n\n.*FAILED/s);
    t.regex(failureText(report), /does not compute what c does.*Were the variant's flags/);
    t.regex(failureText({ ...report, gpu: "cuda" }), /on cuda.*--gpu off/);
});
