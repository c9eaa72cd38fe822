import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { type ConvertOptions, convertCheckpoint } from "../../src/convert/convert.js";
import { validateArmtModel } from "../../src/formats/gguf/armt-model.js";
import { openGguf } from "../../src/formats/gguf/reader.js";
import { openSafetensors } from "../../src/formats/safetensors/reader.js";
import { type TensorData, writeSafetensors } from "../../src/formats/safetensors/writer.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import type { TinyOptions } from "../../src/tiny/options.js";
import { decodeNumbers } from "../helpers/decode-numbers.js";
import { temporaryFolder } from "../helpers/temporary.js";

// Layers of these families compute what a LLaMA's do, so the same weights have to become the same tensors.

type Config = Record<string, unknown>;

async function makeLlama(t: ExecutionContext): Promise<string> {
    const folder = path.join(temporaryFolder(t), "checkpoint");
    await makeTinyCheckpoint(folder, { layers: 2, segmentSize: 16, memTokens: 4, dtype: "F32" });
    return folder;
}

function editConfig(folder: string, edit: Config): void {
    const file = path.join(folder, "config.json");
    writeFileSync(file, JSON.stringify({ ...(JSON.parse(readFileSync(file, "utf8")) as Config), ...edit }));
}

async function convertedTensors(folder: string, name: string): Promise<[family: unknown, Map<string, Buffer>]> {
    const output = path.join(folder, "..", `${name}.gguf`);
    await convertCheckpoint({ checkpoint: folder, output, outType: "f32" });
    const file = await openGguf(output);
    const tensors = new Map<string, Buffer>();
    for (const tensor of file.tensors.keys()) tensors.set(tensor, await file.readTensor(tensor));
    const family = file.metadata.get("armt.base_architecture");
    await file.close();
    return [family && "value" in family ? family.value : undefined, tensors];
}

/** Joins the rows of matrices, as Phi-3 saves them. */
async function fuse(folder: string, groups: Record<string, string[]>): Promise<void> {
    const file = path.join(folder, "model.safetensors");
    const source = await openSafetensors(file);
    const parts = new Map(Object.entries(groups).flatMap(([name, members]) => members.map((m) => [m, name] as const)));
    const tensors: TensorData[] = [];
    for (const [name, { dtype, shape }] of source.tensors) {
        const part = [...parts.keys()].find((member) => name.includes(`.${member}.`));
        if (part === undefined) {
            const bytes = await source.read(name);
            tensors.push({ name, dtype, shape, data: only(bytes) });
            continue;
        }
        const group = parts.get(part)!;
        if (groups[group]![0] !== part) continue;
        const members = groups[group]!.map((member) => name.replace(`.${part}.`, `.${member}.`));
        const rows = members.reduce((sum, member) => sum + source.tensors.get(member)!.shape[0]!, 0);
        const bytes = Buffer.concat(await Promise.all(members.map((member) => source.read(member))));
        tensors.push({
            name: name.replace(`.${part}.`, `.${group}.`),
            dtype,
            shape: [rows, shape[1]!],
            data: only(bytes)
        });
    }
    await source.close();
    await writeSafetensors(file, tensors);
}

async function* only(bytes: Buffer): AsyncGenerator<Uint8Array> {
    yield bytes;
}

test("a Mistral becomes the tensors of the LLaMA with its weights", async (t) => {
    const folder = await makeLlama(t);
    const [, expected] = await convertedTensors(folder, "llama");
    editConfig(folder, { model_type: "mistral", sliding_window: 20 });
    const [family, tensors] = await convertedTensors(folder, "mistral");
    t.is(family, "mistral");
    t.deepEqual(tensors, expected);
});

test("a Phi-3 becomes the tensors of the LLaMA with its weights", async (t) => {
    const folder = await makeLlama(t);
    const [, expected] = await convertedTensors(folder, "llama");
    editConfig(folder, { model_type: "phi3", sliding_window: null });
    await fuse(folder, { qkv_proj: ["q_proj", "k_proj", "v_proj"], gate_up_proj: ["gate_proj", "up_proj"] });
    const [family, tensors] = await convertedTensors(folder, "phi3");
    t.is(family, "phi3");
    t.deepEqual(tensors, expected);
});

