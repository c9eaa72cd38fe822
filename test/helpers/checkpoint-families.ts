import { gelu, geluTanh, silu } from "./activations.js";
import type { Linear, Norm } from "./linear.js";
import type { RopeConfig } from "./rope.js";

// How each family's code in transformers computes a layer. Shares nothing with the converter's descriptions.

export type BaseLayer = {
    attentionNorm: Norm;
    q: Linear;
    k: Linear;
    v: Linear;
    /** Of each head, before RoPE. */
    qNorm?: Norm;
    kNorm?: Norm;
    o: Linear;
    attentionPostNorm?: Norm;
    ffnNorm: Norm;
    /** Absent if the MLP has no gate. */
    gate?: Linear;
    up: Linear;
    down: Linear;
    ffnPostNorm?: Norm;
    /** The MLP reads the layer's input rather than the attention's result. */
    parallel?: boolean;
    /** Absent with learned positions. */
    rope?: RopeConfig;
    /** Rows that a row attends to, itself included. Default: all before it. */
    window?: number;
};

export type BaseModel = {
    hidden: number;
    heads: number;
    kvHeads: number;
    headDim: number;
    /** Number of elements of a head that RoPE rotates. */
    rotaryDim: number;
    attentionScale: number;
    embeddingScale: number;
    activation: (x: number) => number;
    /** Learned positions. [P, D] */
    positions?: { table: Float64Array; wrapped: boolean };
    /** [V, D] */
    embedding: Float64Array;
    norm: Norm;
    output: Linear;
    layers: BaseLayer[];
};

export type Json = Record<string, unknown>;
export type Tensor = { shape: number[]; values: Float64Array };

/** The tensors of a checkpoint by their short names. */
export type Tensors = { get(name: string): Tensor; has(name: string): boolean };

export type BaseReader = (config: Json, armt: Json, tensors: Tensors) => BaseModel;

export const baseReaders: Readonly<Record<string, BaseReader>> = {
    llama: readLlama,
    mistral: readLlama,
    phi3: readPhi3,
    qwen2: readLlama,
    qwen3: readLlama,
    gemma3_text: readGemma3,
    gpt2: readGpt2,
    gpt_neox: readNeox
};

function linear(tensors: Tensors, name: string): Linear {
    const { shape, values } = tensors.get(`${name}.weight`);
    const [outputs, inputs] = shape as [number, number];
    const bias = tensors.has(`${name}.bias`) ? tensors.get(`${name}.bias`).values : undefined;
    return { weight: values, bias, inputs, outputs };
}

/** Some rows of a matrix. */
function rows({ weight, bias, inputs }: Linear, first: number, outputs: number): Linear {
    const part = weight.slice(first * inputs, (first + outputs) * inputs);
    return { weight: part, bias: bias?.slice(first, first + outputs), inputs, outputs };
}

function rmsNorm(tensors: Tensors, name: string, epsilon: number): Norm {
    return { weight: tensors.get(`${name}.weight`).values, epsilon };
}

function layerNorm(tensors: Tensors, name: string, epsilon: number): Norm {
    return { ...rmsNorm(tensors, name, epsilon), bias: tensors.get(`${name}.bias`).values };
}

function listLayers(count: unknown, read: (prefix: string, il: number) => BaseLayer): BaseLayer[] {
    return Array.from({ length: Number(count) }, (_, il) => read(`layers.${il}`, il));
}

function readLlama(config: Json, _armt: Json, tensors: Tensors): BaseModel {
    const hidden = Number(config.hidden_size);
    const heads = Number(config.num_attention_heads);
    const headDim = Number(config.head_dim ?? hidden / heads);
    const tied = config.tie_word_embeddings === true;
    const norm = (name: string) => rmsNorm(tensors, name, Number(config.rms_norm_eps));
    const rope = ropeConfig(config);
    const qwen3 = config.model_type === "qwen3";
    const window = ["mistral", "phi3"].includes(String(config.model_type)) ? windowOf(config) : undefined;
    return {
        hidden,
        heads,
        kvHeads: Number(config.num_key_value_heads ?? heads),
        headDim,
        rotaryDim: headDim,
        attentionScale: 1 / Math.sqrt(headDim),
        embeddingScale: 1,
        activation: silu,
        embedding: tensors.get(tied && !tensors.has("embed_tokens.weight") ? "lm_head.weight" : "embed_tokens.weight")
            .values,
        norm: norm("norm"),
        output: linear(tensors, tied && !tensors.has("lm_head.weight") ? "embed_tokens" : "lm_head"),
        layers: listLayers(config.num_hidden_layers, (prefix) => ({
            attentionNorm: norm(`${prefix}.input_layernorm`),
            q: linear(tensors, `${prefix}.self_attn.q_proj`),
            k: linear(tensors, `${prefix}.self_attn.k_proj`),
            v: linear(tensors, `${prefix}.self_attn.v_proj`),
            qNorm: qwen3 ? norm(`${prefix}.self_attn.q_norm`) : undefined,
            kNorm: qwen3 ? norm(`${prefix}.self_attn.k_norm`) : undefined,
            o: linear(tensors, `${prefix}.self_attn.o_proj`),
            ffnNorm: norm(`${prefix}.post_attention_layernorm`),
            gate: linear(tensors, `${prefix}.mlp.gate_proj`),
            up: linear(tensors, `${prefix}.mlp.up_proj`),
            down: linear(tensors, `${prefix}.mlp.down_proj`),
            rope,
            window
        }))
    };
}

