import { ArmtError, quote } from "../util/errors.js";
import type { ArmtConfig } from "./armt-config.js";
import type { BaseConfig } from "./base-config.js";
import type { SourceTensor } from "./checkpoint.js";
import { segmentFormOf } from "./dialects.js";
import { type Family, families } from "./families.js";
import { decodeFloats } from "./float-decode.js";
import { encodeFloats, Q8_0_BLOCK, type TargetType } from "./float-encode.js";
import { llama3FrequencyDivisors } from "./rope.js";

/** The properties of a checkpoint's weight that a plan needs. */
export type PlanSource = Pick<SourceTensor, "name" | "shape"> & Partial<Pick<SourceTensor, "dtype">>;

/** A tensor of the checkpoint or some of its rows, and the change to apply to it. */
export type SourcePart<Source extends PlanSource = SourceTensor> = {
    tensor: Source;
    rows?: { first: number; count: number };
    change?: Change;
};
export type Change = "transpose" | "addOne";

/** A tensor of the model file: concatenated parts of the checkpoint, or computed values. */
export type PlannedTensor<Source extends PlanSource = SourceTensor> = {
    name: string;
    type: TargetType;
    /** Shape in ggml's order: fastest dimension first. */
    shape: number[];
    contents: SourcePart<Source>[] | Float32Array;
};

/** Sizes that only the tensors' shapes reveal. */
export type MemorySizes = {
    memoryTokens: number;
    memoryKeySize: number;
    /** Number of learned rows before a segment's text: 0 or 1. */
    sinkCount: number;
};

/** Modules whose rows are concatenated in one tensor. */
type Rows = readonly (readonly [module: string, rows: number])[];

/** Precision in which a tensor is stored: the out type, at least 16 bits, or float32. */
type Precision = "out" | "memory" | "full";

