import { copyTokenizer } from "../convert/tokenizer/from-gguf.js";
import type { ArmtModelKeys } from "../formats/gguf/armt-keys.js";
import { validateArmtFile } from "../formats/gguf/armt-model.js";
import { type GgufFile, openGguf } from "../formats/gguf/reader.js";
import type { GgufTensorInfo } from "../formats/gguf/types.js";
import { type GgufTensorData, type GgufWriteValue, writeGguf } from "../formats/gguf/writer.js";
import { ArmtError, quote } from "../util/errors.js";
import { byteTokenizer, byteTokenizerSize } from "./synthetic.js";

/**
 * llama.cpp's architecture for each family's plain models. If its RoPE rotates pairs of neighbours, the rows of Q and K
 * must be permuted.
 */
const architectures: Readonly<Record<string, { name: string; neighbours: boolean }>> = {
    llama: { name: "llama", neighbours: true },
    mistral: { name: "llama", neighbours: true },
    qwen2: { name: "qwen2", neighbours: false }
};

/** Default of llama.cpp's loader. Unit: tokens. */
const contextLength = 131_072;

/** The rows of one layer's matrix or vector within a stack of layers. */
interface Rows {
    readonly first: number;
    readonly count: number;
    /** Head size, if the two halves of each head must be interleaved. */
    readonly permute?: number;
}

/**
 * Writes the base model of an ARMT model file as a plain file that stock llama.cpp runs at full speed. The weights and
 * their types stay the same.
 * @throws {ArmtError} if the family has no known plain form
 */
export async function writePlainGguf(model: string, output: string): Promise<void> {
    const file = await openGguf(model);
    try {
        const info = validateArmtFile(file);
        const architecture = architectures[info.baseArchitecture];
        if (architecture === undefined)
            throw new ArmtError(
                `${quote(model)} has a base model of the family ${quote(info.baseArchitecture)}, which cannot be ` +
                    "written as a plain file; measure without it (--no-stock)"
            );
        const hasTokenizer = file.metadata.has("tokenizer.ggml.tokens");
        if (!hasTokenizer && info.vocabSize < byteTokenizerSize)
            throw new ArmtError(
                `${quote(model)} has no tokenizer, and its vocabulary of ${info.vocabSize} has no room for one of ` +
                    "bytes, without which stock llama.cpp does not run; measure without it (--no-stock)"
            );
        const tokenizer = hasTokenizer ? await copyTokenizer(model, info.vocabSize) : byteTokenizer(info.vocabSize);
        const metadata = new Map([...plainKeys(file, info, architecture.name), ...tokenizer]);
        await writeGguf(output, { metadata, tensors: plainTensors(file, info, architecture.neighbours) });
    } finally {
        await file.close();
    }
}

function plainTensors(file: GgufFile, info: ArmtModelKeys, neighbours: boolean): GgufTensorData[] {
    const { headCount, headCountKv, headSize, feedForwardLength, embeddingLength } = info;
    const queries = headCount * headSize;
    const keys = headCountKv * headSize;
    const permute = neighbours ? headSize : undefined;
    const tensors: GgufTensorData[] = [];
    for (const name of ["token_embd.weight", "output_norm.weight", "output.weight", "rope_freqs.weight"]) {
        const tensor = file.tensors.get(name);
        if (tensor !== undefined) tensors.push(copy(file, name, tensor));
    }
    const parts: readonly [kind: string, name: string, rows: Rows][] = [
        ["attn_qkv", "attn_q", { first: 0, count: queries, permute }],
        ["attn_qkv", "attn_k", { first: queries, count: keys, permute }],
        ["attn_qkv", "attn_v", { first: queries + keys, count: keys }],
        ["attn_output", "attn_output", { first: 0, count: embeddingLength }],
        ["ffn_up", "ffn_gate", { first: 0, count: feedForwardLength }],
        ["ffn_up", "ffn_up", { first: feedForwardLength, count: feedForwardLength }],
        ["ffn_down", "ffn_down", { first: 0, count: embeddingLength }]
    ];
    for (let layer = 0; layer < info.blockCount; layer++) {
        for (const kind of ["attn_norm", "ffn_norm"]) {
            const found = stackOf(file, `${kind}.weight`, layer)!;
            tensors.push(slice(file, found, `blk.${layer}.${kind}.weight`, { first: 0, count: embeddingLength }, 1));
        }
        for (const [kind, name, rows] of parts) {
            for (const [suffix, dimensions] of [
                ["weight", 2],
                ["bias", 1]
            ] as const) {
                const found = stackOf(file, `${kind}.${suffix}`, layer);
                if (found !== undefined)
                    tensors.push(slice(file, found, `blk.${layer}.${name}.${suffix}`, rows, dimensions));
            }
        }
    }
    return tensors;
}

