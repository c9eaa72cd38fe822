/** Little-endian elements of a safetensors type as float64. */
export function decodeNumbers(dtype: string, bytes: Buffer): Float64Array {
    switch (dtype) {
        case "F32":
            return Float64Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
        case "F64":
            return Float64Array.from({ length: bytes.length / 8 }, (_, i) => bytes.readDoubleLE(8 * i));
        case "I32":
            return Float64Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readInt32LE(4 * i));
        case "F16":
            return Float64Array.from({ length: bytes.length / 2 }, (_, i) => decodeHalf(bytes.readUInt16LE(2 * i)));
        case "BF16":
            return Float64Array.from({ length: bytes.length / 2 }, (_, i) => decodeBrain(bytes.readUInt16LE(2 * i)));
        default:
            throw new Error(`numbers of type ${dtype} are not decoded here`);
    }
}

function decodeHalf(bits: number): number {
    const sign = bits >> 15 === 1 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN;
    return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

function decodeBrain(bits: number): number {
    const single = new DataView(new ArrayBuffer(4));
    single.setUint32(0, bits << 16);
    return single.getFloat32(0);
}
