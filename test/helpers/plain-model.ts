import {
    type GgufTensorData,
    type GgufWriteValue,
    numberArray,
    stringArray,
    writeGguf
} from "../../src/formats/gguf/writer.js";

/** Size of the model: one layer, and a vocabulary of three special tokens, one for each byte, and the space. */
const vocabSize = 3 + 256 + 1;
const width = 32;
const hidden = 64;
const heads = 4;

/** Writes a LLaMA model of a few kilobytes without ARMT, with fixed weights and a byte tokenizer. */
export async function writePlainModel(file: string): Promise<void> {
    const uint32 = (value: number): GgufWriteValue => ({ type: "UINT32", value });
    const float32 = (value: number): GgufWriteValue => ({ type: "FLOAT32", value });
    const text = (value: string): GgufWriteValue => ({ type: "STRING", value });
    const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
    const tokenTypes = [2, 3, 3, ...bytes.map(() => 6), 1];
    const metadata = new Map<string, GgufWriteValue>([
        ["general.architecture", text("llama")],
        ["llama.vocab_size", uint32(vocabSize)],
        ["llama.context_length", uint32(256)],
        ["llama.embedding_length", uint32(width)],
        ["llama.block_count", uint32(1)],
        ["llama.feed_forward_length", uint32(hidden)],
        ["llama.attention.head_count", uint32(heads)],
        ["llama.attention.layer_norm_rms_epsilon", float32(1e-5)],
        ["llama.rope.dimension_count", uint32(width / heads)],
        ["tokenizer.ggml.model", text("llama")],
        ["tokenizer.ggml.tokens", stringArray(["<unk>", "<s>", "</s>", ...bytes, "▁"])],
        [
            "tokenizer.ggml.scores",
            numberArray(
                "FLOAT32",
                tokenTypes.map(() => 0)
            )
        ],
        ["tokenizer.ggml.token_type", numberArray("INT32", tokenTypes)],
        ["tokenizer.ggml.bos_token_id", uint32(1)],
        ["tokenizer.ggml.eos_token_id", uint32(2)],
        ["tokenizer.ggml.add_bos_token", { type: "BOOL", value: true }],
        ["tokenizer.ggml.add_space_prefix", { type: "BOOL", value: false }]
    ]);
    const tensors = [
        weight("token_embd.weight", [width, vocabSize]),
        weight("output_norm.weight", [width]),
        weight("output.weight", [width, vocabSize]),
        weight("blk.0.attn_norm.weight", [width]),
        weight("blk.0.attn_q.weight", [width, width]),
        weight("blk.0.attn_k.weight", [width, width]),
        weight("blk.0.attn_v.weight", [width, width]),
        weight("blk.0.attn_output.weight", [width, width]),
        weight("blk.0.ffn_norm.weight", [width]),
        weight("blk.0.ffn_gate.weight", [width, hidden]),
        weight("blk.0.ffn_up.weight", [width, hidden]),
        weight("blk.0.ffn_down.weight", [hidden, width])
    ];
    await writeGguf(file, { metadata, tensors });
}

function weight(name: string, shape: number[]): GgufTensorData {
    const values = new Float32Array(shape.reduce((product, n) => product * n, 1));
    for (let i = 0; i < values.length; i++)
        values[i] = shape.length === 1 ? 1 : Math.sin(i * 12.9898 + name.length) / 4;
    const data = async function* () {
        yield new Uint8Array(values.buffer);
    };
    return { name, type: "F32", shape, data };
}
