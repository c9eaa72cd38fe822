import { loadAnyEngine } from "../../../plugin/native/library.js";
import { validateArmtFile } from "../../formats/gguf/armt-model.js";
import { verifyFingerprint } from "../../formats/gguf/fingerprint.js";
import { type GgufFile, openGguf } from "../../formats/gguf/reader.js";
import { copyMetadata } from "../../formats/gguf/rewrite.js";
import { ggmlType } from "../../formats/gguf/types.js";
import { type GgufWriteValue, writeGguf } from "../../formats/gguf/writer.js";
import { ArmtError, quote } from "../../util/errors.js";
import { keepInputs } from "../../util/keep-inputs.js";
import { decodeFloats, decodeQ8_0, type FloatDtype, findNonFinite } from "../float-decode.js";
import { encodeFloats } from "../float-encode.js";
import { fileTypes, isWideType, type MemoryType, type QuantizeTarget } from "./mixtures.js";
import { type PlannedTensor, planTensors } from "./plan.js";

/** ggml's version number of the quantized formats. */
const quantizationVersion = 2;
const quantizationVersionKey = "general.quantization_version";
/** Number of elements that are quantized at once. */
const chunkElements = 2 ** 20;

export interface QuantizeOptions {
    /** ARMT model file with f32, f16 or bf16 weights. */
    input: string;
    /** File to write. */
    output: string;
    mixture: QuantizeTarget;
    /** Type of the memory's projections. Default: the type of all weights if it has 16 bits, otherwise `"q8_0"`. */
    memoryType?: MemoryType;
    /** Whether to accept an input with q8_0 weights. Their rounding errors remain in the output. Default: `false`. */
    requantize?: boolean;
    /** Whether to replace an existing output. Default: `false`. */
    overwrite?: boolean;
    /** Receives the number of bytes of the input processed so far, and the total. */
    onProgress?: (done: number, total: number) => void;
    signal?: AbortSignal;
}

/**
 * Writes a model file with smaller weights. ggml rounds them as `llama-quantize` does. Weights are streamed.
 * @throws {ArmtError} that names the file or tensor at fault; no output is left then
 */
export async function quantizeModel(options: QuantizeOptions): Promise<void> {
    const { input, output, mixture, requantize = false, overwrite = false } = options;
    keepInputs(output, [input]);
    const memory = options.memoryType ?? (isWideType(mixture) ? mixture : "q8_0");
    const file = await openGguf(input);
    try {
        const { blockCount } = validateArmtFile(file);
        // otherwise a damaged input would get a valid fingerprint
        await verifyFingerprint(input);
        const plan = planTensors(file, blockCount, { target: mixture, memory, requantize });
        let done = 0;
        const onBytes = (count: number) => {
            done += count;
            options.onProgress?.(done, file.size);
        };
        const tensors = plan.map((tensor) => ({
            ...tensor,
            data: () => stream(file, tensor, onBytes, options.signal)
        }));
        const metadata = await metadataOf(file, mixture);
        await writeGguf(output, { metadata, tensors, fingerprint: true }, { overwrite });
    } finally {
        await file.close();
    }
}

async function metadataOf(file: GgufFile, mixture: QuantizeTarget): Promise<Map<string, GgufWriteValue>> {
    const metadata = await copyMetadata(file);
    metadata.delete(quantizationVersionKey);
    metadata.set("general.file_type", { type: "UINT32", value: fileTypes[mixture] });
    if (!isWideType(mixture)) metadata.set(quantizationVersionKey, { type: "UINT32", value: quantizationVersion });
    return metadata;
}

async function* stream(
    file: GgufFile,
    { source, type, shape, firstRow, rows }: PlannedTensor,
    onBytes: (count: number) => void,
    signal: AbortSignal | undefined
): AsyncGenerator<Uint8Array> {
    const { type: from } = file.tensors.get(source)!;
    const rowLength = shape[0]!;
    const rowBytes = (rowLength / from.blockSize) * from.blockBytes;
    const step = Math.max(1, Math.floor(chunkElements / rowLength));
    for (let row = firstRow; row < firstRow + rows; row += step) {
        signal?.throwIfAborted();
        const end = Math.min(row + step, firstRow + rows);
        const bytes = await file.readTensor(source, row * rowBytes, end * rowBytes);
        yield from.name === type
            ? bytes
            : await encode(source, bytes, from.name as FloatDtype | "Q8_0", type, rowLength);
        onBytes(bytes.byteLength);
    }
}

async function encode(
    name: string,
    bytes: Buffer,
    from: FloatDtype | "Q8_0",
    type: PlannedTensor["type"],
    rowLength: number
): Promise<Uint8Array> {
    const values = from === "Q8_0" ? decodeQ8_0(bytes) : decodeFloats(bytes, from);
    if (findNonFinite(values) >= 0) throw new ArmtError(`tensor ${quote(name)} holds values that are not finite`);
    if (type === "F32" || type === "F16" || type === "BF16") {
        const encoded = encodeFloats(values, type);
        if (encoded === undefined) throw new ArmtError(`tensor ${quote(name)} has values beyond the range of ${type}`);
        return encoded;
    }
    const { addon } = await loadAnyEngine();
    return addon.quantize(ggmlType(type).id, values, rowLength);
}
