import { loadAnyEngine } from "../../plugin/native/library.js";
import type { ArmtConfig } from "../convert/armt-config.js";
import type { BaseConfig } from "../convert/base-config.js";
import { encodeFloats } from "../convert/float-encode.js";
import { LayoutPlan, type PlannedTensor, type PlanSource } from "../convert/layout.js";
import { modelKeys } from "../convert/metadata.js";
import { canonicalName } from "../convert/names.js";
import { paddingToken, tokenTypes } from "../convert/tokenizer/vocabulary.js";
import { MEMORY_EPSILON } from "../formats/gguf/armt-keys.js";
import { type GgmlType, ggmlType, tensorByteLength } from "../formats/gguf/types.js";
import { type GgufWriteValue, numberArray, stringArray, writeGguf } from "../formats/gguf/writer.js";
import { resolveTinyOptions } from "../tiny/options.js";
import { listTensors } from "../tiny/weights.js";
import { ArmtError } from "../util/errors.js";
import { normalValues, seededRandom } from "../util/random.js";
import type { ResolvedShape } from "./shapes.js";

/** Types of the large matrices of a random model. */
export const weightTypes = ["bf16", "f16", "q8_0", "q4_0"] as const;
export type WeightType = (typeof weightTypes)[number];

/** llama.cpp's `llama_ftype`. */
const fileTypes: Readonly<Record<WeightType, number>> = { f16: 1, q4_0: 2, q8_0: 7, bf16: 32 };

/**
 * Number of distinct random values of each kind, a multiple of every block size. Large matrices repeat the values from
 * random offsets.
 */
const poolElements = 2 ** 20;

/** Largest piece of a tensor to write at once. Unit: bytes. */
const pieceBytes = 8 * 2 ** 20;

export interface SyntheticOptions {
    shape: ResolvedShape;
    type: WeightType;
    output: string;
    signal?: AbortSignal;
    /** Called with the number of bytes written so far and in total. */
    onProgress?: (done: number, total: number) => void;
}

interface RandomSource extends PlanSource {
    readonly mean: number;
    readonly deviation: number;
}

/**
 * Writes an ARMT model with random weights. Times depend only on shapes and types. The values have the scales of a
 * trained model, so that nothing overflows and the device draws realistic power.
 */
export async function writeSyntheticModel({
    shape,
    type,
    output,
    signal,
    onProgress
}: SyntheticOptions): Promise<void> {
    const config = resolveTinyOptions({ ...shape, headDim: shape.headDim, tokenizer: false });
    const sources = new Map<string, RandomSource>(
        listTensors(config).map((tensor) => [canonicalName(tensor.name)!, tensor])
    );
    const { base, armt } = configs(shape, config.headDim);
    // the converter has no q4_0: plan with q8_0, which q4_0 then replaces
    const planType = { bf16: "BF16", f16: "F16", q8_0: "Q8_0", q4_0: "Q8_0" } as const;
    const plan = new LayoutPlan(sources, base, armt, planType[type]);
    const metadata = modelKeys(base, armt, plan, planType[type], undefined);
    metadata.set("general.file_type", { type: "UINT32", value: fileTypes[type] });
    for (const [key, value] of byteTokenizer(shape.vocab)) metadata.set(key, value);

    const typeOf = (tensor: PlannedTensor<RandomSource>): GgmlType =>
        type === "q4_0" && tensor.type === "Q8_0" ? "Q4_0" : tensor.type;
    const total = plan.tensors.reduce(
        (sum, tensor) => sum + tensorByteLength(ggmlType(typeOf(tensor)), tensor.shape),
        0
    );
    let done = 0;
    const pools = new Pools();
    const tensors = plan.tensors.map((tensor) => ({
        name: tensor.name,
        type: typeOf(tensor),
        shape: tensor.shape,
        data: async function* () {
            for await (const bytes of randomBytes(tensor, typeOf(tensor), pools)) {
                signal?.throwIfAborted();
                yield bytes;
                done += bytes.byteLength;
                onProgress?.(done, total);
            }
        }
    }));
    await writeGguf(output, { metadata, tensors, fingerprint: true });
}

