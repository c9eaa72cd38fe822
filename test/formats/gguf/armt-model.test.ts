import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { convertCheckpoint } from "../../../src/convert/convert.js";
import { validateArmtModel } from "../../../src/formats/gguf/armt-model.js";
import { describeGguf } from "../../../src/formats/gguf/describe.js";
import { openGguf } from "../../../src/formats/gguf/reader.js";
import { type GgmlType, ggmlType, tensorByteLength } from "../../../src/formats/gguf/types.js";
import { booleanArray, type GgufWriteValue, writeGguf } from "../../../src/formats/gguf/writer.js";
import { makeTinyCheckpoint } from "../../../src/tiny/checkpoint.js";
import { temporaryFolder } from "../../helpers/temporary.js";

type Planned = { type: GgmlType; shape: number[] };
type Model = { keys: Map<string, GgufWriteValue>; tensors: Map<string, Planned> };

const sizes = { layers: 3, hidden: 32, vocab: 40, dMem: 8, biases: true, tokenizer: false } as const;

/** Converts a tiny checkpoint, lets `change` alter what its file says, and writes that with zeros for weights. */
async function changedModel(t: ExecutionContext, change: (model: Model) => void): Promise<string> {
    const folder = temporaryFolder(t);
    const original = path.join(folder, "original.gguf");
    await makeTinyCheckpoint(path.join(folder, "checkpoint"), sizes);
    await convertCheckpoint({ checkpoint: path.join(folder, "checkpoint"), output: original, tokenizer: false });
    const gguf = await openGguf(original);
    const keys = new Map<string, GgufWriteValue>();
    for (const [name, value] of gguf.metadata) if (value.type !== "ARRAY") keys.set(name, value);
    const tensors = new Map([...gguf.tensors].map(([name, { type, shape }]) => [name, { type: type.name, shape }]));
    await gguf.close();
    change({ keys, tensors });
    const changed = path.join(folder, "changed.gguf");
    const list = [...tensors].map(([name, { type, shape }]) => {
        async function* data() {
            yield new Uint8Array(tensorByteLength(ggmlType(type), shape));
        }
        return { name, type, shape, data };
    });
    await writeGguf(changed, { metadata: keys, tensors: list });
    return changed;
}

test("keys of a converted model are read", async (t) => {
    const info = await validateArmtModel(await changedModel(t, () => {}));
    t.like(info, {
        baseArchitecture: "llama",
        vocabSize: 40,
        blockCount: 3,
        headCount: 4,
        headCountKv: 2,
        headSize: 8
    });
    t.like(info, { segmentSize: 16, segmentAlignment: "left", norm: "rms", activation: "silu", gated: true });
    t.deepEqual(info.positions, {
        type: "rope",
        dimensions: 8,
        freqBase: 10_000,
        linearFactor: 1,
        localFreqBase: undefined
    });
    t.like(info.memory, {
        tokenCount: 8,
        keyLength: 8,
        dpfpOrder: 3,
        headCount: 1,
        normalizeKeys: true,
        gating: false
    });
    t.regex(info.fingerprint, /^[0-9a-f]{64}$/);
});

test("stacks may be split anywhere", async (t) => {
    const file = await changedModel(t, ({ tensors }) => {
        tensors.set("blk.0.memory_k.weight", { type: "F16", shape: [32, 8, 2] });
        tensors.set("blk.2.memory_k.weight", { type: "F32", shape: [32, 8] });
    });
    t.is((await validateArmtModel(file)).blockCount, 3);
});

test("every key but name, file type, quantization and digest is required, and named when missing", async (t) => {
    let names: string[] = [];
    await changedModel(t, ({ keys }) => {
        names = [...keys.keys()].filter(
            (key) => (key.startsWith("armt.") && key !== "armt.head_digest") || key === "tokenizer.ggml.model"
        );
    });
    t.is(names.length, 26);
    for (const name of names) {
        const file = await changedModel(t, ({ keys }) => keys.delete(name));
        const error = await t.throwsAsync(validateArmtModel(file), { name: "ArmtError" });
        t.true(error.message.includes(name), error.message);
    }
});

test("every tensor but the optional ones is required, and named when missing", async (t) => {
    let names: string[] = [];
    await changedModel(t, ({ tensors }) => {
        names = [...tensors.keys()].filter(
            (name) => name !== "output.weight" && !/(qkv|output|up|down)\.bias/.test(name)
        );
    });
    t.is(names.length, 14);
    for (const name of names) {
        const file = await changedModel(t, ({ tensors }) => tensors.delete(name));
        await t.throwsAsync(validateArmtModel(file), {
            name: "ArmtError",
            message: new RegExp(`"${name}" is missing`)
        });
    }
});

const refused = test.macro({
    title: (name = "") => `refused: ${name}`,
    async exec(t, change: (model: Model) => void, message: RegExp) {
        await t.throwsAsync(validateArmtModel(await changedModel(t, change)), { name: "ArmtError", message });
    }
});

