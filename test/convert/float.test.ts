import test from "ava";
import fc from "fast-check";
import { decodeFloats, findNonFinite } from "../../src/convert/float-decode.js";
import { encodeFloats, floatBitsToHalf } from "../../src/convert/float-encode.js";
import { propertySeed } from "../helpers/property.js";

const bitsOf = (value: number) => new Uint32Array(Float32Array.of(value).buffer)[0]!;
const halfOf = (value: number) => floatBitsToHalf(bitsOf(value));
/** The value of a float16, by the format's definition. */
function halfValue(half: number): number {
    const exponent = (half >>> 10) & 31;
    const mantissa = half & 1023;
    const magnitude = exponent === 0 ? mantissa * 2 ** -24 : (1 + mantissa / 1024) * 2 ** (exponent - 15);
    return half & 0x8000 ? -magnitude : magnitude;
}
const words = (encoded: Uint8Array | undefined) => [
    ...new Uint16Array(encoded!.buffer, encoded!.byteOffset, encoded!.byteLength / 2)
];

test("every finite float16 survives decoding and encoding", (t) => {
    const halves = Uint16Array.from({ length: 65_536 }, (_, i) => i).filter((half) => (half & 0x7c00) !== 0x7c00);
    const values = decodeFloats(Buffer.from(halves.buffer), "F16");
    t.true(values.every((value, i) => Object.is(value, halfValue(halves[i]!))));
    t.deepEqual(words(encodeFloats(values, "F16")), [...halves]);
});

test("float16 is the nearest, ties to even", (t) => {
    const finite = fc.float({ noNaN: true, noDefaultInfinity: true, min: -65_519, max: 65_519 });
    fc.assert(
        fc.property(finite, (value) => {
            const half = halfOf(value);
            const error = Math.abs(halfValue(half) - value);
            for (const other of [half - 1, half + 1]) {
                if ((other & 0x7c00) === 0x7c00 || (other ^ half) & 0x8000) continue;
                const otherError = Math.abs(halfValue(other) - value);
                t.true(error < otherError || (error === otherError && half % 2 === 0), String(value));
            }
        }),
        { seed: propertySeed, numRuns: 2000 }
    );
});

test("float16 keeps signs, subnormals and the largest value", (t) => {
    t.is(halfOf(-0), 0x8000);
    t.is(halfOf(2 ** -24), 1);
    t.is(halfOf(2 ** -25), 0);
    t.is(halfOf(2 ** -25 * 1.0001), 1);
    t.is(halfOf(1.5 * 2 ** -24), 2);
    t.is(halfOf(2 ** -14 - 2 ** -26), 0x400);
    t.is(halfOf(65_519), 0x7bff);
    t.is(halfOf(65_520), 0x7c00);
    t.is(halfOf(-1e30), 0xfc00);
});

test("bfloat16 is the nearest, ties to even", (t) => {
    const finite = fc.float({ noNaN: true, noDefaultInfinity: true, max: Math.fround(3e38), min: Math.fround(-3e38) });
    fc.assert(
        fc.property(finite, (value) => {
            const [word] = words(encodeFloats(Float32Array.of(value), "BF16"));
            const toValue = (bits: number) => decodeFloats(Buffer.from(Uint16Array.of(bits).buffer), "BF16")[0]!;
            const error = Math.abs(toValue(word!) - value);
            for (const other of [word! - 1, word! + 1]) {
                if ((other ^ word!) & 0x8000) continue;
                const otherError = Math.abs(toValue(other) - value);
                t.true(error < otherError || (error === otherError && word! % 2 === 0), String(value));
            }
        }),
        { seed: propertySeed, numRuns: 1000 }
    );
});

test("a value beyond the type's range is reported", (t) => {
    t.is(encodeFloats(Float32Array.of(1, 65_520), "F16"), undefined);
    t.is(encodeFloats(Float32Array.of(3.4e38), "BF16"), undefined);
    t.is(encodeFloats(new Float32Array(32).fill(1e8), "Q8_0"), undefined);
    t.deepEqual(encodeFloats(Float32Array.of(3.4e38), "F32"), new Uint8Array(Float32Array.of(3.4e38).buffer));
});

test("q8_0 blocks have a scale and values rounded half away from zero", (t) => {
    const values = new Float32Array(64);
    values.set([127, -127, 0.5, -0.5, 1.49, 2.5, -2.5]);
    const bytes = encodeFloats(values, "Q8_0")!;
    t.is(bytes.length, 68);
    t.is(new DataView(bytes.buffer).getUint16(0, true), halfOf(1));
    t.deepEqual([...new Int8Array(bytes.buffer, 2, 7)], [127, -127, 1, -1, 1, 3, -3]);
    t.true(bytes.subarray(34).every((byte) => byte === 0));
});

test("q8_0 errs by half a step at most", (t) => {
    const block = fc.array(fc.float({ noNaN: true, min: -1000, max: 1000 }), { minLength: 32, maxLength: 32 });
    fc.assert(
        fc.property(block, (list) => {
            const bytes = encodeFloats(Float32Array.from(list), "Q8_0")!;
            const exact = Math.max(...list.map(Math.abs)) / 127;
            const scale = halfValue(new DataView(bytes.buffer).getUint16(0, true));
            const quants = new Int8Array(bytes.buffer, 2);
            // Half a step of rounding, and the scale's own rounding to float16 (2^-11, or 2^-25 below its normal range)
            // on up to 127 steps.
            const bound = exact * (0.5 + 127 * 2 ** -11) * 1.001 + 127 * 2 ** -25;
            t.true(list.every((value, i) => Math.abs(quants[i]! * scale - value) <= bound));
        })
    );
});

test("float64 is rounded, bytes at odd places in memory are read", (t) => {
    t.deepEqual([...decodeFloats(Buffer.from(Float64Array.of(0.1, -2).buffer), "F64")], [Math.fround(0.1), -2]);
    const shifted = Buffer.concat([Buffer.alloc(3), Buffer.from(Float32Array.of(1.5, 2.5).buffer)]).subarray(3);
    t.deepEqual([...decodeFloats(shifted, "F32")], [1.5, 2.5]);
});

test("first value that is not finite is found", (t) => {
    t.is(findNonFinite(Float32Array.of(1, -0, 3e38, -3e38)), -1);
    t.is(findNonFinite(Float32Array.of(1, 2, Number.NaN, 4)), 2);
    t.is(findNonFinite(Float32Array.of(1, -Infinity)), 1);
});
