import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import test from "ava";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { openSafetensors } from "../../src/formats/safetensors/reader.js";
import { type TensorData, writeSafetensors } from "../../src/formats/safetensors/writer.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import { global, pickle, text, tuple } from "../helpers/pickle-bytes.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { zipArchive } from "../helpers/zip-archive.js";

type Damage = (checkpoint: string) => void | Promise<void>;

/** A checkpoint with one fault is refused with an error that names it, and no file is left. */
const refused = test.macro({
    title: (name = "") => `refused without a file left: ${name}`,
    async exec(t, damage: Damage, message: RegExp) {
        const folder = temporaryFolder(t);
        const checkpoint = path.join(folder, "checkpoint");
        await makeTinyCheckpoint(checkpoint, {
            layers: 2,
            hidden: 32,
            vocab: 40,
            dMem: 8,
            tokenizer: false,
            tied: true
        });
        await damage(checkpoint);
        const warnings: string[] = [];
        const conversion = convertCheckpoint({
            checkpoint,
            output: path.join(folder, "model.gguf"),
            onWarning: (text) => warnings.push(text)
        });
        const error = await t.throwsAsync(conversion, { name: "ArmtError", message });
        t.notRegex(error.message, /\n/);
        // the command line prints one line
        t.deepEqual(warnings, []);
        t.deepEqual(readdirSync(folder), ["checkpoint"]);
    }
});

const json = (file: string, change: Record<string, unknown>): Damage => {
    return (checkpoint) => {
        const target = path.join(checkpoint, file);
        writeFileSync(target, JSON.stringify({ ...JSON.parse(readFileSync(target, "utf8")), ...change }));
    };
};
const config = (change: Record<string, unknown>) => json("config.json", change);
const armt = (change: Record<string, unknown>) => json("armt_config.json", change);

/** Changes tensors by the ends of their names; `undefined` leaves one out. */
function tensor(end: string, change: (tensor: TensorData) => TensorData | undefined): Damage {
    return async (checkpoint) => {
        const file = path.join(checkpoint, "model.safetensors");
        const source = await openSafetensors(file);
        const tensors: TensorData[] = [];
        for (const [name, { dtype, shape }] of source.tensors) {
            const original = { name, dtype, shape, data: await source.read(name) };
            const changed = name.endsWith(end) ? change(original) : original;
            if (changed !== undefined) tensors.push(changed);
        }
        await source.close();
        await writeSafetensors(file, tensors);
    };
}

const rename = (end: string, to: string) => tensor(end, (original) => ({ ...original, name: to }));
const poison = (value: number) =>
    tensor("1.W_mk.weight", (original) => {
        const values = new Float32Array(8 * 32);
        values[70] = value;
        return { ...original, data: values };
    });