const setKey = (name: string, value: GgufWriteValue) => (model: Model) => model.keys.set(name, value);
const setCount = (name: string, value: number) => setKey(name, { type: "UINT32", value });
const setText = (name: string, value: string) => setKey(name, { type: "STRING", value });
const setTensor = (name: string, type: GgmlType, shape: number[]) => (model: Model) =>
    model.tensors.set(name, { type, shape });

const setLocal = (layers: boolean[]) => setKey("armt.rope.local_layers", booleanArray(layers));

test(
    "other model",
    refused,
    setText("general.architecture", "llama"),
    /it is a "llama" model without a memory; train one with armt-train, add one with `armt attach`/
);
test("a memory alone", refused, setText("general.architecture", "armt-memory"), /without its base.*`armt attach`/);
test("future format", refused, setCount("armt.format_version", 6), /"armt\.format_version" is 6, expected 1 to 5/);
const setEpsilon = (value: number, version: number) => (model: Model) => {
    setKey("armt.memory.epsilon", { type: "FLOAT32", value })(model);
    setCount("armt.format_version", version)(model);
};
test(
    "an epsilon in a file of format 4",
    refused,
    setEpsilon(0.3, 4),
    /format_version" is 4, expected 5, with an epsilon/
);
test("an epsilon of 0", refused, setEpsilon(0, 5), /"armt\.memory\.epsilon" is 0, expected a positive number/);
test(
    "a sink in a file of format 1",
    refused,
    setCount("armt.sink_count", 1),
    /format_version" is 1, expected 2, with a sink/
);
test("two sinks", refused, setCount("armt.sink_count", 2), /"armt\.sink_count" is 2/);
test("unknown armt key", refused, setCount("armt.sink", 1), /unknown key "armt\.sink"/);
test("segment size 0", refused, setCount("armt.segment_size", 0), /"armt\.segment_size" is 0/);
test("key of another type", refused, setText("armt.segment_size", "8"), /is STRING, expected UINT32/);
test("unknown alignment", refused, setText("armt.segment_alignment", "top"), /"top", expected left, right, center/);
test("unknown base", refused, setText("armt.base_architecture", "gpt3"), /"gpt3", expected gemma3_text, gpt2/);
test("bad fingerprint", refused, setText("armt.fingerprint", "00"), /64 hex digits/);
test(
    "infinite RoPE base",
    refused,
    setKey("armt.rope.freq_base", { type: "FLOAT32", value: Infinity }),
    /a positive number/
);
test("unknown activation", refused, setText("armt.activation", "relu"), /"relu", expected silu, gelu, gelu_tanh/);
test(
    "no gate, but its weights",
    refused,
    setKey("armt.feed_forward_gated", { type: "BOOL", value: false }),
    /ffn_up\.weight" is \[32, 128, 3\], expected \[32, 64, 3\]/
);
test("RoPE and learned positions", refused, setCount("armt.position_count", 64), /unknown key "armt\.rope\./);
test(
    "window below a segment in a file of format 1",
    refused,
    setCount("armt.attention.sliding_window", 20),
    /format_version" is 1, expected 3, with an inner loop's keys or a window within a segment/
);
test(
    "window below a segment and the one before",
    refused,
    ({ keys }) => {
        keys.set("armt.format_version", { type: "UINT32", value: 2 });
        keys.set("armt.attention.previous_segment", { type: "BOOL", value: true });
        keys.set("armt.attention.sliding_window", { type: "UINT32", value: 30 });
    },
    /is 16, expected 11 at most/
);
for (const [key, value] of [
    ["armt.memory.mutual", { type: "BOOL", value: true }],
    ["armt.memory.disjoint", { type: "BOOL", value: true }],
    ["armt.attention.previous_segment_positions", { type: "STRING", value: "apart" }]
] as const)
    test(`${key} in a file of format 1`, refused, setKey(key, value), /format_version" is 1, expected 3/);
test("unknown kind of memory", refused, setText("armt.memory.kind", "none"), /"none", expected associative, recurrent/);
test(
    "plain RMT with keys of an associative memory",
    refused,
    ({ keys }) => {
        keys.set("armt.format_version", { type: "UINT32", value: 3 });
        keys.set("armt.memory.kind", { type: "STRING", value: "recurrent" });
    },
    /unknown key "armt\.memory\.key_length"/
);
test(
    "unknown positions",
    refused,
    setText("armt.attention.previous_segment_positions", "up"),
    /"up", expected continued, restarted, apart/
);
test(
    "disjoint memory with a sink",
    refused,
    ({ keys, tensors }) => {
        keys.set("armt.format_version", { type: "UINT32", value: 3 });
        keys.set("armt.memory.disjoint", { type: "BOOL", value: true });
        keys.set("armt.sink_count", { type: "UINT32", value: 1 });
        tensors.set("memory_embd.weight", { type: "F16", shape: [32, 9] });
    },
    /"armt\.memory\.disjoint" is "true", expected false, since it needs RoPE, and neither a sink/
);
test("odd part of a head", refused, setCount("armt.rope.dimension_count", 3), /is 3, expected an even number up to 8/);
test("local layers of another model", refused, setLocal([true]), /local_layers" has 1 entries, expected 3/);
test("local layers without a base", refused, setLocal([true, false, true]), /local_freq_base" is missing/);
test(
    "norms of Q without those of K",
    refused,
    setTensor("blk.0.attn_q_norm.weight", "F32", [8, 3]),
    /k_norm\.weight" is/
);
test("unknown RoPE scaling", refused, setText("armt.rope.scaling.type", "yarn"), /"yarn", expected "linear"/);
test("heads that share no keys", refused, setCount("armt.attention.head_count_kv", 3), /a divisor of 4 heads/);
test(
    "memory heads that don't divide",
    refused,
    setCount("armt.memory.head_count", 3),
    /armt\.memory\.head_count" is 3/
);
test("other feature order", refused, setCount("armt.memory.dpfp_order", 2), /dpfp_order" is 2, expected 3/);
test("two head sizes", refused, setCount("armt.attention.value_length", 4), /value_length" is 4, expected 8/);
test(
    "more layers than tensors",
    refused,
    setCount("armt.block_count", 4),
    /attn_norm\.weight" is \[32, 3\], expected \[32, 4\]/
);
test("fewer layers than tensors", refused, setCount("armt.block_count", 2), /expected \[32, 2\]/);
test("2^31 layers", refused, setCount("armt.block_count", 2 ** 31), /1 to 9999/);
test(
    "gating without its weights",
    refused,
    setKey("armt.memory.gating", { type: "BOOL", value: true }),
    /memory_b\.weight" is/
);
test(
    "unknown tensor",
    refused,
    setTensor("blk.0.attn_q.weight", "F32", [32]),
    /unknown tensor "blk\.0\.attn_q\.weight"/
);
test(
    "stack beyond the layers",
    refused,
    setTensor("blk.3.attn_norm.weight", "F32", [32, 1]),
    /beyond the model's 3 layers/
);
test(
    "stacks that overlap",
    refused,
    setTensor("blk.1.attn_norm.weight", "F32", [32, 2]),
    /"blk\.0\.attn_norm\.weight" is \[32, 3\], expected \[32, 1\]/
);
test(
    "quantized memory tokens",
    refused,
    setTensor("memory_embd.weight", "Q8_0", [32, 8]),
    /is Q8_0, expected F32, F16 or BF16/
);
test("half-precision norm", refused, setTensor("output_norm.weight", "F16", [32]), /is F16, expected F32/);
test(
    "integer weights",
    refused,
    setTensor("token_embd.weight", "I32", [32, 40]),
    /is I32, expected a type for weights/
);
test("small alignment", refused, setCount("general.alignment", 16), /`general\.alignment` is 16, expected 32 or more/);
for (const type of ["Q8_1", "Q8_K"] as const)
    test(
        `intermediate type ${type}`,
        refused,
        setTensor("token_embd.weight", type, type === "Q8_K" ? [256, 5] : [32, 40]),
        type === "Q8_K" ? /\[256, 5\]/ : /is Q8_1, expected a type for weights/
    );
test(
    "tokenizer of another kind",
    refused,
    setText("tokenizer.ggml.model", "bert"),
    /`tokenizer\.ggml\.model` is "bert", expected "llama", "gpt2" or "no_vocab"/
);
test("tokenizer without tokens", refused, setText("tokenizer.ggml.model", "gpt2"), /tokenizer\.ggml\.tokens/);

test("description lists properties, keys and tensors, as text and as JSON", async (t) => {
    const file = await changedModel(t, setText("general.name", "two\nlines"));
    const description = await describeGguf(file);
    const text = description.toText({ tensors: true });
    t.regex(text, /segment +16 tokens \+ 8 memory tokens/);
    t.regex(text, /"two\\nlines"/);
    t.regex(text, /blk\.0\.attn_qkv\.weight +F16 \[32, 64, 3\]/);
    t.regex(text, /layer_norm_rms_epsilon +0\.00001\n/);
    const json = JSON.parse(description.toJson({ tensors: true }));
    t.is(json.armt.memory.tokenCount, 8);
    t.is(json.armt.memoryBytes, 4 * 3 * (48 * 32 + 48));
    t.is(json.metadata["armt.segment_size"], 16);
    t.true(json.tensors.length > 15);
    t.is(JSON.parse(description.toJson()).tensors, undefined);
});

test("description of another model has no ARMT properties", async (t) => {
    const description = await describeGguf(await changedModel(t, setText("general.architecture", "llama")));
    t.is(description.armt, undefined);
    t.notRegex(description.toText(), /^ARMT$/m);
});
