import type { Dtype } from "../formats/safetensors/dtypes.js";
import { ArmtError, quote } from "../util/errors.js";

/** Values of a weight, exactly as in the checkpoint. */
export type Numbers = Float32Array | Float64Array;

/** Reads little-endian elements. @throws {ArmtError} for types other than floats */
export function readNumbers(bytes: Buffer, dtype: Dtype, name: string): Numbers {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    switch (dtype) {
        case "F64":
            return Float64Array.from({ length: bytes.byteLength / 8 }, (_, i) => view.getFloat64(8 * i, true));
        case "F32": {
            const values = new Float32Array(bytes.byteLength / 4);
            for (let i = 0; i < values.length; i++) values[i] = view.getFloat32(4 * i, true);
            return values;
        }
        case "BF16": {
            const values = new Float32Array(bytes.byteLength / 2);
            const bits = new Uint32Array(values.buffer);
            for (let i = 0; i < bits.length; i++) bits[i] = view.getUint16(2 * i, true) * 65_536;
            return values;
        }
        case "F16": {
            const values = new Float32Array(bytes.byteLength / 2);
            for (let i = 0; i < values.length; i++) values[i] = halfValue(view.getUint16(2 * i, true));
            return values;
        }
        default:
            throw new ArmtError(`tensor ${quote(name)} is ${dtype}, expected a float type`);
    }
}

/** The value of an IEEE 754 half, computed from its definition. */
function halfValue(bits: number): number {
    const sign = bits >= 0x8000 ? -1 : 1;
    const exponent = Math.floor(bits / 1024) % 32;
    const fraction = (bits % 1024) / 1024;
    if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
    return exponent === 0 ? sign * fraction * 2 ** -14 : sign * (1 + fraction) * 2 ** (exponent - 15);
}

/** Rounds a number to the nearest with `bits` bits of significand: 8 for bfloat16, 11 for a half. */
export function roundTo(value: number, bits: number): number {
    const unit = 2 ** (Math.floor(Math.log2(Math.abs(value))) - bits + 1);
    return Math.round(value / unit) * unit;
}

/** A matrix W to multiply with each row x. */
export type Matrix = {
    outputs: number;
    inputs: number;
    /** [outputs, inputs], or [inputs, outputs] if `transposed` */
    values: Numbers;
    transposed: boolean;
    /** An unmerged adapter, which adds scale · B (A x): A [rank, inputs], B [outputs, rank] */
    lora: { a: Numbers; b: Numbers; rank: number; scale: number } | undefined;
};

/** @param x [rows, inputs] @returns [rows, outputs] */
export function multiply(matrix: Matrix, x: Float64Array, rows: number): Float64Array {
    const { outputs, inputs, values, transposed, lora } = matrix;
    const result = transposed
        ? productTransposed(values, x, rows, inputs, outputs)
        : product(values, x, rows, inputs, outputs);
    if (lora === undefined) return result;
    const inner = product(lora.a, x, rows, inputs, lora.rank);
    const update = product(lora.b, inner, rows, lora.rank, outputs);
    for (let i = 0; i < result.length; i++) result[i]! += lora.scale * update[i]!;
    return result;
}

function product(w: Numbers, x: Float64Array, rows: number, inputs: number, outputs: number): Float64Array {
    const result = new Float64Array(rows * outputs);
    const weight = new Float64Array(inputs);
    for (let o = 0; o < outputs; o++) {
        weight.set(w.subarray(o * inputs, (o + 1) * inputs));
        let row = 0;
        // process four rows at once, to fetch each weight only once for all four
        for (; row + 3 < rows; row += 4) {
            const start = row * inputs;
            let [a, b, c, d] = [0, 0, 0, 0];
            for (let i = 0, at = start; i < inputs; i++, at++) {
                const value = weight[i]!;
                a += value * x[at]!;
                b += value * x[at + inputs]!;
                c += value * x[at + 2 * inputs]!;
                d += value * x[at + 3 * inputs]!;
            }
            const at = row * outputs + o;
            result[at] = a;
            result[at + outputs] = b;
            result[at + 2 * outputs] = c;
            result[at + 3 * outputs] = d;
        }
        for (; row < rows; row++) {
            let sum = 0;
            for (let i = 0; i < inputs; i++) sum += weight[i]! * x[row * inputs + i]!;
            result[row * outputs + o] = sum;
        }
    }
    return result;
}

function productTransposed(w: Numbers, x: Float64Array, rows: number, inputs: number, outputs: number): Float64Array {
    const result = new Float64Array(rows * outputs);
    for (let row = 0; row < rows; row++)
        for (let i = 0; i < inputs; i++) {
            const factor = x[row * inputs + i]!;
            for (let o = 0; o < outputs; o++) result[row * outputs + o]! += factor * w[i * outputs + o]!;
        }
    return result;
}

export const activations = {
    silu: (x: number) => x / (1 + Math.exp(-x)),
    gelu: (x: number) => (x * erfc(-x / Math.SQRT2)) / 2,
    gelu_tanh: (x: number) => (x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)))) / 2
} as const;

/**
 * 1 - erf(x). For x ≥ 0.5 it is exp(-x²) / π · ∫ exp(-x² t²) / (1 + t²) dt over the real line. The trapezoidal rule
 * computes the integral; its error falls off exponentially.
 */
function erfc(x: number): number {
    if (x < 0) return 2 - erfc(-x);
    if (x > 27) return 0;
    if (x < 0.5) return 1 - erfSeries(x);
    // with t = u / x, the integrand is as wide as a Gaussian for every x
    const step = 0.1;
    let sum = 0;
    for (let k = 0; k <= 70; k++) {
        const u = k * step;
        const t = u / x;
        sum += ((k === 0 ? 1 : 2) * Math.exp(-u * u)) / (1 + t * t);
    }
    // correction for the integrand's poles at t = ±i
    const poles = 2 / (1 - Math.exp((2 * Math.PI * x) / step));
    return (Math.exp(-x * x) * sum * step) / (Math.PI * x) + poles;
}

function erfSeries(x: number): number {
    let term = x;
    let sum = x;
    for (let n = 1; n < 40; n++) {
        term *= (-x * x) / n;
        sum += term / (2 * n + 1);
    }
    return (2 * sum) / Math.sqrt(Math.PI);
}
