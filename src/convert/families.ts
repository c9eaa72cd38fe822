import type { baseArchitectures } from "../formats/gguf/armt-keys.js";

/** Names of `config.json`'s keys; one that is absent has no key. */
export interface ConfigKeys {
    readonly hidden: string;
    readonly layers: string;
    readonly heads: string;
    readonly kvHeads?: string;
    readonly headSize?: string;
    readonly feedForward: string;
    readonly epsilon: string;
    readonly activation: string;
    /** Rows of the learned position table, without those for memory tokens. */
    readonly positions?: string;
    /** RoPE's base, if it isn't `rope_theta`. */
    readonly theta?: string;
    /** A number whose root divides q·k, instead of the root of the head size. */
    readonly attentionScalar?: string;
    /** The part of a head that RoPE rotates; a family without the key rotates all of it. */
    readonly rotaryShare?: string;
    /** Whether attention and MLP both read the layer's input. */
    readonly parallel?: string;
}

/** transformers' defaults for keys that `config.json` lacks. */
export interface ConfigDefaults {
    readonly epsilon: number;
    readonly activation: string;
    /** As a multiple of the hidden size; without one, the key is required. */
    readonly feedForward?: number;
    readonly positions?: number;
    /** Else the hidden size over the number of heads. */
    readonly headSize?: number;
    readonly rotaryShare?: number;
    readonly theta?: number;
    readonly attentionScalar?: number;
    readonly window?: number;
    readonly parallel?: boolean;
    /** Biases that a key of `config.json` says. */
    readonly biases?: boolean;
}

/**
 * Names in the checkpoint, without `.weight` and `.bias`: first those of the model, then those of a layer, below
 * `layers.N.layer.`
 */
export interface ModuleNames {
    readonly embedding: string;
    readonly positions?: string;
    readonly outputNorm: string;
    readonly output: string;

    readonly attentionNorm: string;
    /**
     * Q, K and V, or one matrix of all: first Q's rows, or with `interleaved` the rows of one head's Q, K and V after
     * another's.
     */
    readonly qkv: readonly string[];
    readonly interleaved?: boolean;
    /** RMS norms of each head of Q and K before RoPE, in families that have them. */
    readonly queryNorm?: string;
    readonly keyNorm?: string;
    readonly attentionOutput: string;
    /** Norms of the attention's and the MLP's output before it is added, in families that have them. */
    readonly attentionPostNorm?: string;
    readonly feedForwardPostNorm?: string;
    readonly feedForwardNorm: string;
    /** Gate and up, one matrix of both, or up alone in a family without gate. */
    readonly up: readonly string[];
    readonly down: string;
}

type Biases = Readonly<Record<"qkv" | "output" | "mlp", boolean | string>>;

/**
 * A family of base models, as `model_type` in transformers names it. This description is all that is specific to a
 * family: it gives the converter the names in a checkpoint, and becomes keys and tensors of the model file, from which
 * the engine builds its graph by.
 */
export interface Family {
    readonly keys: ConfigKeys;
    readonly defaults: ConfigDefaults;
    /** Keys of `config.json` that ask for another computation unless they are absent or have this value. */
    readonly only: Readonly<Record<string, boolean | null>>;
    readonly names: ModuleNames;
    /** Where the base model and its layers are in the language model, as in `model.layers`. */
    readonly path: string;
    readonly layers: string;
    /** LayerNorm, which has a bias, or RMS norm, which has none. */
    readonly norm: "rms" | "layer";
    /** Whether the checkpoint stores the norms' weights minus 1. */
    readonly normsLessOne: boolean;
    /** Whether text tokens' embeddings are multiplied by the root of the hidden size, in their type. */
    readonly scaledEmbeddings: boolean;
    /** Whether the MLP has a gate. */
    readonly gated: boolean;
    /** RoPE over halves of a head, or a learned table. */
    readonly positions: "rope" | "learned";
    /** Which matrices have a bias: always, never, or as the key of `config.json` says. */
    readonly biases: Biases;
    /** Whether the layers' matrices are `[inputs, outputs]`, as transformers' Conv1D has them. */
    readonly transposed: boolean;
    /**
     * Whether the attention has a window; a name: the key of `config.json` that switches it on. `"local"`: in some
     * layers, which `layer_types` or `sliding_window_pattern` gives, and which have their own RoPE base.
     */
    readonly window: boolean | "use_sliding_window" | "local";
}

const llama: Family = {
    keys: {
        hidden: "hidden_size",
        layers: "num_hidden_layers",
        heads: "num_attention_heads",
        kvHeads: "num_key_value_heads",
        headSize: "head_dim",
        feedForward: "intermediate_size",
        epsilon: "rms_norm_eps",
        activation: "hidden_act"
    },
    defaults: { epsilon: 1e-6, activation: "silu" },
    only: {},
    names: {
        embedding: "embed_tokens",
        outputNorm: "norm",
        output: "lm_head",
        attentionNorm: "input_layernorm",
        qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        attentionOutput: "self_attn.o_proj",
        feedForwardNorm: "post_attention_layernorm",
        up: ["mlp.gate_proj", "mlp.up_proj"],
        down: "mlp.down_proj"
    },
    path: "model",
    layers: "layers",
    norm: "rms",
    normsLessOne: false,
    scaledEmbeddings: false,
    gated: true,
    positions: "rope",
    biases: { qkv: "attention_bias", output: "attention_bias", mlp: "mlp_bias" },
    transposed: false,
    window: false
};