test("a window that a segment does not fit into is a key of format 3, and refused for Qwen", async (t) => {
    const folder = await makeLlama(t);
    editConfig(folder, { model_type: "mistral", sliding_window: 19 });
    const [family] = await convertedTensors(folder, "mistral");
    t.is(family, "mistral");
    const qwen = await makeTiny(t, { family: "qwen3", config: { sliding_window: 19, use_sliding_window: true } });
    await t.throwsAsync(convertedFacts(qwen), {
        message: /attends to 19 rows \(config\.json: `sliding_window`\), and a segment has 20 with its memory tokens/
    });
});

test("a Qwen2 without the biases that the family has is refused, whatever its window", async (t) => {
    const folder = await makeLlama(t);
    editConfig(folder, { model_type: "qwen2", sliding_window: 4, use_sliding_window: false });
    await t.throwsAsync(convertedTensors(folder, "qwen2"), { message: /q_proj\.bias/ });
});

async function makeTiny(t: ExecutionContext, options: TinyOptions): Promise<string> {
    const folder = path.join(temporaryFolder(t), "checkpoint");
    await makeTinyCheckpoint(folder, { layers: 2, hidden: 32, vocab: 40, dMem: 8, memTokens: 4, ...options });
    return folder;
}

async function convertedFacts(folder: string, flags: ConvertOptions["flags"] = {}) {
    const output = path.join(folder, "..", "model.gguf");
    await convertCheckpoint({ checkpoint: folder, output, outType: "f32", overwrite: true, flags });
    return validateArmtModel(output);
}

async function readValues(folder: string, name: string): Promise<Float64Array> {
    const source = await openSafetensors(path.join(folder, "model.safetensors"));
    const values = decodeNumbers("F32", await source.read(name));
    await source.close();
    return values;
}

test("GPT-2's matrices are transposed, whatever the out type", async (t) => {
    const folder = await makeTiny(t, { family: "gpt2", wrapPositions: true });
    const [family, tensors] = await convertedTensors(folder, "gpt2");
    t.is(family, "gpt2");
    const source = await readValues(folder, "memory_cell.model.transformer.h.1.layer.attn.c_attn.weight");
    const written = decodeNumbers("F32", tensors.get("blk.0.attn_qkv.weight")!).subarray(32 * 96);
    for (const [row, column] of [
        [0, 0],
        [0, 31],
        [95, 0],
        [50, 7]
    ] as const)
        t.is(written[row * 32 + column], source[column * 96 + row]);
    const table = await readValues(folder, "memory_cell.model.transformer.wpe.weight");
    t.deepEqual(decodeNumbers("F32", tensors.get("position_embd.weight")!), table);
    const facts = await convertedFacts(folder);
    t.like(facts, { norm: "layer", activation: "gelu_tanh", gated: false, feedForwardLength: 64 });
    t.deepEqual(facts.positions, { type: "learned", count: 132, wrapped: true, continues: false });
});

test("a GPT-2's feed-forward size is four times its width where the config says nothing", async (t) => {
    const folder = await makeTiny(t, { family: "gpt2", ffn: 128, config: { n_inner: null } });
    t.is((await convertedFacts(folder)).feedForwardLength, 128);
});

test("memory rows that saw no text in training are kept apart", async (t) => {
    const attends = async (wrapPositions: boolean, version: string, memoryAttendsToText?: boolean) => {
        const config = { transformers_version: version };
        const folder = await makeTiny(t, { family: "gpt2", wrapPositions, config });
        return (await convertedFacts(folder, { memoryAttendsToText })).memory.attendsToText;
    };
    t.false(await attends(true, "5.17.0"));
    t.true(await attends(true, "5.17.0", true));
    t.true(await attends(false, "5.17.0"));
    t.true(await attends(true, "4.45.1"));
    t.false(await attends(true, "4.45.1", false));
});

test("a position table without the memory tokens' rows is no wrapped one", async (t) => {
    const folder = await makeTiny(t, { family: "gpt2", wrapPositions: false });
    await t.throwsAsync(convertedFacts(folder, { wrapPositions: true }), {
        message: /wpe\.weight" is \[128, 32\], expected \[132, 32\]/
    });
});

test("segments longer than the position table are refused", async (t) => {
    const folder = await makeTiny(t, { family: "gpt2", segmentSize: 125 });
    await t.throwsAsync(convertedFacts(folder), { message: /has 128 positions, and a segment has 129 rows/ });
});

test("other computations of GPT-2's code are refused by name", async (t) => {
    for (const [key, value] of [
        ["scale_attn_by_inverse_layer_idx", true],
        ["scale_attn_weights", false],
        ["add_cross_attention", true]
    ] as const) {
        const folder = await makeTiny(t, { family: "gpt2", config: { [key]: value } });
        await t.throwsAsync(convertedFacts(folder), { message: new RegExp(`\`${key}\` is ${value}`) });
    }
});