test("no config.json", refused, (folder) => rmSync(path.join(folder, "config.json")), /no ".*config\.json"/);
test(
    "config.json cut short",
    refused,
    (folder) => writeFileSync(path.join(folder, "config.json"), '{"a":'),
    /config\.json": bad JSON at 5/
);
test("other base", refused, config({ model_type: "gemma" }), /unknown base architecture "gemma"/);
test("GPT-2's name on a LLaMA", refused, config({ model_type: "gpt2" }), /no `n_embd`/);
test("other activation", refused, config({ hidden_act: "relu6" }), /`hidden_act` is "relu6"/);
test("quantized checkpoint", refused, config({ quantization_config: { bits: 4 } }), /`quantization_config`/);
test("layer count that is not a number", refused, config({ num_hidden_layers: "2" }), /`num_hidden_layers` is "2"/);
test("heads that share no keys", refused, config({ num_key_value_heads: 3 }), /`num_key_value_heads` is 3/);
test("odd head size", refused, config({ head_dim: 7 }), /`head_dim` is 7/);
test("more layers than weights", refused, config({ num_hidden_layers: 3 }), /no tensor "layers\.2\./);
test("fewer layers than weights", refused, config({ num_hidden_layers: 1 }), /tensor ".*layers\.1\..*" has no place/);
test("other hidden size", refused, config({ hidden_size: 64, head_dim: 8 }), /tensor ".*" is \[.*\], expected \[/);
test(
    "other vocabulary",
    refused,
    config({ vocab_size: 41 }),
    /embed_tokens\.weight" is \[40, 32\], expected \[41, 32\]/
);
test(
    "biases that the weights lack",
    refused,
    config({ attention_bias: true }),
    /no tensor "layers\.0\.layer\.self_attn\.q_proj\.bias"/
);
test(
    "untied embeddings without output",
    refused,
    config({ tie_word_embeddings: false }),
    /no tensor "(lm_head|embed_tokens)\.weight"/
);

test("no epsilon", refused, armt({ memory_epsilon: 0 }), /`memory_epsilon` is 0, expected a number from 1e-12 to 1000/);
test("segment size 0", refused, armt({ segment_size: 0 }), /`segment_size` is 0, expected an integer from 1/);
test("fractional segment size", refused, armt({ segment_size: 1.5 }), /`segment_size` is 1\.5/);
test("unknown alignment", refused, armt({ segment_alignment: "top" }), /`segment_alignment` is "top"/);
test("learned positions", refused, armt({ wrap_pos: true }), /`wrap_pos` is true, but a llama base has no learned/);
test("sink row without a tensor", refused, armt({ use_sink: true }), /`use_sink` is true, but .* no tensor "sink"/);
test(
    "sliding window of a number of tokens",
    refused,
    armt({ sliding_window: 512 }),
    /`sliding_window` is 512, expected/
);
test("another kind of sink", refused, armt({ sink_tokens: 4 }), /unknown key "sink_tokens"/);
test(
    "text read again, with a window",
    refused,
    armt({ attend_to_previous_input: true, sliding_window: true }),
    /`attend_to_previous_input` with `sliding_window`, .*: not supported/
);
test(
    "text read again, in another dialect",
    refused,
    armt({ attend_to_previous_input: true, dialect: "inner" }),
    /`attend_to_previous_input` with the dialect inner: not supported/
);
test("adaptive computation", refused, armt({ act_on: true }), /`act_on` asks for adaptive computation/);
test("unknown option", refused, armt({ twist: 3 }), /unknown key "twist"/);
test("other count of memory tokens", refused, armt({ num_mem_tokens: 9 }), /memory" is \[8, 32\], expected 9 rows/);
test("other key size", refused, armt({ d_mem: 16 }), /W_mq\.weight" is \[8, 32\], expected 16 rows/);
test("memory heads that don't divide", refused, armt({ n_heads: 3 }), /n_heads is 3/);
test(
    "memory heads that the weights lack",
    refused,
    armt({ n_heads: 2 }),
    /W_mb\.weight" is \[1, 32\], expected \[2, 32\]/
);
test(
    "gating that the weights lack",
    refused,
    armt({ gating: true }),
    /W_mb\.weight" is \[1, 32\], expected \[32, 32\]/
);
test(
    "key given twice",
    refused,
    (folder) => writeFileSync(path.join(folder, "armt_config.json"), '{"gating":true,"gating":false}'),
    /duplicate key/
);

test(
    "memory heads of one number",
    refused,
    async (folder) => {
        await rm(folder, { recursive: true });
        await makeTinyCheckpoint(folder, { layers: 1, hidden: 32, vocab: 40, dMem: 4, nHeads: 4, tokenizer: false });
    },
    /d_mem is 4, which leaves one number for each of 4 heads/
);

test(
    "missing tensor",
    refused,
    tensor("1.W_mv.weight", () => undefined),
    /no tensor "layers\.1\.W_mv\.weight"/
);
test("unknown tensor", refused, rename("1.W_mv.weight", "memory_cell.extra"), /unknown tensor "memory_cell\.extra"/);
test(
    "LoRA update of no known weight",
    refused,
    rename("1.W_mv.weight", "a.lora_A.default.weight"),
    /unknown tensor "a\.lora_A\.default\.weight"/
);
test(
    "sink of a wrong shape",
    refused,
    rename("1.W_mv.weight", "memory_cell.sink"),
    /"memory_cell\.sink" is \[32, 32\], expected \[1, 32\]/
);
test(
    "integer weights",
    refused,
    tensor("1.W_mk.weight", (one) => ({ ...one, dtype: "I32" })),
    /1\.W_mk\.weight" is I32/
);
test(
    "wrong shape",
    refused,
    tensor("1.W_mk.weight", (one) => ({ ...one, shape: [32, 8] })),
    /1\.W_mk\.weight" is \[32, 8\], expected \[8, 32\]/
);
test(
    "scalar for a matrix",
    refused,
    tensor("memory", (one) => ({ ...one, shape: [], data: new Float32Array(1) })),
    /memory" has no rows/
);
test("NaN", refused, poison(Number.NaN), /1\.W_mk\.weight" holds NaN at element 70/);
test("infinity", refused, poison(-Infinity), /1\.W_mk\.weight" holds -Infinity at element 70/);
test("value beyond float16", refused, poison(1e6), /1\.W_mk\.weight" has values beyond the range of F16/);

test("no weights", refused, (folder) => rmSync(path.join(folder, "model.safetensors")), /no weights in/);
test(
    "truncated weights",
    refused,
    (folder) => {
        const file = path.join(folder, "model.safetensors");
        writeFileSync(file, readFileSync(file).subarray(0, -1));
    },
    /truncated: tensor/
);

const index =
    (content: unknown): Damage =>
    (folder) => {
        rmSync(path.join(folder, "model.safetensors"));
        writeFileSync(path.join(folder, "model.safetensors.index.json"), JSON.stringify(content));
    };
test(
    "index that leaves the folder",
    refused,
    index({ weight_map: { a: "../../etc/passwd" } }),
    /`a` is "\.\.\/\.\.\/etc\/passwd", expected the name of a file/
);
test(
    "index with an absolute path",
    refused,
    index({ weight_map: { a: "/etc/passwd" } }),
    /expected the name of a file/
);
test("index that names the folder above", refused, index({ weight_map: { a: ".." } }), /expected the name of a file/);
test("index without shards", refused, index({ weight_map: {} }), /names 0 shards/);
test("index without map", refused, index({}), /has no `weight_map`/);
test("missing shard", refused, index({ weight_map: { a: "b.safetensors" } }), /b\.safetensors": no such file/);
test(
    "index that misplaces a tensor",
    refused,
    async (folder) => {
        index({ weight_map: { a: "b.safetensors" } })(folder);
        await writeSafetensors(path.join(folder, "b.safetensors"), []);
    },
    /places tensor "a" in "b\.safetensors"/
);
test(
    "tensor in two shards",
    refused,
    async (folder) => {
        index({ weight_map: { a: "b.safetensors", c: "d.safetensors" } })(folder);
        const one = { name: "a", dtype: "U8", shape: [1], data: new Uint8Array(1) } as const;
        await writeSafetensors(path.join(folder, "b.safetensors"), [one]);
        await writeSafetensors(path.join(folder, "d.safetensors"), [one]);
    },
    /"a" is in "b\.safetensors" and in "d\.safetensors"/
);

test(
    "pickle that calls a function",
    refused,
    (folder) => {
        rmSync(path.join(folder, "model.safetensors"));
        const data = pickle(global("posix", "system"), tuple(text(`touch ${folder}/owned`)), "R");
        writeFileSync(path.join(folder, "pytorch_model.bin"), zipArchive([{ name: "m/data.pkl", data }]));
    },
    /"posix\.system".*nothing was run/
);

const twoNames =
    (value: number): Damage =>
    async (folder) => {
        const file = path.join(folder, "model.safetensors");
        const source = await openSafetensors(file);
        const tensors: TensorData[] = [];
        for (const [name, { dtype, shape }] of source.tensors)
            tensors.push({ name, dtype, shape, data: await source.read(name) });
        await source.close();
        const memory = tensors.find(({ name }) => name.endsWith("memory"))!;
        const data = Buffer.from(memory.data as Buffer);
        data[0]! ^= value;
        await writeSafetensors(file, [...tensors, { ...memory, name: "armt.memory", data }]);
    };
test(
    "two names with different contents",
    refused,
    twoNames(1),
    /are two names of one tensor, but their contents differ/
);

test("two names with the same contents are one tensor", async (t) => {
    const folder = temporaryFolder(t);
    await makeTinyCheckpoint(folder, { layers: 1, hidden: 32, tokenizer: false });
    await twoNames(0)(folder);
    await convertCheckpoint({ checkpoint: folder, output: path.join(folder, "model.gguf"), tokenizer: false });
    t.true(readdirSync(folder).includes("model.gguf"));
});

test(
    "tied output that differs from the embedding",
    refused,
    async (folder) => {
        const file = path.join(folder, "model.safetensors");
        const source = await openSafetensors(file);
        const tensors: TensorData[] = [];
        for (const [name, { dtype, shape }] of source.tensors)
            tensors.push({ name, dtype, shape, data: await source.read(name) });
        await source.close();
        const other = tensors.some(({ name }) => name.endsWith("lm_head.weight"))
            ? "model.model.embed_tokens"
            : "model.lm_head";
        const extra = {
            name: `memory_cell.${other}.weight`,
            dtype: "F32",
            shape: [40, 32],
            data: new Float32Array(40 * 32)
        } as const;
        await writeSafetensors(file, [...tensors, extra]);
    },
    /differs from ".*", but config\.json has `tie_word_embeddings`/
);

test("output that can't be written is refused before anything is read", async (t) => {
    const folder = temporaryFolder(t);
    const convert = (output: string) => convertCheckpoint({ checkpoint: path.join(folder, "none"), output });
    await t.throwsAsync(convert(path.join(folder, "no", "x.gguf")), {
        name: "ArmtError",
        message: /cannot write.*no such file/
    });
    mkdirSync(path.join(folder, "sub"));
    await t.throwsAsync(convert(path.join(folder, "sub")), { name: "ArmtError", message: /not a regular file/ });
});

test("output that the device has no room for is an error, and nothing is left", async (t) => {
    const folder = temporaryFolder(t);
    const checkpoint = path.join(folder, "checkpoint");
    await makeTinyCheckpoint(checkpoint, { tokenizer: false });
    const module = new URL("../../src/convert/convert.js", import.meta.url).href;
    const options = JSON.stringify({ checkpoint, output: path.join(folder, "model.gguf") });
    const script = `import(${JSON.stringify(module)}).then((m) => m.convertCheckpoint(${options})).catch((e) => console.log(e.name, e.message))`;
    // A limit on the size of files stands for a full disk: the write fails midway all the same.
    const { stdout } = spawnSync("sh", ["-c", 'ulimit -f 64; exec "$0" -e "$1"', process.execPath, script], {
        encoding: "utf8"
    });
    t.regex(stdout, /^ArmtError cannot write ".*model\.gguf": [^\n]+\n$/);
    t.deepEqual(readdirSync(folder), ["checkpoint"]);
});
