import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { type ConvertOptions, convertCheckpoint } from "../../src/convert/convert.js";
import { validateArmtModel } from "../../src/formats/gguf/armt-model.js";
import { openSafetensors } from "../../src/formats/safetensors/reader.js";
import type { TensorData } from "../../src/formats/safetensors/writer.js";
import { runArmt } from "../helpers/armt-command.js";
import { global, integer, text, tuple } from "../helpers/pickle-bytes.js";
import { rewriteCheckpoint } from "../helpers/rewrite-checkpoint.js";
import { makeTiny } from "../helpers/tiny-checkpoint.js";
import { dictionary, torchFile } from "../helpers/torch-file.js";

type Json = Record<string, unknown>;

async function convert(folder: string, options: Partial<ConvertOptions> = {}) {
    const output = path.join(folder, "..", "model.gguf");
    await convertCheckpoint({ checkpoint: folder, output, outType: "f32", overwrite: true, ...options });
    return output;
}

async function digest(folder: string, options: Partial<ConvertOptions> = {}): Promise<string> {
    return createHash("sha256")
        .update(readFileSync(await convert(folder, options)))
        .digest("hex");
}

const readJson = (folder: string, file: string) => JSON.parse(readFileSync(path.join(folder, file), "utf8")) as Json;
const writeJson = (folder: string, file: string, value: Json) =>
    writeFileSync(path.join(folder, file), JSON.stringify(value));

async function tensorsOf(folder: string): Promise<TensorData[]> {
    const source = await openSafetensors(path.join(folder, "model.safetensors"));
    const tensors: TensorData[] = [];
    for (const [name, { dtype, shape }] of source.tensors)
        tensors.push({ name, dtype, shape, data: await source.read(name) });
    await source.close();
    return tensors;
}

// --- torch files

/**
 * A number of numpy's, as a trainer keeps its best score: a call of numpy with a dtype that gets its state by BUILD.
 */
const numpyScalar = Buffer.concat([
    Buffer.from(global("numpy.core.multiarray", "scalar")),
    tuple(
        Buffer.concat([
            Buffer.from(`${global("numpy", "dtype")}`),
            tuple(text("f8"), Buffer.from([0x89]), Buffer.from([0x88])),
            Buffer.from("R"),
            tuple(integer(3), text("<")),
            Buffer.from("b")
        ]),
        Buffer.from("C\x08\0\0\0\0\0\0\xf0\x3f", "latin1")
    ),
    Buffer.from("R")
]);
/** The arguments of a run: an object made without a call, then given its attributes. */
const namespace = Buffer.concat([
    Buffer.from(`${global("argparse", "Namespace")})\x81`, "latin1"),
    dictionary({ lr: text("3e-4") }),
    Buffer.from("b")
]);

/** Adds the other objects that a trainer saves to a state dict. */
const asTrainer =
    (key: string) =>
    (stateDict: Buffer): Buffer =>
        dictionary({
            [key]: stateDict,
            optimizer_state_dict: dictionary({ state: dictionary({}), param_groups: Buffer.from("]") }),
            iteration: integer(5000),
            best: numpyScalar,
            args: namespace
        });

test("a trainer's file with its optimizer, among files of other states, is the checkpoint", async (t) => {
    for (const key of ["model_state_dict", "state_dict", "module", "model"]) {
        const folder = await makeTiny(t);
        const expected = await digest(folder);
        writeFileSync(path.join(folder, "model_best.pth"), torchFile(await tensorsOf(folder), asTrainer(key)));
        rmSync(path.join(folder, "model.safetensors"));
        for (const name of [
            "optimizer.pt",
            "optimizer.bin",
            "scheduler.pt",
            "scheduler.bin",
            "rng_state.pth",
            "rng_state_0.pth",
            "random_states_0.pkl",
            "training_args.bin",
            "scaler.pt",
            "trainer.pckl",
            "zero_pp_rank_0_mp_rank_00_optim_states.pt"
        ])
            writeFileSync(path.join(folder, name), "no weights");
        t.is(await digest(folder), expected, key);
    }
});

test("weights among training states under their usual name are taken without a look at the rest", async (t) => {
    const folder = await makeTiny(t);
    const expected = await digest(folder);
    for (const name of ["optimizer.pt", "scheduler.pt", "rng_state.pth", "model_500.pth"])
        writeFileSync(path.join(folder, name), "no weights");
    t.is(await digest(folder), expected);
});