function windowOf({ sliding_window: window }: Json): number | undefined {
    return typeof window === "number" ? window : undefined;
}

function readPhi3(config: Json, armt: Json, tensors: Tensors): BaseModel {
    const heads = Number(config.num_attention_heads);
    const kvHeads = Number(config.num_key_value_heads ?? heads);
    const headDim = Number(config.head_dim ?? Number(config.hidden_size) / heads);
    const inner = Number(config.intermediate_size);
    // fused matrices: the rows of Q, K and V, and those of gate and up
    const parts: Record<string, [matrix: string, first: number, count: number]> = {
        "self_attn.q_proj": ["self_attn.qkv_proj", 0, heads * headDim],
        "self_attn.k_proj": ["self_attn.qkv_proj", heads * headDim, kvHeads * headDim],
        "self_attn.v_proj": ["self_attn.qkv_proj", (heads + kvHeads) * headDim, kvHeads * headDim],
        "mlp.gate_proj": ["mlp.gate_up_proj", 0, inner],
        "mlp.up_proj": ["mlp.gate_up_proj", inner, inner]
    };
    const apart: Tensors = {
        has: (name) => tensors.has(name),
        get(name) {
            const [, layer, module] = /^(layers\.\d+\.)(.*)\.weight$/.exec(name) ?? [];
            const part = parts[module ?? ""];
            if (part === undefined) return tensors.get(name);
            const { weight, inputs } = rows(linear(tensors, `${layer}${part[0]}`), part[1], part[2]);
            return { shape: [part[2], inputs], values: weight };
        }
    };
    const rope = (config.rope_parameters ?? {}) as Json;
    const share = Number(rope.partial_rotary_factor ?? config.partial_rotary_factor ?? 1);
    return { ...readLlama(config, armt, apart), rotaryDim: Math.trunc(headDim * share) };
}

function readGemma3(config: Json, armt: Json, tensors: Tensors): BaseModel {
    const llama = readLlama(config, armt, tensors);
    const epsilon = Number(config.rms_norm_eps);
    // the checkpoint stores the weights minus 1
    const norm = (name: string): Norm => ({
        weight: tensors.get(`${name}.weight`).values.map((x) => 1 + x),
        epsilon
    });
    const parameters = (config.rope_parameters ?? {}) as Record<string, Json>;
    const global = ropeConfig(
        parameters.full_attention === undefined
            ? { rope_theta: config.rope_theta ?? 1_000_000, rope_scaling: config.rope_scaling }
            : { rope_parameters: parameters.full_attention }
    );
    const localTheta = parameters.sliding_attention?.rope_theta ?? config.rope_local_base_freq ?? 10_000;
    const types = config.layer_types as string[] | undefined;
    const isLocal = (il: number) =>
        types === undefined
            ? (il + 1) % Number(config.sliding_window_pattern ?? 6) > 0
            : types[il] === "sliding_attention";
    return {
        ...llama,
        attentionScale: Number(config.query_pre_attn_scalar ?? 256) ** -0.5,
        embeddingScale: Math.sqrt(llama.hidden),
        activation: geluTanh,
        norm: norm("norm"),
        layers: llama.layers.map((layer, il) => ({
            ...layer,
            attentionNorm: norm(`layers.${il}.input_layernorm`),
            qNorm: norm(`layers.${il}.self_attn.q_norm`),
            kNorm: norm(`layers.${il}.self_attn.k_norm`),
            attentionPostNorm: norm(`layers.${il}.post_attention_layernorm`),
            ffnNorm: norm(`layers.${il}.pre_feedforward_layernorm`),
            ffnPostNorm: norm(`layers.${il}.post_feedforward_layernorm`),
            rope: isLocal(il) ? { type: "default", theta: Number(localTheta) } : global,
            window: isLocal(il) ? windowOf(config) : undefined
        }))
    };
}