interface Stack {
    readonly name: string;
    readonly tensor: GgufTensorInfo;
    /** The layer's place in the stack. */
    readonly index: number;
}

/** The stack that holds a layer: the last stack that begins at or before it. */
function stackOf(file: GgufFile, kind: string, layer: number): Stack | undefined {
    for (let first = layer; first >= 0; first--) {
        const name = `blk.${first}.${kind}`;
        const tensor = file.tensors.get(name);
        if (tensor !== undefined) return { name, tensor, index: layer - first };
    }
    return undefined;
}

function copy(file: GgufFile, name: string, { type, shape }: GgufTensorInfo): GgufTensorData {
    return {
        name,
        type: type.name,
        shape,
        data: async function* () {
            yield* pieces(file, name, 0, file.tensors.get(name)!.byteLength);
        }
    };
}

/** @param dimensions 2 for the rows of a matrix, 1 for the elements of a vector (rows of one element) */
function slice(
    file: GgufFile,
    { name: source, tensor, index }: Stack,
    name: string,
    { first, count, permute }: Rows,
    dimensions: 1 | 2
): GgufTensorData {
    const { type, shape } = tensor;
    const rowBytes = dimensions === 2 ? (shape[0]! / type.blockSize) * type.blockBytes : type.blockBytes;
    const rowsOfLayer = dimensions === 2 ? shape[1]! : shape[0]!;
    const start = (index * rowsOfLayer + first) * rowBytes;
    return {
        name,
        type: type.name,
        shape: dimensions === 2 ? [shape[0]!, count] : [count],
        data: async function* () {
            if (permute === undefined) yield* pieces(file, source, start, start + count * rowBytes);
            else yield joinHalves(await file.readTensor(source, start, start + count * rowBytes), rowBytes, permute);
        }
    };
}

async function* pieces(
    file: GgufFile,
    name: string,
    start: number,
    end: number
): AsyncGenerator<Uint8Array, void, void> {
    const step = 8 * 2 ** 20;
    for (let at = start; at < end; at += step) yield await file.readTensor(name, at, Math.min(at + step, end));
}

/** Rows i and i + size / 2 of each head become neighbours. */
function joinHalves(bytes: Buffer, rowBytes: number, size: number): Buffer {
    const result = Buffer.alloc(bytes.length);
    for (let row = 0; row * rowBytes < bytes.length; row++) {
        const inHead = row % size;
        const target = row - inHead + 2 * (inHead % (size / 2)) + Math.floor(inHead / (size / 2));
        bytes.copy(result, target * rowBytes, row * rowBytes, (row + 1) * rowBytes);
    }
    return result;
}

function plainKeys(file: GgufFile, info: ArmtModelKeys, architecture: string): Map<string, GgufWriteValue> {
    const numbers = {
        vocab_size: info.vocabSize,
        context_length: contextLength,
        embedding_length: info.embeddingLength,
        block_count: info.blockCount,
        feed_forward_length: info.feedForwardLength,
        "attention.head_count": info.headCount,
        "attention.head_count_kv": info.headCountKv,
        "attention.key_length": info.headSize,
        "attention.value_length": info.headSize,
        "rope.dimension_count": info.headSize
    };
    const keys = new Map<string, GgufWriteValue>([["general.architecture", { type: "STRING", value: architecture }]]);
    for (const key of ["general.file_type", "general.quantization_version"]) {
        const value = file.metadata.get(key);
        if (value?.type === "UINT32") keys.set(key, value);
    }
    for (const [key, value] of Object.entries(numbers)) keys.set(`${architecture}.${key}`, { type: "UINT32", value });
    keys.set(`${architecture}.attention.layer_norm_rms_epsilon`, { type: "FLOAT32", value: info.normEpsilon });
    const { positions } = info;
    if (positions.type === "rope") {
        keys.set(`${architecture}.rope.freq_base`, { type: "FLOAT32", value: positions.freqBase });
        if (positions.linearFactor !== 1) {
            keys.set(`${architecture}.rope.scaling.type`, { type: "STRING", value: "linear" });
            keys.set(`${architecture}.rope.scaling.factor`, { type: "FLOAT32", value: positions.linearFactor });
        }
    }
    return keys;
}