const noBiases: Biases = { qkv: false, output: false, mlp: false };

/** By `model_type`. SmolLM and SmolLM2 call themselves `llama`. */
export const families: Readonly<Record<FamilyName, Family>> = {
    gemma3_text: {
        ...llama,
        keys: { ...llama.keys, activation: "hidden_activation", attentionScalar: "query_pre_attn_scalar" },
        defaults: {
            epsilon: 1e-6,
            activation: "gelu_pytorch_tanh",
            headSize: 256,
            theta: 1_000_000,
            attentionScalar: 256,
            window: 4096
        },
        only: { attn_logit_softcapping: null, final_logit_softcapping: null, use_bidirectional_attention: false },
        names: {
            ...llama.names,
            queryNorm: "self_attn.q_norm",
            keyNorm: "self_attn.k_norm",
            attentionPostNorm: "post_attention_layernorm",
            feedForwardNorm: "pre_feedforward_layernorm",
            feedForwardPostNorm: "post_feedforward_layernorm"
        },
        normsLessOne: true,
        scaledEmbeddings: true,
        biases: { qkv: "attention_bias", output: "attention_bias", mlp: false },
        window: "local"
    },
    gpt2: {
        keys: {
            hidden: "n_embd",
            layers: "n_layer",
            heads: "n_head",
            feedForward: "n_inner",
            epsilon: "layer_norm_epsilon",
            activation: "activation_function",
            positions: "n_positions"
        },
        defaults: { epsilon: 1e-5, activation: "gelu_new", feedForward: 4, positions: 1024 },
        only: { scale_attn_weights: true, scale_attn_by_inverse_layer_idx: false, add_cross_attention: false },
        names: {
            embedding: "wte",
            positions: "wpe",
            outputNorm: "ln_f",
            output: "lm_head",
            attentionNorm: "ln_1",
            qkv: ["attn.c_attn"],
            attentionOutput: "attn.c_proj",
            feedForwardNorm: "ln_2",
            up: ["mlp.c_fc"],
            down: "mlp.c_proj"
        },
        path: "transformer",
        layers: "h",
        norm: "layer",
        normsLessOne: false,
        scaledEmbeddings: false,
        gated: false,
        positions: "learned",
        biases: { qkv: true, output: true, mlp: true },
        transposed: true,
        window: false
    },
    gpt_neox: {
        keys: {
            hidden: "hidden_size",
            layers: "num_hidden_layers",
            heads: "num_attention_heads",
            feedForward: "intermediate_size",
            epsilon: "layer_norm_eps",
            activation: "hidden_act",
            theta: "rotary_emb_base",
            rotaryShare: "rotary_pct",
            parallel: "use_parallel_residual"
        },
        defaults: { epsilon: 1e-5, activation: "gelu", rotaryShare: 0.25, parallel: true, biases: true },
        only: {},
        names: {
            embedding: "embed_in",
            outputNorm: "final_layer_norm",
            output: "lm_head",
            attentionNorm: "input_layernorm",
            qkv: ["attention.query_key_value"],
            interleaved: true,
            attentionOutput: "attention.dense",
            feedForwardNorm: "post_attention_layernorm",
            up: ["mlp.dense_h_to_4h"],
            down: "mlp.dense_4h_to_h"
        },
        path: "gpt_neox",
        layers: "layers",
        norm: "layer",
        normsLessOne: false,
        scaledEmbeddings: false,
        gated: false,
        positions: "rope",
        biases: { qkv: "attention_bias", output: "attention_bias", mlp: true },
        transposed: false,
        window: false
    },
    llama,
    mistral: { ...llama, biases: noBiases, window: true },
    phi3: {
        ...llama,
        keys: { ...llama.keys, rotaryShare: "partial_rotary_factor" },
        defaults: { ...llama.defaults, epsilon: 1e-5 },
        names: { ...llama.names, qkv: ["self_attn.qkv_proj"], up: ["mlp.gate_up_proj"] },
        biases: noBiases,
        window: true
    },
    qwen2: { ...llama, biases: { ...noBiases, qkv: true }, window: "use_sliding_window" },
    qwen3: {
        ...llama,
        defaults: { ...llama.defaults, headSize: 128 },
        names: { ...llama.names, queryNorm: "self_attn.q_norm", keyNorm: "self_attn.k_norm" },
        biases: { qkv: "attention_bias", output: "attention_bias", mlp: false },
        window: "use_sliding_window"
    }
};

export type FamilyName = (typeof baseArchitectures)[number];

export function isFamilyName(name: string): name is FamilyName {
    return Object.hasOwn(families, name);
}
