import path from "node:path";
import { copyTokenizer } from "../convert/tokenizer/from-gguf.js";
import { type GgufTensorData, type GgufWriteValue, writeGguf } from "../gguf/writer.js";
import { openSafetensors, type SafetensorsFile } from "../safetensors/reader.js";
import type { TinyConfig } from "../tiny/options.js";

/** llama.cpp's names of a layer's matrices. */
const matrices: Readonly<Record<string, string>> = {
    attn_q: "self_attn.q_proj",
    attn_k: "self_attn.k_proj",
    attn_v: "self_attn.v_proj",
    attn_output: "self_attn.o_proj",
    ffn_gate: "mlp.gate_proj",
    ffn_up: "mlp.up_proj",
    ffn_down: "mlp.down_proj"
};

const norms = ["attn_norm", "ffn_norm"];

/**
 * Writes the base model of an untied F16 checkpoint of ours as a plain `llama` file, which stock llama.cpp runs at full speed. For
 * timing only: norm weights are ones, and the rows of Q and K stay in Hugging Face's order, where llama.cpp wants them permuted.
 */
export async function writePlainGguf(
    { folder, converted, output }: { folder: string; converted: string; output: string },
    config: TinyConfig
): Promise<void> {
    const checkpoint = await openSafetensors(path.join(folder, "model.safetensors"));
    const base = "memory_cell.model.model";
    const tensors = [matrix(checkpoint, "token_embd", `${base}.embed_tokens`)];
    for (let il = 0; il < config.layers; il++) {
        const layer = `${base}.layers.${il}.layer`;
        for (const name of norms) tensors.push(norm(`blk.${il}.${name}`, config.hidden));
        for (const [name, source] of Object.entries(matrices))
            tensors.push(matrix(checkpoint, `blk.${il}.${name}`, `${layer}.${source}`));
    }
    tensors.push(norm("output_norm", config.hidden));
    tensors.push(matrix(checkpoint, "output", "memory_cell.model.lm_head"));
    try {
        // without a vocabulary the published libllama ends the process
        const tokenizer = await copyTokenizer(converted, config.vocab);
        await writeGguf(output, { metadata: new Map([...plainKeys(config), ...tokenizer]), tensors });
    } finally {
        await checkpoint.close();
    }
}

function matrix(checkpoint: SafetensorsFile, name: string, source: string): GgufTensorData {
    const { shape } = checkpoint.tensors.get(`${source}.weight`)!;
    return {
        name: `${name}.weight`,
        type: "F16",
        shape: [...shape].reverse(),
        data: async function* () {
            yield await checkpoint.read(`${source}.weight`);
        }
    };
}

/** Norm weights have to be F32 there. */
function norm(name: string, size: number): GgufTensorData {
    return {
        name: `${name}.weight`,
        type: "F32",
        shape: [size],
        data: async function* () {
            yield new Uint8Array(new Float32Array(size).fill(1).buffer);
        }
    };
}

function plainKeys(config: TinyConfig): Map<string, GgufWriteValue> {
    const numbers = {
        vocab_size: config.vocab,
        context_length: 8192,
        embedding_length: config.hidden,
        block_count: config.layers,
        feed_forward_length: config.ffn,
        "attention.head_count": config.heads,
        "attention.head_count_kv": config.kvHeads,
        "attention.key_length": config.headDim,
        "attention.value_length": config.headDim,
        "rope.dimension_count": config.headDim
    };
    return new Map<string, GgufWriteValue>([
        ["general.architecture", { type: "STRING", value: "llama" }],
        ["general.file_type", { type: "UINT32", value: 1 }],
        ...Object.entries(numbers).map(([key, value]): [string, GgufWriteValue] => [
            `llama.${key}`,
            { type: "UINT32", value }
        ]),
        ["llama.attention.layer_norm_rms_epsilon", { type: "FLOAT32", value: 1e-5 }],
        ["llama.rope.freq_base", { type: "FLOAT32", value: 10_000 }]
    ]);
}