function readGpt2(config: Json, armt: Json, tensors: Tensors): BaseModel {
    const hidden = Number(config.n_embd);
    const heads = Number(config.n_head);
    const headDim = hidden / heads;
    const tied = config.tie_word_embeddings !== false && !tensors.has("lm_head.weight");
    const norm = (name: string) => layerNorm(tensors, name, Number(config.layer_norm_epsilon));
    return {
        hidden,
        heads,
        kvHeads: heads,
        headDim,
        rotaryDim: 0,
        attentionScale: 1 / Math.sqrt(headDim),
        embeddingScale: 1,
        activation: config.activation_function === "gelu" ? gelu : geluTanh,
        positions: { table: tensors.get("wpe.weight").values, wrapped: armt.wrap_pos === true },
        embedding: tensors.get("wte.weight").values,
        norm: norm("ln_f"),
        output: linear(tensors, tied ? "wte" : "lm_head"),
        layers: listLayers(config.n_layer, (prefix) => {
            const qkv = conv1d(tensors, `${prefix}.attn.c_attn`);
            return {
                attentionNorm: norm(`${prefix}.ln_1`),
                q: rows(qkv, 0, hidden),
                k: rows(qkv, hidden, hidden),
                v: rows(qkv, 2 * hidden, hidden),
                o: conv1d(tensors, `${prefix}.attn.c_proj`),
                ffnNorm: norm(`${prefix}.ln_2`),
                up: conv1d(tensors, `${prefix}.mlp.c_fc`),
                down: conv1d(tensors, `${prefix}.mlp.c_proj`)
            };
        })
    };
}

function readNeox(config: Json, _armt: Json, tensors: Tensors): BaseModel {
    const hidden = Number(config.hidden_size);
    const heads = Number(config.num_attention_heads);
    const headDim = hidden / heads;
    const rope = (config.rope_parameters ?? {}) as Json;
    const norm = (name: string) => layerNorm(tensors, name, Number(config.layer_norm_eps));
    return {
        hidden,
        heads,
        kvHeads: heads,
        headDim,
        rotaryDim: Math.trunc(headDim * Number(rope.partial_rotary_factor ?? config.rotary_pct ?? 0.25)),
        attentionScale: 1 / Math.sqrt(headDim),
        embeddingScale: 1,
        activation: config.hidden_act === "gelu" ? gelu : geluTanh,
        embedding: tensors.get("embed_in.weight").values,
        norm: norm("final_layer_norm"),
        output: linear(
            tensors,
            config.tie_word_embeddings === true ? "embed_in" : tensors.has("lm_head.weight") ? "lm_head" : "embed_out"
        ),
        layers: listLayers(config.num_hidden_layers, (prefix) => {
            const qkv = linear(tensors, `${prefix}.attention.query_key_value`);
            // rows of Q, K and V of the first head, then of the second, …
            const part = (which: number) =>
                joined(Array.from({ length: heads }, (_, head) => rows(qkv, (3 * head + which) * headDim, headDim)));
            return {
                attentionNorm: norm(`${prefix}.input_layernorm`),
                q: part(0),
                k: part(1),
                v: part(2),
                o: linear(tensors, `${prefix}.attention.dense`),
                ffnNorm: norm(`${prefix}.post_attention_layernorm`),
                up: linear(tensors, `${prefix}.mlp.dense_h_to_4h`),
                down: linear(tensors, `${prefix}.mlp.dense_4h_to_h`),
                parallel: config.use_parallel_residual !== false,
                rope: ropeConfig({ rope_theta: config.rotary_emb_base, ...config })
            };
        })
    };
}

function joined(parts: readonly Linear[]): Linear {
    const inputs = parts[0]!.inputs;
    const weight = Float64Array.from(parts.flatMap((part) => [...part.weight]));
    const bias = parts[0]!.bias && Float64Array.from(parts.flatMap((part) => [...part.bias!]));
    return { weight, bias, inputs, outputs: weight.length / inputs };
}

/** transformers' Conv1D: a product whose weights are [inputs, outputs]. */
function conv1d(tensors: Tensors, name: string): Linear {
    const { shape, values } = tensors.get(`${name}.weight`);
    const [inputs, outputs] = shape as [number, number];
    const weight = Float64Array.from(values, (_, i) => values[(i % inputs) * outputs + Math.floor(i / inputs)]!);
    const bias = tensors.has(`${name}.bias`) ? tensors.get(`${name}.bias`).values : undefined;
    return { weight, bias, inputs, outputs };
}

function ropeConfig(config: Json): RopeConfig {
    const scaling = (config.rope_parameters ?? config.rope_scaling ?? {}) as Json;
    const theta = Number(scaling.rope_theta ?? config.rope_theta ?? 10_000);
    const type = scaling.rope_type ?? scaling.type ?? "default";
    if (type === "default") return { type, theta };
    const factor = Number(scaling.factor);
    if (type === "linear") return { type, theta, factor };
    if (type !== "llama3") throw new Error(`rope type ${String(type)} is not known`);
    return {
        type,
        theta,
        factor,
        lowFreqFactor: Number(scaling.low_freq_factor),
        highFreqFactor: Number(scaling.high_freq_factor),
        originalMaxPositions: Number(scaling.original_max_position_embeddings)
    };
}