test("a GPT-2 saved without the biases of Q, K and V is refused", async (t) => {
    const folder = await makeTiny(t, { family: "gpt2" });
    const file = path.join(folder, "model.safetensors");
    const source = await openSafetensors(file);
    const tensors: TensorData[] = [];
    for (const [name, { dtype, shape }] of source.tensors)
        if (!name.endsWith("attn.bias")) tensors.push({ name, dtype, shape, data: only(await source.read(name)) });
    await source.close();
    await writeSafetensors(file, tensors);
    await t.throwsAsync(convertedFacts(folder), { message: /no tensor "layers\.0\.layer\.attn\.c_attn\.bias"/ });
});

test("a Qwen3 has norms of its heads, and heads of 128 where the config says nothing", async (t) => {
    const folder = await makeTiny(t, { family: "qwen3", headDim: 128, heads: 2, kvHeads: 1 });
    editConfig(folder, { head_dim: null });
    const [, tensors] = await convertedTensors(folder, "qwen3");
    const second = await readValues(folder, "memory_cell.model.model.layers.1.layer.self_attn.k_norm.weight");
    t.deepEqual(decodeNumbers("F32", tensors.get("blk.0.attn_k_norm.weight")!).subarray(128), second);
    t.like(await convertedFacts(folder), { headSize: 128, headCount: 2, headCountKv: 1 });
});

test("a Qwen3 without the norms of its heads is refused", async (t) => {
    const folder = await makeTiny(t, {});
    editConfig(folder, { model_type: "qwen3" });
    await t.throwsAsync(convertedFacts(folder), { message: /no tensor "layers\.0\.layer\.self_attn\.q_norm\.weight"/ });
});

test("a GPT-NeoX has its heads' Q, K and V apart, and the defaults of its code", async (t) => {
    const folder = await makeTiny(t, { family: "gpt_neox", biases: true, config: { attention_bias: null } });
    const [, tensors] = await convertedTensors(folder, "neox");
    const name = "memory_cell.model.gpt_neox.layers.1.layer.attention.query_key_value";
    const weight = await readValues(folder, `${name}.weight`);
    const bias = await readValues(folder, `${name}.bias`);
    const writtenWeight = decodeNumbers("F32", tensors.get("blk.0.attn_qkv.weight")!).subarray(96 * 32);
    const writtenBias = decodeNumbers("F32", tensors.get("blk.0.attn_qkv.bias")!).subarray(96);
    for (const [which, head] of [
        [0, 0],
        [0, 3],
        [1, 0],
        [2, 2]
    ] as const) {
        const [to, from] = [which * 32 + head * 8, (3 * head + which) * 8];
        t.deepEqual(writtenWeight.slice(to * 32, (to + 8) * 32), weight.slice(from * 32, (from + 8) * 32));
        t.deepEqual(writtenBias.slice(to, to + 8), bias.slice(from, from + 8));
    }
    const facts = await convertedFacts(folder);
    t.like(facts, { norm: "layer", activation: "gelu", gated: false, parallelResidual: true });
    t.like(facts.positions, { type: "rope", dimensions: 2, freqBase: 10_000 });
});

test("a share of a head that leaves RoPE no pairs is refused", async (t) => {
    const folder = await makeTiny(t, { family: "gpt_neox", config: { rotary_pct: 0.2 } });
    await t.throwsAsync(convertedFacts(folder), { message: /`rotary_pct` is 0\.2/ });
});

test("a Phi-3 may turn a part of its heads, a LLaMA may not", async (t) => {
    const config = { partial_rotary_factor: 0.5 };
    const phi = await makeTiny(t, { family: "phi3", config });
    t.like((await convertedFacts(phi)).positions, { dimensions: 4 });
    const llama = await makeTiny(t, { config });
    await t.throwsAsync(convertedFacts(llama), { message: /`partial_rotary_factor` is 0\.5, expected 1/ });
});

const localLayers = { layer_types: ["sliding_attention", "full_attention"], rope_parameters: null };

