import { loadAnyEngine } from "../../plugin/native/library.js";
import { type GgmlType, ggmlType } from "../formats/gguf/types.js";
import { decodeFloats, decodeQ8_0 } from "./float-decode.js";

const noWeights: ReadonlySet<GgmlType> = new Set(["I8", "I16", "I32", "I64"]);

/** Whether a tensor type stands for real numbers. */
export function isWeightType(type: GgmlType): boolean {
    return !noWeights.has(type);
}

/**
 * Elements of a tensor of any weight type as float32, as ggml computes them.
 * @param bytes whole blocks
 * @throws {Error} if blocks are damaged
 */
export async function decodeWeights(bytes: Buffer, type: GgmlType): Promise<Float32Array> {
    switch (type) {
        case "F64":
        case "F32":
        case "F16":
        case "BF16":
            return decodeFloats(bytes, type);
        case "Q8_0":
            return decodeQ8_0(bytes);
        default: {
            const { addon } = await loadAnyEngine();
            return decodeFloats(await addon.dequantize(ggmlType(type).id, bytes), "F32");
        }
    }
}
