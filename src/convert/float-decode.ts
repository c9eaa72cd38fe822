import { type Dtype, dtypeSizes } from "../formats/safetensors/dtypes.js";

/** Element types that weights may have. */
export const floatDtypes = ["F64", "F32", "F16", "BF16"] as const;
export type FloatDtype = (typeof floatDtypes)[number];

export function isFloatDtype(dtype: Dtype): dtype is FloatDtype {
    return floatDtypes.some((name) => name === dtype);
}

let halfTable: Uint32Array | undefined;

/**
 * Decodes elements to float32. The result is exact except for F64, which is rounded to nearest even. It may share
 * memory with `bytes`.
 */
export function decodeFloats(bytes: Buffer, dtype: FloatDtype): Float32Array {
    const length = bytes.byteLength / dtypeSizes[dtype];
    // a view needs aligned elements, and pooled buffers are not always aligned
    const { buffer, byteOffset } = bytes.byteOffset % 8 === 0 ? bytes : Uint8Array.from(bytes);
    switch (dtype) {
        case "F32":
            return new Float32Array(buffer, byteOffset, length);
        case "F64":
            return new Float32Array(new Float64Array(buffer, byteOffset, length));
        case "BF16":
            return widen(new Uint16Array(buffer, byteOffset, length));
        case "F16":
            return lookUp(new Uint16Array(buffer, byteOffset, length));
    }
}

/** Size of a q8_0 block: a float16 scale and 32 signed integers. Unit: bytes. */
const q8Bytes = 34;

/** Decodes ggml's q8_0 to float32: each element is its integer times its block's scale. */
export function decodeQ8_0(bytes: Buffer): Float32Array {
    const blocks = bytes.byteLength / q8Bytes;
    const values = new Float32Array(32 * blocks);
    const scales = Buffer.alloc(2 * blocks);
    for (let block = 0; block < blocks; block++) bytes.copy(scales, 2 * block, q8Bytes * block, q8Bytes * block + 2);
    const scale = decodeFloats(scales, "F16");
    for (let i = 0; i < values.length; i++)
        values[i] = scale[i >> 5]! * bytes.readInt8(q8Bytes * (i >> 5) + 2 + (i & 31));
    return values;
}

function widen(source: Uint16Array): Float32Array {
    const bits = new Uint32Array(source.length);
    for (let i = 0; i < source.length; i++) bits[i] = source[i]! << 16;
    return new Float32Array(bits.buffer);
}

function lookUp(source: Uint16Array): Float32Array {
    halfTable ??= Uint32Array.from({ length: 65_536 }, (_, half) => halfToFloatBits(half));
    const bits = new Uint32Array(source.length);
    for (let i = 0; i < source.length; i++) bits[i] = halfTable[source[i]!]!;
    return new Float32Array(bits.buffer);
}

function halfToFloatBits(half: number): number {
    const sign = (half & 0x8000) << 16;
    const exponent = (half >>> 10) & 0x1f;
    const mantissa = half & 0x3ff;
    if (exponent === 0x1f) return sign | 0x7f800000 | (mantissa << 13);
    if (exponent !== 0) return sign | ((exponent + 112) << 23) | (mantissa << 13);
    const magnitude = new Uint32Array(Float32Array.of(mantissa * 2 ** -24).buffer)[0]!;
    return sign | magnitude;
}

/** Index of the first NaN or infinity, or -1 if all values are finite. */
export function findNonFinite(values: Float32Array): number {
    // 0 · NaN and 0 · infinity are NaN and stay in the sum, so the usual case takes one pass without a branch
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += values[i]! * 0;
    return sum === 0 ? -1 : values.findIndex((value) => !Number.isFinite(value));
}