test("of several files that may be the weights none is guessed; the one that is named is taken", async (t) => {
    const folder = await makeTiny(t);
    const expected = await digest(folder);
    const tensors = await tensorsOf(folder);
    renameSync(path.join(folder, "model.safetensors"), path.join(folder, "best.safetensors"));
    writeFileSync(path.join(folder, "model_500.pth"), torchFile(tensors));
    await t.throwsAsync(digest(folder), {
        name: "ArmtError",
        message: /several files that may be the model's weights \("best\.safetensors", "model_500\.pth"\): name one/
    });
    for (const name of ["best.safetensors", "model_500.pth"])
        t.is(await digest(folder, { checkpoint: path.join(folder, name) }), expected, name);
    await t.throwsAsync(digest(folder, { checkpoint: path.join(folder, "config.json") }), {
        message: /config\.json" does not have the name of a file of weights \(\.safetensors, \.bin/
    });
});

test("a folder with weights only in its subfolders is refused, with their names", async (t) => {
    const folder = await makeTiny(t);
    mkdirSync(path.join(folder, "checkpoint-500"));
    renameSync(path.join(folder, "model.safetensors"), path.join(folder, "checkpoint-500", "model.safetensors"));
    await t.throwsAsync(digest(folder), { message: /no weights in .*; its folders "checkpoint-500" have some: name/ });
});

