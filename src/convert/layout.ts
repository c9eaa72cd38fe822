import { ArmtError, quote } from "../util/errors.js";
import type { ArmtConfig } from "./armt-config.js";
import type { BaseConfig } from "./base-config.js";
import type { SourceTensor } from "./checkpoint.js";
import { type Family, families } from "./families.js";
import { Q8_0_BLOCK, type TargetType } from "./float-encode.js";
import { llama3FrequencyDivisors } from "./rope.js";

/** What a plan needs of a weight of the checkpoint. */
export type PlanSource = Pick<SourceTensor, "name" | "shape">;

/** A tensor of the model file: parts of the checkpoint one after another, or values that are computed. */
export type PlannedTensor<Source extends PlanSource = SourceTensor> = {
    name: string;
    type: TargetType;
    /** ggml's order: fastest dimension first. */
    shape: number[];
    contents: Source[] | Float32Array;
};

/** Sizes that only the tensors' shapes give. */
export type MemorySizes = { memoryTokens: number; memoryKeySize: number };

/** How exact a tensor is stored: as the out type, in at least 16 bits, or as float32. */
type Precision = "out" | "memory" | "full";

/**
 * Plans the tensors of docs/model-file.md: which parts of the checkpoint each takes, in which order and type.
 * @throws {ArmtError} that names a missing, unknown or misshapen tensor
 */
export class LayoutPlan<Source extends PlanSource = SourceTensor> {
    public readonly tensors: PlannedTensor<Source>[] = [];
    public readonly sizes: MemorySizes;
    private readonly used = new Set<string>();
    private readonly family: Family;

    constructor(
        private readonly sources: ReadonlyMap<string, Source>,
        private readonly base: BaseConfig,
        private readonly armt: ArmtConfig,
        private readonly outType: TargetType
    ) {
        this.family = families[base.architecture];
        this.sizes = this.measure();
        this.checkWindow();
        this.planModel();
        this.planAttention();
        this.planFeedForward();
        this.planMemory();
        for (const [canonical, { name }] of sources) {
            if (!this.used.has(canonical))
                throw new ArmtError(`tensor ${quote(name)} has no place in a model of config.json's sizes and options`);
        }
    }

    private measure(): MemorySizes {
        const { hiddenSize } = this.base;
        const { headCount } = this.armt;
        const memoryTokens = this.rows("memory", this.armt.memoryTokens, "num_mem_tokens");
        const memoryKeySize = this.rows("layers.0.W_mq.weight", this.armt.memoryKeySize, "d_mem");
        if (memoryKeySize % headCount !== 0 || hiddenSize % headCount !== 0)
            throw new ArmtError(
                `n_heads is ${headCount}, which doesn't divide d_mem (${memoryKeySize}) and hidden_size (${hiddenSize})`
            );
        // the engine's rolls by up to 3 need more than the 2 features of one number
        if (memoryKeySize === headCount)
            throw new ArmtError(
                `d_mem is ${memoryKeySize}, which leaves one number for each of ${headCount} heads: not supported`
            );
        return { memoryTokens, memoryKeySize };
    }

    /** A window that a whole segment fits into changes nothing; a shorter one is another computation. */
    private checkWindow(): void {
        const { slidingWindow } = this.base;
        const rows = this.armt.segmentSize + this.sizes.memoryTokens;
        if (slidingWindow !== undefined && slidingWindow < rows)
            throw new ArmtError(
                `the base model attends to ${slidingWindow} rows (config.json: \`sliding_window\`), and a segment has ${rows} with its memory tokens: not supported`
            );
    }

    /** Rows of a matrix whose count is not known beforehand; the config's must agree where it gives one. */
    private rows(canonical: string, expected: number | undefined, key: string): number {
        const { name, shape } = this.source(canonical);
        const [rows] = shape;
        if (rows === undefined || rows < 1) throw new ArmtError(`tensor ${quote(name)} has no rows`);
        if (expected !== undefined && rows !== expected)
            throw new ArmtError(
                `tensor ${quote(name)} is [${shape.join(", ")}], expected ${expected} rows (armt_config.json: \`${key}\`)`
            );
        return rows;
    }

    private planModel(): void {
        const { hiddenSize, vocabSize, rope, headSize } = this.base;
        const { tied, embedding } = this.resolveTie();
        this.add("token_embd.weight", "out", [hiddenSize, vocabSize], [this.take(embedding, [vocabSize, hiddenSize])]);
        const memory = [this.sizes.memoryTokens, hiddenSize];
        this.add("memory_embd.weight", "memory", memory.toReversed(), [this.take("memory", memory)]);
        this.add("output_norm.weight", "full", [hiddenSize], [this.take("norm.weight", [hiddenSize])]);
        if (!tied) {
            const output = this.take("lm_head.weight", [vocabSize, hiddenSize]);
            this.add("output.weight", "out", [hiddenSize, vocabSize], [output]);
        }
        if (rope.scaling?.type === "llama3") {
            const divisors = llama3FrequencyDivisors(rope.theta, headSize, rope.scaling);
            this.tensors.push({ name: "rope_freqs.weight", type: "F32", shape: [headSize / 2], contents: divisors });
        }
    }