function configs(shape: ResolvedShape, headSize: number): { base: BaseConfig; armt: ArmtConfig } {
    const { ropeTheta, ropeFactor } = shape;
    return {
        base: {
            architecture: "llama",
            vocabSize: shape.vocab,
            hiddenSize: shape.hidden,
            layerCount: shape.layers,
            headCount: shape.heads,
            kvHeadCount: shape.kvHeads,
            headSize,
            feedForwardSize: shape.ffn,
            activation: "silu",
            normEpsilon: 1e-5,
            rope: {
                theta: ropeTheta,
                dimensions: headSize,
                local: undefined,
                scaling:
                    ropeFactor === undefined
                        ? undefined
                        : {
                              type: "llama3",
                              factor: ropeFactor,
                              lowFreqFactor: 1,
                              highFreqFactor: 4,
                              originalContext: 8192
                          }
            },
            biases: { qkv: false, output: false, mlp: false },
            parallel: false,
            positionCount: undefined,
            attentionScale: undefined,
            slidingWindow: undefined,
            transformersVersion: undefined,
            tiedEmbeddings: shape.tied
        },
        armt: {
            memoryKind: "associative",
            segmentSize: shape.segmentSize,
            segmentAlignment: "left",
            headCount: 1,
            normalizeKeys: true,
            useDenom: true,
            correction: true,
            gating: false,
            memoryEpsilon: MEMORY_EPSILON,
            wrapPositions: false,
            positionsContinue: false,
            memoryAttendsToText: true,
            sink: false,
            slidingWindow: false,
            rereadsPrevious: false,
            dialect: "outer",
            layersWithMemory: undefined,
            memoryTokens: shape.memTokens,
            memoryKeySize: shape.dMem
        }
    };
}

async function* randomBytes(
    tensor: PlannedTensor<RandomSource>,
    type: GgmlType,
    pools: Pools
): AsyncGenerator<Uint8Array, void, void> {
    if (tensor.contents instanceof Float32Array) {
        yield encodeFloats(tensor.contents, "F32")!;
        return;
    }
    const { blockSize, blockBytes } = ggmlType(type);
    for (const { tensor: source } of tensor.contents) {
        const { name, shape, mean, deviation } = source;
        const pool = await pools.get(type, mean, deviation);
        const random = seededRandom(1, name);
        const blocks = pool.byteLength / blockBytes;
        let left = (shape.reduce((product, n) => product * n, 1) / blockSize) * blockBytes;
        while (left > 0) {
            const start = Math.floor(random() * blocks) * blockBytes;
            const end = Math.min(start + Math.min(left, pieceBytes), pool.byteLength);
            yield pool.subarray(start, end);
            left -= end - start;
        }
    }
}

/** Pools of encoded random values, by type, mean and deviation. */
class Pools {
    private readonly pools = new Map<string, Promise<Uint8Array>>();

    get(type: GgmlType, mean: number, deviation: number): Promise<Uint8Array> {
        const key = `${type} ${mean} ${deviation}`;
        let pool = this.pools.get(key);
        if (pool === undefined) {
            pool = encodePool(type, normalValues(seededRandom(1, key), poolElements, mean, deviation));
            this.pools.set(key, pool);
        }
        return pool;
    }
}

async function encodePool(type: GgmlType, values: Float32Array): Promise<Uint8Array> {
    if (type === "F32" || type === "F16" || type === "BF16" || type === "Q8_0") {
        const bytes = encodeFloats(values, type);
        if (bytes === undefined) throw new ArmtError(`a random weight is beyond the range of ${type}`);
        return bytes;
    }
    const { addon } = await loadAnyEngine();
    return await addon.quantize(ggmlType(type).id, values, 256);
}

/** Smallest vocabulary of a byte tokenizer. Unit: tokens. */
export const byteTokenizerSize = 3 + 256 + 1;

/** A byte tokenizer as large as the model's vocabulary. Without one, the published libllama aborts the process. */
export function byteTokenizer(vocab: number): Map<string, GgufWriteValue> {
    const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
    const { unknown, control, byte, normal, unused } = tokenTypes;
    const tokens = ["<unk>", "<s>", "</s>", ...bytes, "▁"];
    const types: number[] = [unknown, control, control, ...bytes.map(() => byte), normal];
    while (tokens.length < vocab) {
        types.push(unused);
        tokens.push(paddingToken(tokens.length).text);
    }
    return new Map<string, GgufWriteValue>([
        ["tokenizer.ggml.model", { type: "STRING", value: "llama" }],
        ["tokenizer.ggml.tokens", stringArray(tokens)],
        [
            "tokenizer.ggml.scores",
            numberArray(
                "FLOAT32",
                tokens.map(() => 0)
            )
        ],
        ["tokenizer.ggml.token_type", numberArray("INT32", types)],
        ["tokenizer.ggml.bos_token_id", { type: "UINT32", value: 1 }],
        ["tokenizer.ggml.eos_token_id", { type: "UINT32", value: 2 }],
        ["tokenizer.ggml.add_bos_token", { type: "BOOL", value: false }],
        ["tokenizer.ggml.add_space_prefix", { type: "BOOL", value: false }]
    ]);
}
