import { readFileSync } from "node:fs";
import path from "node:path";
import { loadAnyEngine } from "../../plugin/native/library.js";
import { encodeFloats, type TargetType } from "../../src/convert/float-encode.js";
import { type GgmlType, ggmlType } from "../../src/formats/gguf/types.js";
import { type GgufTensorData, type GgufWriteValue, writeGguf } from "../../src/formats/gguf/writer.js";
import { openSafetensors } from "../../src/formats/safetensors/reader.js";
import { type TensorData, writeSafetensors } from "../../src/formats/safetensors/writer.js";
import { openTorch } from "../../src/formats/torch/reader.js";
import { decodeNumbers } from "./decode-numbers.js";

// Stock model files as llama.cpp's convert_hf_to_gguf.py makes them from a base model's checkpoint. This code shares
// nothing with the converter and `armt attach`, which tests compare with it.

type Json = Record<string, unknown>;
type Values = { shape: number[]; values: Float32Array };

/** Architecture of a `model_type`, and stock names of the modules that differ from LLaMA's. */
const architectures: Readonly<Record<string, { name: string; modules: Readonly<Record<string, string>> }>> = {
    llama: { name: "llama", modules: {} },
    mistral: { name: "llama", modules: {} },
    qwen2: { name: "qwen2", modules: {} },
    qwen3: { name: "qwen3", modules: {} },
    phi3: { name: "phi3", modules: { "self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up" } },
    gemma3_text: {
        name: "gemma3",
        modules: {
            post_attention_layernorm: "post_attention_norm",
            pre_feedforward_layernorm: "ffn_norm",
            post_feedforward_layernorm: "post_ffw_norm"
        }
    },
    gpt2: {
        name: "gpt2",
        modules: {
            ln_1: "attn_norm",
            "attn.c_attn": "attn_qkv",
            "attn.c_proj": "attn_output",
            ln_2: "ffn_norm",
            "mlp.c_fc": "ffn_up",
            "mlp.c_proj": "ffn_down"
        }
    },
    gpt_neox: {
        name: "gptneox",
        modules: {
            "attention.query_key_value": "attn_qkv",
            "attention.dense": "attn_output",
            "mlp.dense_h_to_4h": "ffn_up",
            "mlp.dense_4h_to_h": "ffn_down"
        }
    }
};

const llamaModules: Readonly<Record<string, string>> = {
    input_layernorm: "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    post_attention_layernorm: "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down"
};

const singles: Readonly<Record<string, string>> = {
    "embed_tokens.weight": "token_embd.weight",
    "wte.weight": "token_embd.weight",
    "embed_in.weight": "token_embd.weight",
    "wpe.weight": "position_embd.weight",
    "norm.weight": "output_norm.weight",
    "ln_f.weight": "output_norm.weight",
    "ln_f.bias": "output_norm.bias",
    "final_layer_norm.weight": "output_norm.weight",
    "final_layer_norm.bias": "output_norm.bias",
    "lm_head.weight": "output.weight"
};

/** All tensors by their names without wrappers, and ARMT's own tensors unchanged. */
async function readCheckpoint(folder: string): Promise<{ base: Map<string, Values>; memory: TensorData[] }> {
    const isTorch = await openTorch(path.join(folder, "pytorch_model.bin")).catch(() => undefined);
    const file = isTorch ?? (await openSafetensors(path.join(folder, "model.safetensors")));
    const base = new Map<string, Values>();
    const memory: TensorData[] = [];
    for (const [name, { dtype, shape }] of file.tensors) {
        // each layer's second name
        if (name.startsWith("memory_cell.layers.")) continue;
        const data = await file.read(name);
        if (/\.W_m[qkvb]\.|\.(?:memory|sink)$/.test(name)) {
            memory.push({ name, dtype, shape, data });
            continue;
        }
        const short = name
            .replace(/^memory_cell\.model\.(model\.|transformer\.|gpt_neox\.)?/, "")
            .replace(/^h\./, "layers.")
            .replace(/^(layers\.\d+\.)layer\./, "$1");
        base.set(short, { shape, values: Float32Array.from(decodeNumbers(dtype, data)) });
    }
    await file.close();
    return { base, memory };
}