test("a trainer's file without a state dict that is known says what it holds", async (t) => {
    const folder = await makeTiny(t);
    writeFileSync(path.join(folder, "x.pth"), torchFile(await tensorsOf(folder), asTrainer("weights")));
    rmSync(path.join(folder, "model.safetensors"));
    await t.throwsAsync(digest(folder), {
        message:
            /no tensors at its top level or under `model_state_dict`.*\(its keys: "weights", "optimizer_state_dict"/
    });
});

test("a trainer's file may hold other objects than weights, but no further functions", async (t) => {
    const folder = await makeTiny(t);
    const attack = Buffer.concat([Buffer.from(global("builtins", "eval")), tuple(text("1")), Buffer.from("R")]);
    writeFileSync(
        path.join(folder, "x.pth"),
        torchFile(await tensorsOf(folder), (model) => dictionary({ model, args: attack }))
    );
    rmSync(path.join(folder, "model.safetensors"));
    await t.throwsAsync(digest(folder), { message: /"builtins\.eval".*refused, nothing was run/ });
});

for (const dtype of ["F32", "F16", "BF16"] as const) {
    test(`torch shards with their index are one checkpoint, ${dtype}`, async (t) => {
        const folder = await makeTiny(t, { dtype });
        const expected = await digest(folder, { outType: undefined });
        const tensors = await tensorsOf(folder);
        rmSync(path.join(folder, "model.safetensors"));
        const middle = Math.floor(tensors.length / 2);
        const weightMap: Record<string, string> = {};
        for (const [i, part] of [tensors.slice(0, middle), tensors.slice(middle)].entries()) {
            const file = `pytorch_model-0000${i + 1}-of-00002.bin`;
            writeFileSync(path.join(folder, file), torchFile(part));
            for (const { name } of part) weightMap[name] = file;
        }
        writeJson(folder, "pytorch_model.bin.index.json", { metadata: {}, weight_map: weightMap });
        t.is(await digest(folder, { outType: undefined }), expected);
        const index = path.join(folder, "pytorch_model.bin.index.json");
        t.is(await digest(folder, { outType: undefined, checkpoint: index }), expected);
    });
}

// --- names

test("wrappers of training and of newer classes make no difference", async (t) => {
    for (const rename of [
        (name: string) => `_orig_mod.${name}`,
        (name: string) => `base_model.model.armt.${name}`,
        (name: string) => name.replace("memory_cell.model.", "armt.memory_cell.model.base_model.model."),
        (name: string) => name.replace(/layers\.(\d)\./, "layers.$1._checkpoint_wrapped_module."),
        // the class without an outer wrapper
        (name: string) => name.replace("memory_cell.memory", "memory").replace("memory_cell.model.", "model.")
    ]) {
        const folder = await makeTiny(t);
        const expected = await digest(folder);
        await rewriteCheckpoint(folder, (tensor) => [{ ...tensor, name: rename(tensor.name) }]);
        t.is(await digest(folder), expected, rename("memory_cell.model.model.layers.0.W_mq.weight"));
    }
});

// --- configs

const classDefaults = {
    model_type: "armt",
    architectures: ["ARMTForCausalLM"],
    transformers_version: "4.57.0",
    base_model_name: null,
    freeze_mem: false,
    sliding_window: false,
    attend_to_previous_input: false,
    use_sink: false,
    act_on: false,
    max_hop: 4,
    act_type: "associative",
    act_format: "linear",
    noisy_halting: false,
    constant_depth: false,
    time_penalty: 0,
    is_decoder: true
};

/** The folder as the authors' class saves it: one config with the base's in it. */
function asClass(folder: string, change: Json = {}): void {
    const { normalize_keys: _, ...armt } = readJson(folder, "armt_config.json");
    const base = readJson(folder, "config.json");
    rmSync(path.join(folder, "armt_config.json"));
    writeJson(folder, "config.json", { ...classDefaults, ...armt, base_model_config: base, ...change });
}

test("the config of the authors' class has all that is needed", async (t) => {
    const folder = await makeTiny(t, { nHeads: 2, gating: true, alignment: "center", segmentSize: 9 });
    const expected = await digest(folder);
    asClass(folder);
    t.is(await digest(folder), expected);
});

test("the class's config that only names its base needs --base", async (t) => {
    const folder = await makeTiny(t);
    const expected = await digest(folder);
    const base = path.join(folder, "..", "base");
    mkdirSync(base);
    writeJson(base, "config.json", readJson(folder, "config.json"));
    asClass(folder, { base_model_config: null, base_model_name: "meta-llama/Llama-3.2-1B" });
    await t.throwsAsync(digest(folder), {
        message: /only names its base model, "meta-llama\/Llama-3\.2-1B"; .*--base/
    });
    t.is(await digest(folder, { base }), expected);
    t.is(await digest(folder, { base: path.join(base, "config.json") }), expected);
    await t.throwsAsync(digest(folder, { base: folder }), { message: /unknown base architecture "armt"/ });
    await t.throwsAsync(digest(folder, { base: path.join(base, "none") }), { message: /no ".*none" \(--base\)/ });
});

for (const [what, change, message] of [
    [
        "inner loop",
        { architectures: ["InnerLoopARMTForCausalLM"] },
        /"InnerLoopARMTForCausalLM" \(segments inside each/
    ],
    ["another class", { architectures: ["OnlineARMT"] }, /`architectures` names "OnlineARMT", .*: not supported/],
    ["adaptive computation", { act_on: true }, /`act_on` asks for adaptive computation: not supported; convert a/],
    ["sink without its tensor", { use_sink: true }, /`use_sink` is true, but the checkpoint has no tensor "sink"/],
    ["previous input", { attend_to_previous_input: true }, /`attend_to_previous_input` asks for reading the previous/],
    ["layers without memory", { wrap_layers: [true, false] }, /`wrap_layers` asks for layers without memory/]
] as const) {
    test(`a variant of the authors' class is refused by name: ${what}`, async (t) => {
        const folder = await makeTiny(t);
        asClass(folder, change);
        await t.throwsAsync(digest(folder), { name: "ArmtError", message });
    });
}

for (const [name, message] of [
    ["memory_cell.model.model.layers.0.act.p.weight", /belongs to adaptive computation: not supported/],
    ["memory_cell.act.p.bias", /belongs to adaptive computation/],
    ["model.model.layers.0.mem_layer.mlp.up_proj.weight", /belongs to layers of their own for memory tokens/]
] as const) {
    test(`a tensor of another variant is refused by name: ${name}`, async (t) => {
        const folder = await makeTiny(t);
        await rewriteCheckpoint(folder, (tensor) =>
            tensor.name.endsWith("memory") ? [tensor, { ...tensor, name }] : [tensor]
        );
        await t.throwsAsync(digest(folder), { name: "ArmtError", message });
    });
}

test("the sink and the window of the authors' class are taken over", async (t) => {
    const folder = await makeTiny(t);
    await rewriteCheckpoint(folder, (tensor) =>
        tensor.name.endsWith("memory")
            ? [tensor, { ...tensor, name: "memory_cell.sink", shape: [1, 32], data: tensor.data.subarray(0, 128) }]
            : [tensor]
    );
    asClass(folder, { use_sink: true, sliding_window: true });
    t.like(await validateArmtModel(await convert(folder)), { sinkCount: 1, seesPreviousSegment: true });
});

test("the class with a window of its own is refused by name", async (t) => {
    const folder = await makeTiny(t);
    asClass(folder, { model_type: "armt_sw", architectures: ["ARMTSlidingWindowForCausalLM"] });
    await t.throwsAsync(digest(folder), {
        name: "ArmtError",
        message: /armt_sw \(ARMTSlidingWindowForCausalLM\): .*not supported/
    });
});

test("learned positions of the newest class are refused, those of earlier classes are converted", async (t) => {
    const folder = await makeTiny(t, { family: "gpt2" });
    const expected = await digest(folder);
    asClass(folder);
    t.is(await digest(folder), expected);
    writeJson(folder, "config.json", { ...readJson(folder, "config.json"), memory_dtype: "float32" });
    await t.throwsAsync(digest(folder), {
        message: /`memory_dtype` shows .* learned positions run on .*not supported/
    });
});

test("the segment size of a wrapper's saved arguments is taken aloud", async (t) => {
    const folder = await makeTiny(t, { segmentSize: 9 });
    const expected = await digest(folder);
    const base = path.join(folder, "..", "base");
    mkdirSync(base);
    renameSync(path.join(folder, "config.json"), path.join(base, "config.json"));
    rmSync(path.join(folder, "armt_config.json"));
    writeJson(folder, "config.json", { segment_size: 9, max_n_segments: 4, vary_n_segments: true });
    const warnings: string[] = [];
    const options = { base, flags: { normalizeKeys: true }, onWarning: (text: string) => warnings.push(text) };
    t.is(await digest(folder, options), expected);
    t.true(warnings.some((text) => /^the segment size is 9, from ".*config\.json"$/.test(text)));
    await t.throwsAsync(digest(folder, { base }), { message: /`normalize_keys` is unknown/ });
});

test("layers that all have memory are no variant", async (t) => {
    const folder = await makeTiny(t);
    const expected = await digest(folder);
    asClass(folder, { wrap_layers: [true, true] });
    t.is(await digest(folder), expected);
});

test("a trainer's arguments under the config's name are distinguished from a model's", async (t) => {
    const folder = await makeTiny(t);
    const expected = await digest(folder);
    const base = path.join(folder, "..", "base.json");
    renameSync(path.join(folder, "config.json"), base);
    await t.throwsAsync(digest(folder), {
        message: /no ".*config\.json"; copy the base model's there, or name it with --base/
    });
    writeJson(folder, "config.json", { model_path: "runs/1", segment_size: 1024, d_mem: 64 });
    await t.throwsAsync(digest(folder), { message: /has no `model_type`.*--base/ });
    t.is(await digest(folder, { base }), expected);
});

test("the tokenizer is the base's where the checkpoint has none, and added tokens count", async (t) => {
    const folder = await makeTiny(t, { vocab: 288, tokenizer: true });
    const expected = await digest(folder);
    const base = path.join(folder, "..", "base");
    mkdirSync(base);
    renameSync(path.join(folder, "tokenizer.json"), path.join(base, "tokenizer.json"));
    writeJson(base, "config.json", { ...readJson(folder, "config.json"), vocab_size: 280 });
    const warnings: string[] = [];
    t.is(await digest(folder, { base, onWarning: (text) => warnings.push(text) }), expected);
    t.deepEqual(warnings, ["the weights have 288 tokens, the config of --base 280: the weights decide"]);
});

test("shapes tell memory heads, gating and wrapped positions", async (t) => {
    for (const tiny of [
        { nHeads: 2 },
        { gating: true },
        { family: "gpt2", wrapPositions: true },
        { family: "gpt2" }
    ] as const) {
        const folder = await makeTiny(t, tiny);
        const expected = await digest(folder);
        rmSync(path.join(folder, "armt_config.json"));
        t.is(await digest(folder, { flags: { segmentSize: 16, normalizeKeys: true } }), expected, JSON.stringify(tiny));
    }
});

test("given numbers are compared with the weights", async (t) => {
    const folder = await makeTiny(t);
    const expected = await digest(folder);
    t.is(await digest(folder, { flags: { memoryTokens: 4, memoryKeySize: 8 } }), expected);
    await t.throwsAsync(digest(folder, { flags: { memoryTokens: 5 } }), {
        message: /memory" is \[4, 32\], expected 5 rows \(`num_mem_tokens`\)/
    });
    await t.throwsAsync(digest(folder, { flags: { memoryKeySize: 16 } }), {
        message: /W_mq\.weight" is \[8, 32\], expected 16 rows \(`d_mem`\)/
    });
});

test("the command line takes a file of weights, a base and LoRA's alpha", async (t) => {
    const folder = await makeTiny(t);
    writeFileSync(
        path.join(folder, "model_best.pth"),
        torchFile(await tensorsOf(folder), asTrainer("model_state_dict"))
    );
    const base = path.join(folder, "..", "base.json");
    renameSync(path.join(folder, "config.json"), base);
    rmSync(path.join(folder, "armt_config.json"));
    const output = path.join(folder, "..", "model.gguf");
    const { code, stderr } = await runArmt([
        ...["convert", path.join(folder, "model_best.pth"), output, "--base", base, "--segment-size", "11"],
        ...["--no-normalize-keys", "--num-mem-tokens", "4", "--d-mem", "8", "--lora-alpha", "16", "--rslora"]
    ]);
    t.is(code, 0, stderr);
    const facts = await validateArmtModel(output);
    t.is(facts.segmentSize, 11);
    t.like(facts.memory, { normalizeKeys: false, tokenCount: 4, keyLength: 8 });
});
