import { ArmtError, quote } from "../../util/errors.js";
import { type ArmtModelKeys, readArmtKeys } from "./armt-keys.js";
import { type GgufFile, openGguf } from "./reader.js";
import type { GgmlType, GgufTensorInfo } from "./types.js";

export type { ArmtAskForm, ArmtModelKeys } from "./armt-keys.js";

/** Which types a tensor may have: any weight type, at least 16 bits, or float32. */
type Precision = "out" | "memory" | "full";
type Requirement = { shape: number[]; precision: Precision; optional?: boolean };

/** Types that hold no weights: ggml multiplies by none of them. Q8_1 and Q8_K are for intermediate results. */
const otherTypes: ReadonlySet<GgmlType> = new Set(["I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K"]);
const memoryTypes: ReadonlySet<GgmlType> = new Set(["F32", "F16", "BF16"]);
const stackPattern = /^blk\.(?<layer>0|[1-9]\d{0,3})\.(?<kind>.+)$/;

/**
 * Checks a model file against docs/model-file.md before anything native reads it: all keys, and name, shape and type of
 * every tensor. The weights themselves are not read.
 * @throws {ArmtError} that names the file and the key or tensor at fault; for other models than ARMT too
 */
export async function validateArmtModel(path: string): Promise<ArmtModelKeys> {
    const file = await openGguf(path);
    try {
        return validateArmtFile(file);
    } finally {
        await file.close();
    }
}

/** The same for an open file. */
export function validateArmtFile(file: GgufFile): ArmtModelKeys {
    try {
        const info = readArmtKeys(file);
        checkAlignment(file);
        checkTokenizer(file, info);
        checkTensors(file, info);
        return info;
    } catch (error) {
        if (!(error instanceof ArmtError)) throw error;
        throw new ArmtError(`bad ARMT model ${quote(file.path)}: ${error.message}`, { cause: error });
    }
}

/** ggml asserts that a buffer, which may be the mapped file, begins at a multiple of this. Unit: bytes. */
const minAlignment = 32;

function checkAlignment({ metadata }: GgufFile): void {
    const alignment = metadata.get("general.alignment");
    if (alignment?.type === "UINT32" && alignment.value < minAlignment)
        throw new ArmtError(`\`general.alignment\` is ${alignment.value}, expected ${minAlignment} or more`);
}

function checkTokenizer(file: GgufFile, { vocabSize }: ArmtModelKeys): void {
    const model = file.metadata.get("tokenizer.ggml.model");
    if (model?.type !== "STRING") throw new ArmtError("key `tokenizer.ggml.model` is missing or not a STRING");
    if (model.value === "no_vocab") return;
    if (model.value !== "llama" && model.value !== "gpt2")
        throw new ArmtError(
            `\`tokenizer.ggml.model\` is ${quote(model.value)}, expected "llama", "gpt2" or "no_vocab"`
        );
    const tokens = file.metadata.get("tokenizer.ggml.tokens");
    if (tokens?.type !== "ARRAY" || tokens.elementType !== "STRING")
        throw new ArmtError("key `tokenizer.ggml.tokens` is missing or not an array of STRING");
    if (tokens.count !== vocabSize)
        throw new ArmtError(`\`tokenizer.ggml.tokens\` has ${tokens.count} entries, expected ${vocabSize}`);
}

function checkTensors(file: GgufFile, info: ArmtModelKeys): void {
    const single = singleTensors(info);
    const stacked = stackedTensors(info);
    const stacks = new Map<string, Map<number, GgufTensorInfo>>();
    for (const [name, tensor] of file.tensors) {
        const requirement = single.get(name);
        const { layer, kind = "" } = stackPattern.exec(name)?.groups ?? {};
        if (requirement !== undefined) checkTensor(name, tensor, requirement);
        else if (stacked.has(kind)) stacks.set(kind, (stacks.get(kind) ?? new Map()).set(Number(layer), tensor));
        else throw new ArmtError(`unknown tensor ${quote(name)}`);
    }
    for (const [name, { optional }] of single) {
        if (optional !== true && !file.tensors.has(name)) throw new ArmtError(`tensor ${quote(name)} is missing`);
    }
    for (const [kind, requirement] of stacked) checkStacks(kind, requirement, stacks.get(kind), info.blockCount);
    const [query, key] = ["attn_q_norm.weight", "attn_k_norm.weight"];
    if (stacks.has(query) !== stacks.has(key))
        throw new ArmtError(`tensor ${quote(`blk.0.${stacks.has(query) ? key : query}`)} is missing`);
}