/** Rows of Q or K in the order of llama.cpp's LLaMA: reshape(heads, 2, size / 2).swapaxes(1, 2). */
function permute({ shape, values }: Values, heads: number): Values {
    const [rows = 0, columns = 1] = shape;
    const size = rows / heads;
    const result = new Float32Array(values.length);
    for (let head = 0; head < heads; head++)
        for (let half = 0; half < 2; half++)
            for (let i = 0; i < size / 2; i++) {
                const from = (head * size + half * (size / 2) + i) * columns;
                result.set(values.subarray(from, from + columns), (head * size + 2 * i + half) * columns);
            }
    return { shape, values: result };
}

/** Reorders GPT-NeoX's rows from Q, K and V of each head to all of Q, all of K, all of V. */
function separate({ shape, values }: Values, heads: number): Values {
    const [rows = 0, columns = 1] = shape;
    const size = rows / heads / 3;
    const result = new Float32Array(values.length);
    for (let head = 0; head < heads; head++)
        for (let which = 0; which < 3; which++) {
            const from = (head * 3 + which) * size * columns;
            result.set(values.subarray(from, from + size * columns), (which * heads + head) * size * columns);
        }
    return { shape, values: result };
}

function transpose({ shape, values }: Values): Values {
    const [rows = 0, columns = 0] = shape;
    return {
        shape: [columns, rows],
        values: Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!)
    };
}

export interface StockFiles {
    /** The base model's file. */
    readonly base: string;
    /** ARMT's own tensors. */
    readonly memory: string;
}

export interface StockOptions {
    /** Type of a matrix, by its name in the file. */
    type?: (name: string) => GgmlType;
    /** Metadata of the memory's file. Default: empty. */
    metadata?: Record<string, string>;
    /** Keys that override the checkpoint's. */
    keys?: Record<string, GgufWriteValue>;
    /** Changes a tensor: the result replaces it. */
    change?: (tensor: GgufTensorData) => GgufTensorData[];
}

/** Splits a checkpoint folder into a stock file of its base model and a safetensors file with ARMT's tensors. */
export async function writeStock(
    folder: string,
    to: string,
    { type = () => "F32", metadata = {}, keys = {}, change = (tensor) => [tensor] }: StockOptions = {}
): Promise<StockFiles> {
    const config = JSON.parse(readFileSync(path.join(folder, "config.json"), "utf8")) as Json;
    const { base, memory } = await readCheckpoint(folder);
    const files = { base: path.join(to, "base.gguf"), memory: path.join(to, "memory.safetensors") };
    const { name: architecture, modules } = architectures[String(config.model_type)]!;
    const heads = Number(config.num_attention_heads ?? config.n_head);
    const kvHeads = Number(config.num_key_value_heads ?? heads);
    const tensors: GgufTensorData[] = [];
    for (const [short, original] of base) {
        const [, layer, module = "", suffix] = /^layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(short) ?? [];
        const kind = modules[module] ?? llamaModules[module];
        if (layer !== undefined && kind === undefined) throw new Error(`no stock name for ${short}`);
        const name = layer === undefined ? singles[short] : `blk.${layer}.${kind}.${suffix}`;
        if (name === undefined) throw new Error(`no stock name for ${short}`);
        if (name === "output.weight" && config.tie_word_embeddings === true) continue;
        let tensor = original;
        if (architecture === "llama" && kind === "attn_q") tensor = permute(tensor, heads);
        if (architecture === "llama" && kind === "attn_k") tensor = permute(tensor, kvHeads);
        if (architecture === "gptneox" && kind === "attn_qkv") tensor = separate(tensor, heads);
        if (architecture === "gpt2" && layer !== undefined && tensor.shape.length === 2) tensor = transpose(tensor);
        if (architecture === "gemma3" && name.endsWith("norm.weight"))
            tensor = { ...tensor, values: tensor.values.map((value) => value + 1) };
        const { shape, values } = tensor;
        const target = shape.length < 2 || name === "position_embd.weight" ? "F32" : type(name);
        const data = async function* () {
            yield await encode(values, target, shape.at(-1)!);
        };
        tensors.push(...change({ name, type: target, shape: shape.toReversed(), data }));
    }
    const metadataOfBase = new Map([...stockKeys(architecture, config, kvHeads), ...Object.entries(keys)]);
    await writeGguf(files.base, { metadata: metadataOfBase, tensors });
    await writeSafetensors(files.memory, memory, { format: "pt", ...metadata });
    return files;
}