    /** A tied matrix may be there under either name. */
    private resolveTie(): { tied: boolean; embedding: string } {
        const hasEmbedding = this.sources.has("embed_tokens.weight");
        const hasOutput = this.sources.has("lm_head.weight");
        const tied = this.base.tiedEmbeddings ?? hasEmbedding !== hasOutput;
        if (tied && hasOutput) this.used.add("lm_head.weight");
        return { tied, embedding: tied && !hasEmbedding && hasOutput ? "lm_head.weight" : "embed_tokens.weight" };
    }

    private planAttention(): void {
        const { hiddenSize, headCount, kvHeadCount, headSize, biases } = this.base;
        const queries = headCount * headSize;
        const keys = kvHeadCount * headSize;
        const parts: [string, number[]][] = this.family.fused
            ? [["qkv_proj", [queries + 2 * keys, hiddenSize]]]
            : [
                  ["q_proj", [queries, hiddenSize]],
                  ["k_proj", [keys, hiddenSize]],
                  ["v_proj", [keys, hiddenSize]]
              ];
        this.addStack("attn_norm.weight", "full", [["layer.input_layernorm.weight", [hiddenSize]]]);
        this.addLinear("attn_qkv", "self_attn", parts, biases.qkv);
        this.addLinear("attn_output", "self_attn", [["o_proj", [hiddenSize, queries]]], biases.output);
    }

    private planFeedForward(): void {
        const { hiddenSize, feedForwardSize, biases } = this.base;
        const parts: [string, number[]][] = this.family.fused
            ? [["gate_up_proj", [2 * feedForwardSize, hiddenSize]]]
            : [
                  ["gate_proj", [feedForwardSize, hiddenSize]],
                  ["up_proj", [feedForwardSize, hiddenSize]]
              ];
        this.addStack("ffn_norm.weight", "full", [["layer.post_attention_layernorm.weight", [hiddenSize]]]);
        this.addLinear("ffn_up", "mlp", parts, biases.mlp);
        this.addLinear("ffn_down", "mlp", [["down_proj", [hiddenSize, feedForwardSize]]], biases.mlp);
    }

    private planMemory(): void {
        const { hiddenSize } = this.base;
        const { memoryKeySize } = this.sizes;
        const strengths = this.armt.gating ? hiddenSize : this.armt.headCount;
        this.addStack("memory_q.weight", "memory", [["W_mq.weight", [memoryKeySize, hiddenSize]]]);
        this.addStack("memory_k.weight", "memory", [["W_mk.weight", [memoryKeySize, hiddenSize]]]);
        this.addStack("memory_v.weight", "memory", [["W_mv.weight", [hiddenSize, hiddenSize]]]);
        this.addStack("memory_b.weight", "memory", [["W_mb.weight", [strengths, hiddenSize]]]);
        this.addStack("memory_b.bias", "full", [["W_mb.bias", [strengths]]]);
    }

    private addLinear(kind: string, module: string, parts: [string, number[]][], bias: boolean): void {
        const named = parts.map(([part, shape]) => [`layer.${module}.${part}`, shape] as const);
        this.addStack(
            `${kind}.weight`,
            "out",
            named.map(([part, shape]) => [`${part}.weight`, shape])
        );
        if (bias)
            this.addStack(
                `${kind}.bias`,
                "full",
                named.map(([part, [rows]]) => [`${part}.bias`, [rows!]])
            );
    }

    /** Adds one kind of weight as a stack over all layers, in each the rows of its parts. */
    private addStack(kind: string, precision: Precision, parts: [string, number[]][]): void {
        const { layerCount } = this.base;
        const layers = Array.from({ length: layerCount }, (_, layer) =>
            parts.map(([part, shape]) => this.take(`layers.${layer}.${part}`, shape))
        );
        const rows = parts.reduce((sum, [, [count]]) => sum + count!, 0);
        const columns = parts[0]![1].slice(1);
        this.add(`blk.0.${kind}`, precision, [...columns, rows, layerCount], layers.flat());
    }

    private add(name: string, precision: Precision, shape: number[], contents: Source[]): void {
        this.tensors.push({ name, type: this.typeFor(precision, shape[0]!), shape, contents });
    }

    private typeFor(precision: Precision, row: number): TargetType {
        if (precision === "full") return "F32";
        if (this.outType !== "Q8_0") return this.outType;
        return precision === "out" && row % Q8_0_BLOCK === 0 ? "Q8_0" : "F16";
    }

    private take(canonical: string, expected: readonly number[]): Source {
        const tensor = this.source(canonical);
        if (tensor.shape.join() !== expected.join())
            throw new ArmtError(
                `tensor ${quote(tensor.name)} is [${tensor.shape.join(", ")}], expected [${expected.join(", ")}]`
            );
        this.used.add(canonical);
        return tensor;
    }

    private source(canonical: string): Source {
        const tensor = this.sources.get(canonical);
        if (tensor === undefined)
            throw new ArmtError(`the checkpoint has no tensor ${quote(canonical)} under any of its names`);
        return tensor;
    }
}
