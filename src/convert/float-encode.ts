import type { GgmlType } from "../formats/gguf/types.js";

/** Tensor types that the converter writes. */
export type TargetType = Extract<GgmlType, "F32" | "F16" | "BF16" | "Q8_0">;

/** Number of elements in a q8_0 block, which has one scale. */
export const Q8_0_BLOCK = 32;
const Q8_0_BYTES = 34;

const HALF_INFINITY = 0x7c00;
const BFLOAT_INFINITY = 0x7f80;

/**
 * Rounds finite float32 values to the target type, to nearest even.
 * @param values for Q8_0, their number must be a multiple of 32
 * @returns the bytes as ggml stores them, or `undefined` if a value is out of the type's range
 */
export function encodeFloats(values: Float32Array, type: TargetType): Uint8Array | undefined {
    switch (type) {
        case "F32":
            return bytesOf(values);
        case "F16":
            return encodeHalf(values);
        case "BF16":
            return encodeBfloat(values);
        case "Q8_0":
            return quantize(values);
    }
}

function encodeHalf(values: Float32Array): Uint8Array | undefined {
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    const result = new Uint16Array(values.length);
    let largest = 0;
    for (let i = 0; i < bits.length; i++) {
        const half = floatBitsToHalf(bits[i]!);
        result[i] = half;
        if ((half & 0x7fff) > largest) largest = half & 0x7fff;
    }
    return largest >= HALF_INFINITY ? undefined : bytesOf(result);
}

function encodeBfloat(values: Float32Array): Uint8Array | undefined {
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    const result = new Uint16Array(values.length);
    let largest = 0;
    for (let i = 0; i < bits.length; i++) {
        const x = bits[i]!;
        const rounded = (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
        result[i] = rounded;
        if ((rounded & 0x7fff) > largest) largest = rounded & 0x7fff;
    }
    return largest >= BFLOAT_INFINITY ? undefined : bytesOf(result);
}

/**
 * Rounds one finite float32, given by its bits, to the nearest float16 (ties to even). Values out of range become
 * infinity.
 */
export function floatBitsToHalf(x: number): number {
    const sign = (x >>> 16) & 0x8000;
    const magnitude = x & 0x7fffffff;
    if (magnitude >= 0x47800000) return sign | HALF_INFINITY;
    if (magnitude >= 0x38800000) {
        // Normal: adding half of the last place, less one if that is even, makes the shift round; a carry moves the
        // exponent.
        return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
    }
    if (magnitude <= 0x33000000) return sign; // up to half of the smallest subnormal
    const shift = 126 - (magnitude >>> 23);
    const mantissa = (magnitude & 0x7fffff) | 0x800000;
    const half = mantissa >>> shift;
    const rest = mantissa & ((1 << shift) - 1);
    const middle = 1 << (shift - 1);
    return sign | (rest > middle || (rest === middle && (half & 1) === 1) ? half + 1 : half);
}

/**
 * ggml's q8_0: each block of 32 values has a float16 scale (largest magnitude / 127). Each value is divided by the
 * scale and rounded to nearest, halves away from zero.
 */
function quantize(values: Float32Array): Uint8Array | undefined {
    const blocks = values.length / Q8_0_BLOCK;
    const result = new Uint8Array(blocks * Q8_0_BYTES);
    const scale = new Float32Array(1);
    const scaleBits = new Uint32Array(scale.buffer);
    for (let block = 0, at = 0; block < blocks; block++) {
        const start = block * Q8_0_BLOCK;
        const end = start + Q8_0_BLOCK;
        let largest = 0;
        for (let i = start; i < end; i++) largest = Math.max(largest, Math.abs(values[i]!));
        scale[0] = largest / 127;
        const half = floatBitsToHalf(scaleBits[0]!);
        if (half === HALF_INFINITY) return undefined;
        result[at++] = half & 0xff;
        result[at++] = half >>> 8;
        // a scale whose inverse overflows is 0 in float16 anyway
        const inverse = Math.fround(1 / scale[0]!);
        const factor = Number.isFinite(inverse) ? inverse : 0;
        for (let i = start; i < end; i++) {
            const scaled = Math.fround(values[i]! * factor);
            result[at++] = scaled < 0 ? -Math.floor(0.5 - scaled) : Math.floor(scaled + 0.5);
        }
    }
    return result;
}

function bytesOf(view: ArrayBufferView): Uint8Array {
    return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