async function encode(values: Float32Array, type: GgmlType, rowLength: number): Promise<Uint8Array> {
    const own: readonly string[] = ["F32", "F16", "BF16", "Q8_0"] satisfies TargetType[];
    if (own.includes(type)) return encodeFloats(values, type as TargetType)!;
    const { addon } = await loadAnyEngine();
    return addon.quantize(ggmlType(type).id, values, rowLength);
}

function stockKeys(architecture: string, config: Json, kvHeads: number): [string, GgufWriteValue][] {
    const uint32 = (key: string, value: unknown): [string, GgufWriteValue] => [
        `${architecture}.${key}`,
        { type: "UINT32", value: Number(value) }
    ];
    const float32 = (key: string, value: unknown): [string, GgufWriteValue] => [
        `${architecture}.${key}`,
        { type: "FLOAT32", value: Number(value) }
    ];
    const keys: [string, GgufWriteValue][] = [["general.architecture", { type: "STRING", value: architecture }]];
    const hidden = Number(config.hidden_size ?? config.n_embd);
    const heads = Number(config.num_attention_heads ?? config.n_head);
    keys.push(
        uint32("context_length", 2048),
        uint32("embedding_length", hidden),
        uint32("block_count", config.num_hidden_layers ?? config.n_layer),
        uint32("feed_forward_length", config.intermediate_size ?? config.n_inner ?? 4 * hidden),
        uint32("attention.head_count", heads)
    );
    const layerNorm = config.layer_norm_epsilon ?? config.layer_norm_eps;
    if (layerNorm === undefined) keys.push(float32("attention.layer_norm_rms_epsilon", config.rms_norm_eps));
    else keys.push(float32("attention.layer_norm_epsilon", layerNorm));
    if (architecture === "gpt2") return keys;
    const headSize = Number(config.head_dim ?? hidden / heads);
    const all = (config.rope_parameters ?? {}) as Json;
    const rope = (all.full_attention ?? all) as Json;
    const theta =
        rope.rope_theta ??
        config.rope_theta ??
        config.rotary_emb_base ??
        (architecture === "gemma3" ? 1_000_000 : undefined);
    if (theta !== undefined) keys.push(float32("rope.freq_base", theta));
    const share = Number(rope.partial_rotary_factor ?? config.partial_rotary_factor ?? config.rotary_pct ?? 1);
    keys.push(uint32("rope.dimension_count", Math.trunc(headSize * share)));
    if (rope.rope_type === "linear") {
        keys.push(
            [`${architecture}.rope.scaling.type`, { type: "STRING", value: "linear" }],
            float32("rope.scaling.factor", rope.factor)
        );
    }
    if (architecture === "gptneox")
        keys.push(["gptneox.use_parallel_residual", { type: "BOOL", value: config.use_parallel_residual !== false }]);
    else
        keys.push(
            uint32("attention.head_count_kv", kvHeads),
            uint32("attention.key_length", headSize),
            uint32("attention.value_length", headSize)
        );
    if (architecture === "gemma3" || config.model_type === "phi3")
        if (config.sliding_window !== undefined && config.sliding_window !== null)
            keys.push(uint32("attention.sliding_window", config.sliding_window));
    return keys;
}