test("a Gemma 3 has norms with 1 added, and its own scales", async (t) => {
    const config = { ...localLayers, query_pre_attn_scalar: 16 };
    const folder = await makeTiny(t, { family: "gemma3_text", tied: true, config });
    const [, tensors] = await convertedTensors(folder, "gemma");
    for (const [kind, module] of [
        ["attn_norm", "input_layernorm"],
        ["attn_q_norm", "self_attn.q_norm"],
        ["post_attention_norm", "post_attention_layernorm"],
        ["ffn_norm", "pre_feedforward_layernorm"],
        ["post_ffw_norm", "post_feedforward_layernorm"]
    ] as const) {
        const weight = await readValues(folder, `memory_cell.model.model.layers.1.layer.${module}.weight`);
        const expected = weight.map((x) => Math.fround(x + 1));
        const written = decodeNumbers("F32", tensors.get(`blk.0.${kind}.weight`)!);
        t.deepEqual(written.subarray(weight.length), expected, kind);
    }
    const facts = await convertedFacts(folder);
    t.like(facts, { attentionScale: 0.25, embeddingScale: Math.fround(Math.sqrt(32)), slidingWindow: 4096 });
    t.like(facts.positions, { freqBase: 1_000_000, localFreqBase: 10_000 });
});

test("a Gemma 3's embeddings are scaled in their type", async (t) => {
    const folder = await makeTiny(t, { family: "gemma3_text", tied: true, config: localLayers, dtype: "BF16" });
    t.is((await convertedFacts(folder)).embeddingScale, 5.65625);
});

test("a Gemma 3's local layers may have a window that a segment does not fit into", async (t) => {
    const local = await makeTiny(t, { family: "gemma3_text", config: { ...localLayers, sliding_window: 19 } });
    t.is((await convertedFacts(local)).slidingWindow, 19);
    const global = await makeTiny(t, {
        family: "gemma3_text",
        config: { sliding_window: 19, layer_types: ["full_attention", "full_attention"] }
    });
    t.is((await convertedFacts(global)).slidingWindow, undefined);
});

test("other computations of Gemma 3's code are refused by name", async (t) => {
    for (const [config, message] of [
        [{ attn_logit_softcapping: 50 }, /`attn_logit_softcapping` is 50/],
        [{ final_logit_softcapping: 30 }, /`final_logit_softcapping` is 30/],
        [{ use_bidirectional_attention: true }, /`use_bidirectional_attention` is true/],
        [{ layer_types: ["full_attention", "chunked_attention"] }, /`layer_types` is "chunked_attention"/],
        [{ layer_types: ["full_attention"] }, /`layer_types` is a list, expected a list of 2/],
        [
            { ...localLayers, rope_parameters: { sliding_attention: { rope_type: "linear", factor: 2 } } },
            /`sliding_attention` layers is scaled/
        ]
    ] as const) {
        const folder = await makeTiny(t, { family: "gemma3_text", config });
        await t.throwsAsync(convertedFacts(folder), { message });
    }
});

test("masks that older code saves with the weights are ignored", async (t) => {
    for (const [family, module] of [
        ["gpt2", "transformer.h.1.layer.attn"],
        ["gpt_neox", "gpt_neox.layers.1.layer.attention"]
    ] as const) {
        const folder = await makeTiny(t, { family });
        const file = path.join(folder, "model.safetensors");
        const source = await openSafetensors(file);
        const tensors: TensorData[] = [];
        for (const [name, { dtype, shape }] of source.tensors)
            tensors.push({ name, dtype, shape, data: only(await source.read(name)) });
        await source.close();
        for (const name of ["bias", "masked_bias"]) {
            const data = only(Buffer.alloc(16));
            tensors.push({ name: `memory_cell.model.${module}.${name}`, dtype: "U8", shape: [1, 1, 4, 4], data });
        }
        await writeSafetensors(file, tensors);
        t.is((await convertedFacts(folder)).baseArchitecture, family);
    }
});

test("attention and MLP have biases of their own", async (t) => {
    const folder = await makeTiny(t, { biases: true, config: { mlp_bias: false } });
    await t.throwsAsync(convertedFacts(folder), { message: /mlp\.\w+\.bias" has no place/ });
});

test("a GPT-NeoX's output has two names", async (t) => {
    const folder = await makeTiny(t, { family: "gpt_neox" });
    const [, expected] = await convertedTensors(folder, "new");
    const file = path.join(folder, "model.safetensors");
    const source = await openSafetensors(file);
    const tensors: TensorData[] = [];
    for (const [name, { dtype, shape }] of source.tensors)
        tensors.push({ name: name.replace("lm_head", "embed_out"), dtype, shape, data: only(await source.read(name)) });
    await source.close();
    await writeSafetensors(file, tensors);
    const [, tensorsOfOld] = await convertedTensors(folder, "old");
    t.deepEqual(tensorsOfOld, expected);
});