/** The stacks of one kind must hold every layer once: each ends where the next one begins. */
function checkStacks(
    kind: string,
    requirement: Requirement,
    stacks: ReadonlyMap<number, GgufTensorInfo> | undefined,
    layerCount: number
): void {
    if (stacks === undefined && requirement.optional === true) return;
    const starts = [...(stacks?.keys() ?? [])].sort((a, b) => a - b);
    if (starts[0] !== 0) throw new ArmtError(`tensor ${quote(`blk.0.${kind}`)} is missing`);
    starts.forEach((start, i) => {
        const end = starts[i + 1] ?? layerCount;
        const shape = [...requirement.shape, end - start];
        if (end > layerCount || start >= layerCount)
            throw new ArmtError(`tensor ${quote(`blk.${start}.${kind}`)} is beyond the model's ${layerCount} layers`);
        checkTensor(`blk.${start}.${kind}`, stacks!.get(start)!, { ...requirement, shape });
    });
}

function checkTensor(name: string, { type, shape }: GgufTensorInfo, { shape: expected, precision }: Requirement): void {
    if (withoutOnes(shape) !== withoutOnes(expected))
        throw new ArmtError(`tensor ${quote(name)} is [${shape.join(", ")}], expected [${expected.join(", ")}]`);
    const allowed =
        precision === "full"
            ? type.name === "F32"
            : precision === "memory"
              ? memoryTypes.has(type.name)
              : !otherTypes.has(type.name);
    const wanted = { full: "F32", memory: "F32, F16 or BF16", out: "a type for weights" }[precision];
    if (!allowed) throw new ArmtError(`tensor ${quote(name)} is ${type.name}, expected ${wanted}`);
}

/** A shape as text, without trailing dimensions of 1. */
function withoutOnes(shape: readonly number[]): string {
    return shape.slice(0, shape.findLastIndex((n) => n !== 1) + 1).join();
}

function singleTensors(info: ArmtModelKeys): Map<string, Requirement> {
    const { embeddingLength, vocabSize, positions, memory, sinkCount } = info;
    const ofPositions: [string, Requirement] =
        positions.type === "learned"
            ? ["position_embd.weight", { shape: [embeddingLength, positions.count], precision: "memory" }]
            : ["rope_freqs.weight", { shape: [positions.dimensions / 2], precision: "full", optional: true }];
    return new Map<string, Requirement>([
        ofPositions,
        ["token_embd.weight", { shape: [embeddingLength, vocabSize], precision: "out" }],
        ["memory_embd.weight", { shape: [embeddingLength, memory.tokenCount + sinkCount], precision: "memory" }],
        ["output_norm.weight", { shape: [embeddingLength], precision: "full" }],
        ["output_norm.bias", { shape: [embeddingLength], precision: "full", optional: true }],
        ["output.weight", { shape: [embeddingLength, vocabSize], precision: "out", optional: true }]
    ]);
}

function stackedTensors(info: ArmtModelKeys): Map<string, Requirement> {
    const { embeddingLength: d, feedForwardLength: f, headCount, headCountKv, headSize, memory } = info;
    const up = info.gated ? 2 * f : f;
    const qkv = (headCount + 2 * headCountKv) * headSize;
    const betaCount = memory.gating ? d : memory.headCount;
    return new Map<string, Requirement>([
        ["attn_norm.weight", { shape: [d], precision: "full" }],
        ["attn_norm.bias", { shape: [d], precision: "full", optional: true }],
        ["attn_qkv.weight", { shape: [d, qkv], precision: "out" }],
        ["attn_qkv.bias", { shape: [qkv], precision: "full", optional: true }],
        ["attn_q_norm.weight", { shape: [headSize], precision: "full", optional: true }],
        ["attn_k_norm.weight", { shape: [headSize], precision: "full", optional: true }],
        ["attn_output.weight", { shape: [headCount * headSize, d], precision: "out" }],
        ["attn_output.bias", { shape: [d], precision: "full", optional: true }],
        ["post_attention_norm.weight", { shape: [d], precision: "full", optional: true }],
        ["post_ffw_norm.weight", { shape: [d], precision: "full", optional: true }],
        ["ffn_norm.weight", { shape: [d], precision: "full" }],
        ["ffn_norm.bias", { shape: [d], precision: "full", optional: true }],
        ["ffn_up.weight", { shape: [d, up], precision: "out" }],
        ["ffn_up.bias", { shape: [up], precision: "full", optional: true }],
        ["ffn_down.weight", { shape: [f, d], precision: "out" }],
        ["ffn_down.bias", { shape: [d], precision: "full", optional: true }],
        ...(memory.kind === "recurrent" ? [] : associativeTensors(d, memory.keyLength, betaCount))
    ]);
}

function associativeTensors(d: number, keyLength: number, betaCount: number): [string, Requirement][] {
    return [
        ["memory_q.weight", { shape: [d, keyLength], precision: "out" }],
        ["memory_k.weight", { shape: [d, keyLength], precision: "out" }],
        ["memory_v.weight", { shape: [d, d], precision: "out" }],
        ["memory_b.weight", { shape: [d, betaCount], precision: "memory" }],
        ["memory_b.bias", { shape: [betaCount], precision: "full" }]
    ];
}
