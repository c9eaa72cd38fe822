import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { openSafetensors } from "../../src/safetensors/reader.js";
import { openTorch } from "../../src/torch/reader.js";
import type { MemoryVariant } from "./associative-memory.js";
import { decodeNumbers } from "./decode-numbers.js";
import type { Linear } from "./linear.js";
import type { RopeConfig } from "./rope.js";

export type ReferenceLayer = {
    attentionNorm: Float64Array;
    q: Linear;
    k: Linear;
    v: Linear;
    o: Linear;
    ffnNorm: Float64Array;
    gate: Linear;
    up: Linear;
    down: Linear;
    memoryQ: Linear;
    memoryK: Linear;
    memoryV: Linear;
    memoryB: Linear;
};

export type Alignment = "left" | "right" | "center";

/** An ARMT checkpoint in float64. */
export type ReferenceModel = MemoryVariant & {
    vocab: number;
    heads: number;
    kvHeads: number;
    headDim: number;
    epsilon: number;
    rope: RopeConfig;
    segmentSize: number;
    memTokens: number;
    alignment: Alignment;
    /** [V, D] */
    embedding: Float64Array;
    /** [M, D] */
    memory: Float64Array;
    layers: ReferenceLayer[];
    norm: Float64Array;
    output: Linear;
};

type Tensor = { shape: number[]; values: Float64Array };
type Json = Record<string, unknown>;

/** Reads a checkpoint folder (safetensors, sharded or not, or `.bin`) without the converter. */
export async function readCheckpoint(folder: string): Promise<ReferenceModel> {
    const config = readJson(path.join(folder, "config.json"));
    const armt = readJson(path.join(folder, "armt_config.json"));
    const tensors = await readTensors(folder);
    const get = (name: string): Tensor => {
        const tensor = tensors.get(name);
        if (tensor === undefined) throw new Error(`${folder} has no tensor ${name}`);
        return tensor;
    };
    const linear = (name: string): Linear => {
        const { shape, values } = get(`${name}.weight`);
        const [outputs, inputs] = shape as [number, number];
        return { weight: values, bias: tensors.get(`${name}.bias`)?.values, inputs, outputs };
    };
    const layer = (prefix: string): ReferenceLayer => ({
        attentionNorm: get(`${prefix}.input_layernorm.weight`).values,
        q: linear(`${prefix}.self_attn.q_proj`),
        k: linear(`${prefix}.self_attn.k_proj`),
        v: linear(`${prefix}.self_attn.v_proj`),
        o: linear(`${prefix}.self_attn.o_proj`),
        ffnNorm: get(`${prefix}.post_attention_layernorm.weight`).values,
        gate: linear(`${prefix}.mlp.gate_proj`),
        up: linear(`${prefix}.mlp.up_proj`),
        down: linear(`${prefix}.mlp.down_proj`),
        memoryQ: linear(`${prefix}.W_mq`),
        memoryK: linear(`${prefix}.W_mk`),
        memoryV: linear(`${prefix}.W_mv`),
        memoryB: linear(`${prefix}.W_mb`)
    });
    const hidden = Number(config.hidden_size);
    const heads = Number(config.num_attention_heads);
    const tied = config.tie_word_embeddings === true;
    return {
        hidden,
        heads,
        vocab: Number(config.vocab_size),
        kvHeads: Number(config.num_key_value_heads ?? heads),
        headDim: Number(config.head_dim ?? hidden / heads),
        epsilon: Number(config.rms_norm_eps),
        rope: ropeConfig(config),
        segmentSize: Number(armt.segment_size),
        memTokens: get("memory").shape[0]!,
        dMem: get("layers.0.W_mk.weight").shape[0]!,
        nHeads: Number(armt.n_heads),
        alignment: armt.segment_alignment as Alignment,
        normalizeKeys: armt.normalize_keys === true,
        useDenom: armt.use_denom === true,
        correction: armt.correction === true,
        gating: armt.gating === true,
        embedding: get(tied && !tensors.has("embed_tokens.weight") ? "lm_head.weight" : "embed_tokens.weight").values,
        memory: get("memory").values,
        layers: Array.from({ length: Number(config.num_hidden_layers) }, (_, il) => layer(`layers.${il}`)),
        norm: get("norm.weight").values,
        output: linear(tied && !tensors.has("lm_head.weight") ? "embed_tokens" : "lm_head")
    };
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

/** All tensors under one short name, whichever of a tensor's names the checkpoint uses. */
async function readTensors(folder: string): Promise<Map<string, Tensor>> {
    const result = new Map<string, Tensor>();
    const names = readdirSync(folder).filter((name) => /^(model.*\.safetensors|pytorch_model.*\.bin)$/.test(name));
    if (names.length === 0) throw new Error(`${folder} holds no weights`);
    for (const name of names) {
        const filePath = path.join(folder, name);
        const file = await (name.endsWith(".bin") ? openTorch(filePath) : openSafetensors(filePath));
        for (const [tensor, { dtype, shape }] of file.tensors)
            result.set(shortName(tensor), { shape, values: decodeNumbers(dtype, await file.read(tensor)) });
        await file.close();
    }
    return result;
}

function shortName(name: string): string {
    return name
        .replace(/^(armt\.)?(memory_cell\.)?/, "")
        .replace(/^model\.(model\.)?/, "")
        .replace(/^(layers\.\d+\.)layer\./, "$1");
}

function readJson(filePath: string): Json {
    if (!existsSync(filePath)) throw new Error(`${filePath} is missing`);
    return JSON.parse(readFileSync(filePath, "utf8")) as Json;
}