/**
 * Plans the tensors of docs/model-file.md: the parts of the checkpoint that each one takes, their order and their type.
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
        this.checkDialect();
        this.checkReread();
        this.planModel();
        this.planPositions();
        this.planAttention();
        this.planFeedForward();
        if (armt.memoryKind === "associative") this.planMemory();
        for (const [canonical, { name }] of sources) {
            if (!this.used.has(canonical))
                throw new ArmtError(`tensor ${quote(name)} has no place in a model of config.json's sizes and options`);
        }
    }

    /** Factor applied to text tokens' embeddings, rounded to their type as the family's code does. */
    public get embeddingScale(): number {
        if (!this.family.scaledEmbeddings) return 1;
        const { dtype } = this.source(this.resolveTie().embedding);
        const scale = Float32Array.of(Math.sqrt(this.base.hiddenSize));
        if (dtype !== "F16" && dtype !== "BF16") return scale[0]!;
        return decodeFloats(Buffer.from(encodeFloats(scale, dtype)!), dtype)[0]!;
    }

    private measure(): MemorySizes {
        const { hiddenSize } = this.base;
        const { headCount } = this.armt;
        const memoryTokens = this.rows("memory", this.armt.memoryTokens, "num_mem_tokens");
        if (this.armt.memoryKind === "recurrent") {
            this.checkRecurrent();
            return { memoryTokens, memoryKeySize: 0, sinkCount: 0 };
        }
        const memoryKeySize = this.rows("layers.0.W_mq.weight", this.armt.memoryKeySize, "d_mem");
        if (memoryKeySize % headCount !== 0 || hiddenSize % headCount !== 0)
            throw new ArmtError(
                `n_heads is ${headCount}, which doesn't divide d_mem (${memoryKeySize}) and hidden_size (${hiddenSize})`
            );
        // the engine rolls the features by up to 3 places, but a single number gives only 2 features
        if (memoryKeySize === headCount)
            throw new ArmtError(
                `d_mem is ${memoryKeySize}, which leaves one number for each of ${headCount} heads: not supported`
            );
        return { memoryTokens, memoryKeySize, sinkCount: this.hasSink() ? 1 : 0 };
    }

    /** Plain RMT knows none of ARMT's variants. */
    private checkRecurrent(): void {
        const { armt } = this;
        const refused: [boolean, string][] = [
            [armt.sink === true || this.sources.has("sink"), "a sink"],
            [armt.slidingWindow, "a sliding window"],
            [armt.rereadsPrevious, "`attend_to_previous_input`"],
            [armt.wrapPositions || armt.positionsContinue, "positions that wrap or run on"],
            [armt.memoryAttendsToText === false, "memory tokens that don't see the text"],
            [armt.dialect !== "outer", `the dialect ${armt.dialect}`],
            [armt.layersWithMemory !== undefined, "`wrap_layers`"]
        ];
        for (const [applies, what] of refused)
            if (applies) throw new ArmtError(`plain RMT (no layer has W_mq, …) with ${what}: not supported`);
    }

    /** The tensor decides; the options must agree with it. */
    private hasSink(): boolean {
        const tensor = this.sources.get("sink");
        const { sink = tensor !== undefined, wrapPositions, memoryAttendsToText } = this.armt;
        if (sink && tensor === undefined)
            throw new ArmtError('`use_sink` is true, but the checkpoint has no tensor "sink" under any of its names');
        if (!sink && tensor !== undefined)
            throw new ArmtError(`\`use_sink\` is false, but the checkpoint has the tensor ${quote(tensor.name)}`);
        if (sink && (wrapPositions || memoryAttendsToText === false))
            throw new ArmtError(
                "a sink row with `wrap_pos`, or with memory tokens that don't see the text, is not defined: not " +
                    "supported"
            );
        return sink;
    }

    /** Largest number of rows that the last row of a segment attends to. */
    private get mostRows(): number {
        const { segmentSize, slidingWindow, rereadsPrevious } = this.armt;
        const { sinkCount, memoryTokens } = this.sizes;
        const before = this.armt.memoryKind === "recurrent" ? memoryTokens : sinkCount;
        return before + (slidingWindow || rereadsPrevious ? 2 : 1) * segmentSize + memoryTokens;
    }

    /** A window at least as long as a segment has no effect. A shorter one would change the result. */
    private checkWindow(): void {
        const { slidingWindow } = this.base;
        const rows = this.mostRows;
        if (
            this.armt.slidingWindow &&
            (this.base.positionCount !== undefined || this.armt.memoryAttendsToText === false)
        )
            throw new ArmtError(
                "`sliding_window` is defined for base models with RoPE whose memory tokens see the text: not supported"
            );
        const { dialect } = this.armt;
        // Qwen's window begins at one of its layers
        const isCut = this.family.window === true || this.family.window === "local";
        const isPlain = isCut && !this.armt.slidingWindow && (dialect === "outer" || dialect === "inner-causal");
        const reason = this.armt.slidingWindow ? "a window of ARMT's" : `the dialect ${dialect}, or in Qwen`;
        if (slidingWindow !== undefined && slidingWindow < rows && !isPlain)
            throw new ArmtError(
                `the base model attends to ${slidingWindow} rows (config.json: \`sliding_window\`), and a segment ` +
                    `has ${rows} with its memory tokens${this.armt.slidingWindow ? " and the segment before" : ""}: ` +
                    `not supported with ${reason}`
            );
    }

    /** The inner loop cuts a text that has its positions already, and hands one RoPE to all layers. */
    private checkDialect(): void {
        const { dialect, slidingWindow, memoryAttendsToText } = this.armt;
        if (dialect === "outer") return;
        const refused: [boolean, string][] = [
            [this.base.positionCount !== undefined, "learned positions, which run on from segment to segment"],
            [dialect !== "inner-causal" && this.base.rope?.local !== undefined, "layers with a RoPE of their own"],
            [segmentFormOf(dialect, slidingWindow).disjointMemory && slidingWindow, "`sliding_window`"],
            [dialect !== "inner-causal" && !slidingWindow && this.sizes.sinkCount > 0, "a sink but no window"],
            [memoryAttendsToText === false, "memory tokens that don't see the text"]
        ];
        for (const [applies, what] of refused)
            if (applies) throw new ArmtError(`the dialect ${dialect} with ${what}: not supported`);
    }

    /** The code that reads the previous segment's text again has a plain mask, and fails with any of the rest. */
    private checkReread(): void {
        const { armt } = this;
        if (!armt.rereadsPrevious) return;
        const refused: [boolean, string][] = [
            [armt.slidingWindow, "`sliding_window`, whose mask has too few rows for it in the authors' code"],
            [this.sizes.sinkCount > 0, "`use_sink`, which the authors' code for it lacks"],
            [armt.positionsContinue, "positions that run on"],
            [armt.dialect !== "outer", `the dialect ${armt.dialect}`]
        ];
        for (const [applies, what] of refused)
            if (applies) throw new ArmtError(`\`attend_to_previous_input\` with ${what}: not supported`);
    }

    /** Number of rows of a matrix. If the config gives a number, it must agree. */
    private rows(canonical: string, expected: number | undefined, key: string): number {
        const { name, shape } = this.source(canonical);
        const [rows] = shape;
        if (rows === undefined || rows < 1) throw new ArmtError(`tensor ${quote(name)} has no rows`);
        if (expected !== undefined && rows !== expected)
            throw new ArmtError(
                `tensor ${quote(name)} is [${shape.join(", ")}], expected ${expected} rows (\`${key}\`)`
            );
        return rows;
    }

    private planModel(): void {
        const { hiddenSize, vocabSize, rope } = this.base;
        const { outputNorm, output } = this.family.names;
        const { tied, embedding } = this.resolveTie();
        this.add("token_embd.weight", "out", [hiddenSize, vocabSize], [this.take(embedding, [vocabSize, hiddenSize])]);
        const memory = [this.sizes.memoryTokens, hiddenSize];
        const learned = [this.take("memory", memory)];
        if (this.sizes.sinkCount > 0) learned.push(this.take("sink", [1, hiddenSize]));
        this.add("memory_embd.weight", "memory", [hiddenSize, this.sizes.memoryTokens + this.sizes.sinkCount], learned);
        const norm = { ...this.take(`${outputNorm}.weight`, [hiddenSize]), change: this.normChange };
        this.add("output_norm.weight", "full", [hiddenSize], [norm]);
        if (this.family.norm === "layer")
            this.add("output_norm.bias", "full", [hiddenSize], [this.take(`${outputNorm}.bias`, [hiddenSize])]);
        if (!tied) {
            const matrix = this.take(`${output}.weight`, [vocabSize, hiddenSize]);
            this.add("output.weight", "out", [hiddenSize, vocabSize], [matrix]);
        }
        if (rope?.scaling?.type === "llama3") {
            const { theta, dimensions, scaling } = rope;
            const contents = llama3FrequencyDivisors(theta, dimensions, scaling);
            this.tensors.push({ name: "rope_freqs.weight", type: "F32", shape: [dimensions / 2], contents });
        }
    }

    /** A tied matrix may have either name. */
    private resolveTie(): { tied: boolean; embedding: string } {
        const [embedding, output] = [`${this.family.names.embedding}.weight`, `${this.family.names.output}.weight`];
        const hasEmbedding = this.sources.has(embedding);
        const hasOutput = this.sources.has(output);
        const tied = this.base.tiedEmbeddings ?? hasEmbedding !== hasOutput;
        if (tied && hasOutput) this.used.add(output);
        return { tied, embedding: tied && !hasEmbedding && hasOutput ? output : embedding };
    }

    /** The table has a row for each position. With `wrap_pos`, the memory tokens' rows follow. */
    private planPositions(): void {
        const { hiddenSize, positionCount } = this.base;
        const { wrapPositions, positionsContinue } = this.armt;
        const { memoryTokens } = this.sizes;
        if (positionsContinue && (wrapPositions || positionCount === undefined))
            throw new ArmtError(
                "`continue_pos` is defined for learned positions without `wrap_pos`: not supported otherwise"
            );
        if (positionCount === undefined) {
            if (wrapPositions)
                throw new ArmtError(
                    `\`wrap_pos\` is true, but a ${this.base.architecture} base has no learned positions`
                );
            return;
        }
        const { positions } = this.family.names;
        const count = positionCount + (wrapPositions ? memoryTokens : 0);
        if (this.mostRows > count)
            throw new ArmtError(
                `the base model has ${count} positions, and a segment has ${this.mostRows} rows with its memory ` +
                    "tokens: not supported"
            );
        const table = this.take(`${positions}.weight`, [count, hiddenSize]);
        this.add("position_embd.weight", "memory", [hiddenSize, count], [table]);
    }

    private planAttention(): void {
        const { hiddenSize, headCount, kvHeadCount, headSize, biases } = this.base;
        const { names } = this.family;
        const sizes = [headCount * headSize, kvHeadCount * headSize, kvHeadCount * headSize];
        this.addNorm("attn_norm", names.attentionNorm, hiddenSize);
        this.addLinear("attn_qkv", rowsOf(names.qkv, sizes), hiddenSize, biases.qkv);
        if (names.interleaved === true) this.separate("attn_qkv");
        this.addHeadNorm("attn_q_norm", names.queryNorm);
        this.addHeadNorm("attn_k_norm", names.keyNorm);
        this.addLinear("attn_output", [[names.attentionOutput, hiddenSize]], headCount * headSize, biases.output);
    }

    private planFeedForward(): void {
        const { hiddenSize, feedForwardSize, biases } = this.base;
        const { names, gated } = this.family;
        const sizes = gated ? [feedForwardSize, feedForwardSize] : [feedForwardSize];
        if (names.attentionPostNorm !== undefined)
            this.addNorm("post_attention_norm", names.attentionPostNorm, hiddenSize);
        if (names.feedForwardPostNorm !== undefined)
            this.addNorm("post_ffw_norm", names.feedForwardPostNorm, hiddenSize);
        this.addNorm("ffn_norm", names.feedForwardNorm, hiddenSize);
        this.addLinear("ffn_up", rowsOf(names.up, sizes), hiddenSize, biases.mlp);
        this.addLinear("ffn_down", [[names.down, hiddenSize]], feedForwardSize, biases.mlp);
    }

    private planMemory(): void {
        const { hiddenSize } = this.base;
        const { memoryKeySize } = this.sizes;
        const betaCount = this.armt.gating ? hiddenSize : this.armt.headCount;
        this.addStack("memory_q.weight", "memory", [["W_mq.weight", [memoryKeySize, hiddenSize]]]);
        this.addStack("memory_k.weight", "memory", [["W_mk.weight", [memoryKeySize, hiddenSize]]]);
        this.addStack("memory_v.weight", "memory", [["W_mv.weight", [hiddenSize, hiddenSize]]]);
        this.addStack("memory_b.weight", "memory", [["W_mb.weight", [betaCount, hiddenSize]]]);
        this.addStack("memory_b.bias", "full", [["W_mb.bias", [betaCount]]]);
    }

    private get normChange(): Change | undefined {
        return this.family.normsLessOne ? "addOne" : undefined;
    }

    private addNorm(kind: string, module: string, size: number): void {
        this.addStack(`${kind}.weight`, "full", [[`layer.${module}.weight`, [size]]], this.normChange);
        if (this.family.norm === "layer") this.addStack(`${kind}.bias`, "full", [[`layer.${module}.bias`, [size]]]);
    }

    /** Reorders the rows of a matrix with Q, K and V per head: all heads' Q come first, then K, then V. */
    private separate(kind: string): void {
        const { headCount, headSize } = this.base;
        for (const tensor of this.tensors.filter(({ name }) => name.startsWith(`blk.0.${kind}.`))) {
            const layers = tensor.contents as SourcePart<Source>[];
            tensor.contents = layers.flatMap((part) =>
                Array.from({ length: 3 * headCount }, (_, i) => {
                    const [which, head] = [Math.floor(i / headCount), i % headCount];
                    return { ...part, rows: { first: (3 * head + which) * headSize, count: headSize } };
                })
            );
        }
    }

    private addHeadNorm(kind: string, module: string | undefined): void {
        if (module === undefined) return;
        this.addStack(`${kind}.weight`, "full", [[`layer.${module}.weight`, [this.base.headSize]]], this.normChange);
    }

    private addLinear(kind: string, modules: Rows, columns: number, bias: boolean): void {
        this.addStack(
            `${kind}.weight`,
            "out",
            modules.map(([module, rows]) => [`layer.${module}.weight`, [rows, columns]]),
            this.family.transposed ? "transpose" : undefined
        );
        if (bias)
            this.addStack(
                `${kind}.bias`,
                "full",
                modules.map(([module, rows]) => [`layer.${module}.bias`, [rows]])
            );
    }

    /** Adds one kind of weight as a stack over all layers. Each layer has the rows of its parts. */
    private addStack(kind: string, precision: Precision, parts: [string, number[]][], change?: Change): void {
        const { layerCount } = this.base;
        const layers = Array.from({ length: layerCount }, (_, layer) =>
            parts.map(([part, shape]) => {
                const stored = change === "transpose" ? shape.toReversed() : shape;
                return { ...this.take(`layers.${layer}.${part}`, stored), change };
            })
        );
        const rows = parts.reduce((sum, [, [count]]) => sum + count!, 0);
        const columns = parts[0]![1].slice(1);
        this.add(`blk.0.${kind}`, precision, [...columns, rows, layerCount], layers.flat());
    }

    private add(name: string, precision: Precision, shape: number[], contents: SourcePart<Source>[]): void {
        this.tensors.push({ name, type: this.typeFor(precision, shape[0]!), shape, contents });
    }

    private typeFor(precision: Precision, row: number): TargetType {
        if (precision === "full") return "F32";
        if (this.outType !== "Q8_0") return this.outType;
        return precision === "out" && row % Q8_0_BLOCK === 0 ? "Q8_0" : "F16";
    }

    private take(canonical: string, expected: readonly number[]): SourcePart<Source> {
        const tensor = this.source(canonical);
        if (tensor.shape.join() !== expected.join())
            throw new ArmtError(
                `tensor ${quote(tensor.name)} is [${tensor.shape.join(", ")}], expected [${expected.join(", ")}]`
            );
        this.used.add(canonical);
        return { tensor };
    }

    private source(canonical: string): Source {
        const tensor = this.sources.get(canonical);
        if (tensor === undefined)
            throw new ArmtError(`the checkpoint has no tensor ${quote(canonical)} under any of its names`);
        return tensor;
    }
}

/** Pairs modules with their row counts. A single module takes all rows. */
function rowsOf(modules: readonly string[], sizes: readonly number[]): Rows {
    if (modules.length === 1) return [[modules[0]!, sizes.reduce((sum, size) => sum + size, 0)]];
    return modules.map((module, i) => [module, sizes[i]!]);
}
