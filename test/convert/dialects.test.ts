import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { type ConvertOptions, convertCheckpoint } from "../../src/convert/convert.js";
import { dialectOfSource } from "../../src/convert/source-dialect.js";
import { validateArmtModel } from "../../src/formats/gguf/armt-model.js";
import { openSafetensors } from "../../src/formats/safetensors/reader.js";
import type { TensorData } from "../../src/formats/safetensors/writer.js";
import { runArmt } from "../helpers/armt-command.js";
import { classDefaults } from "../helpers/class-defaults.js";
import { readRecurrentGolden } from "../helpers/golden.js";
import { global, integer, text, tuple } from "../helpers/pickle-bytes.js";
import { rewriteCheckpoint } from "../helpers/rewrite-checkpoint.js";
import { temporaryFolder } from "../helpers/temporary.js";
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

const classConfig = {
    model_type: "armt",
    architectures: ["ARMTForCausalLM"],
    transformers_version: "4.57.0",
    ...classDefaults,
    is_decoder: true
};

/** The folder as the authors' class saves it: one config with the base's in it. */
function asClass(folder: string, change: Json = {}): void {
    const { normalize_keys: _, ...armt } = readJson(folder, "armt_config.json");
    const base = readJson(folder, "config.json");
    rmSync(path.join(folder, "armt_config.json"));
    writeJson(folder, "config.json", { ...classConfig, ...armt, base_model_config: base, ...change });
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
        "inner loop of an unknown version",
        { architectures: ["InnerLoopARMTForCausalLM"] },
        /several versions of InnerLoopARMTForCausalLM .* there is no ".*modeling_armt\.py" to tell; .*--dialect/
    ],
    ["another class", { architectures: ["OnlineARMT"] }, /`architectures` names "OnlineARMT", .*: not supported/],
    [
        "another class with a window",
        { model_type: "armt_sw", architectures: ["OnlineARMT"] },
        /`architectures` names "OnlineARMT", .* than ARMTSlidingWindowForCausalLM: not supported/
    ],
    ["adaptive computation", { act_on: true }, /`act_on` asks for adaptive computation: not supported; convert a/],
    ["sink without its tensor", { use_sink: true }, /`use_sink` is true, but the checkpoint has no tensor "sink"/],
    [
        "previous input with a window",
        { attend_to_previous_input: true, sliding_window: true },
        /`attend_to_previous_input` with `sliding_window`, .*: not supported/
    ],
    [
        "layers without memory that have one",
        { wrap_layers: [true, true, false] },
        /layer 2 has no memory, but the checkpoint has the tensor ".*layers\.2\.W_mq\.weight"/
    ],
    [
        "a layer that is applied twice",
        { reading_depth_multiplier: 2 },
        /asks for a layer that is applied several times/
    ],
    [
        "a second copy of every layer",
        { architectures: ["MemoryParamsARMTForCausalLM"] },
        /names "MemoryParamsARMTForCausalLM", which has a second copy of every layer for memory tokens: not supported/
    ],
    [
        "layers that are applied several times",
        { architectures: ["ThinkingARMTForCausalLM"] },
        /names "ThinkingARMTForCausalLM", which applies a layer several times: not supported/
    ],
    ["a list of another length", { wrap_layers: [true, false] }, /`wrap_layers` has 2 entries, but .* 3 layers/],
    ["no layer with memory", { wrap_layers: [false, false, false] }, /`wrap_layers` is false for all layers/],
    ["no list", { wrap_layers: "all" }, /`wrap_layers` .*a list of true and false, one for each layer/]
] as const) {
    test(`a variant of the authors' class is refused by name: ${what}`, async (t) => {
        const folder = await makeTiny(t);
        asClass(folder, change);
        await t.throwsAsync(digest(folder), { name: "ArmtError", message });
    });
}

test("the research class whose caller cuts the text is taken as the outer loop, aloud; factors of 1 do nothing", async (t) => {
    const folder = await makeTiny(t);
    const expected = await digest(folder);
    asClass(folder, {
        architectures: ["ARMTForCausalLMv2"],
        max_n_segments: 4,
        think_token_id: 5,
        reading_depth_multiplier: 1
    });
    const warnings: string[] = [];
    t.is(await digest(folder, { onWarning: (text) => warnings.push(text) }), expected);
    t.true(warnings.some((text) => /^ARMTForCausalLMv2 leaves it to its caller where a text is cut;/.test(text)));
});

/** As the authors' code saves a model whose layer 1 has no memory: no wrapper is around that layer. */
async function unwrapLayer(folder: string): Promise<void> {
    await rewriteCheckpoint(folder, ({ name, ...tensor }) =>
        /layers\.1\.W_m/.test(name) ? [] : [{ ...tensor, name: name.replace(/(layers\.1\.)layer\./, "$1") }]
    );
}

test("layers without memory have the base's own names; the list may be of ones and zeros", async (t) => {
    const folder = await makeTiny(t);
    await unwrapLayer(folder);
    await t.throwsAsync(digest(folder), {
        message:
            /no tensor W_mq\.weight in layer 1, but in others: .* write `"wrap_layers": \[true, false, true\]` into/
    });
    asClass(folder, { wrap_layers: [1, 0, 1] });
    const ones = await digest(folder);
    writeJson(folder, "config.json", { ...readJson(folder, "config.json"), wrap_layers: [true, false, true] });
    t.is(await digest(folder), ones);
});

for (const [name, message] of [
    ["memory_cell.model.model.layers.0.act.p.weight", /belongs to adaptive computation: not supported/],
    ["memory_cell.act.p.bias", /belongs to adaptive computation/],
    ["model.model.layers.0.mem_layer.mlp.up_proj.weight", /belongs to layers of their own for memory tokens/],
    ["memory_cell.layers.0.gdn_update.A_log", /belongs to a memory that decays \(gated delta rule\)/]
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

test("the class with a window of its own is the causal inner loop", async (t) => {
    const folder = await makeTiny(t, { slidingWindow: true });
    const expected = await digest(folder, { flags: { dialect: "inner-causal" } });
    asClass(folder, {
        model_type: "armt_sw",
        architectures: ["ARMTSlidingWindowForCausalLM"],
        sliding_window: undefined
    });
    t.is(await digest(folder), expected);
    t.like(await validateArmtModel(await convert(folder)), {
        seesPreviousSegment: true,
        previousPositions: "restarted",
        memory: { mutual: false }
    });
});

/** Parts of texts that tell the versions of the inner loop apart, with comments and other spaces than the authors'. */
const sources = {
    disjoint: "seg_real_out  =  seg_out[:, real_start:real_end, :] # rows of the text",
    "inner-causal": "positions = torch.arange( end - start, device=segment.device)",
    inner: "def _get_segment_positions(self):\n    return position_ids[:, start : end]"
} as const;

for (const dialect of ["disjoint", "inner-causal", "inner"] as const)
    test(`the text of the class's source tells the dialect: ${dialect}`, async (t) => {
        const folder = await makeTiny(t);
        const expected = await digest(folder, { flags: { dialect } });
        asClass(folder, { architectures: ["InnerLoopARMTForCausalLM"] });
        writeFileSync(path.join(folder, "modeling_armt.py"), sources[dialect]);
        const warnings: string[] = [];
        t.is(await digest(folder, { onWarning: (text) => warnings.push(text) }), expected);
        const note = new RegExp(`^the dialect is ${dialect}, by the text of ".*modeling_armt\\.py"$`);
        t.true(warnings.some((text) => note.test(text)));
    });

for (const [what, change] of [
    [
        "lines that end in CRLF, and a byte order mark",
        (text) => `\uFEFFimport torch\r\n${text.replaceAll("\n", "\r\n")}\r\n`
    ],
    ["tabs and lines cut elsewhere", (text) => text.replaceAll(/([(,=])/g, "$1\n\t\t")],
    [
        "comments and docstrings that name other versions",
        (text) =>
            `"""mem_causal: arange(0, seg_len)\nseg_real_out = none"""\n# seg_real_out = x\n${text}\n'''mem_causal'''\n`
    ],
    [
        "another file inlined before it",
        (text) => `class DPFP:\n    def __init__(self, nu):\n        self.nu = nu\n\n${text}`
    ]
] as [string, (text: string) => string][])
    test(`the source's text tells the dialect whatever its form: ${what}`, (t) => {
        for (const dialect of ["disjoint", "inner-causal", "inner"] as const)
            t.is(dialectOfSource(change(sources[dialect])), dialect);
    });

test("a source's text with classes of two versions tells nothing, nor does a file that is none", async (t) => {
    t.is(dialectOfSource(`${sources.disjoint}\n${sources["inner-causal"]}`), undefined);
    t.is(dialectOfSource(""), undefined);
    const folder = await makeTiny(t);
    asClass(folder, { architectures: ["InnerLoopARMTForCausalLM"] });
    mkdirSync(path.join(folder, "modeling_armt.py"));
    await t.throwsAsync(digest(folder), { message: /the text of ".*modeling_armt\.py" is unknown; .*--dialect/ });
    rmSync(path.join(folder, "modeling_armt.py"), { recursive: true });
    writeFileSync(path.join(folder, "modeling_armt.py"), Buffer.alloc(5 * 2 ** 20, sources.inner));
    await t.throwsAsync(digest(folder), { message: /the text of ".*modeling_armt\.py" is unknown; .*--dialect/ });
});

test("an unknown text is said; a flag or the newest class's keys make up for it", async (t) => {
    const folder = await makeTiny(t);
    const expected = await digest(folder);
    asClass(folder, { architectures: ["InnerLoopARMTForCausalLM"] });
    writeFileSync(path.join(folder, "modeling_armt.py"), "# seg_real_out = only a comment");
    await t.throwsAsync(digest(folder), { message: /the text of ".*modeling_armt\.py" is unknown; .*--dialect/ });
    t.is(await digest(folder, { flags: { dialect: "inner-causal" } }), expected);
    const config = readJson(folder, "config.json");
    writeJson(folder, "config.json", { ...config, memory_dtype: "float32" });
    t.is(await digest(folder), expected);
});

for (const [what, tiny, dialect, message] of [
    ["learned positions", { family: "gpt2" }, "inner", /the dialect inner with learned positions/],
    ["Gemma's local layers", { family: "gemma3_text" }, "disjoint", /disjoint with layers with a RoPE of their own/],
    ["a window", { slidingWindow: true }, "disjoint", /the dialect disjoint with `sliding_window`: not supported/],
    ["a sink without a window", { sink: true }, "inner", /the dialect inner with a sink but no window/]
] as const)
    test(`a dialect is refused by name with ${what}`, async (t) => {
        const folder = await makeTiny(t, tiny);
        await t.throwsAsync(digest(folder, { flags: { dialect } }), { name: "ArmtError", message });
    });

test("learned positions of the newest class run on, those of earlier classes do not", async (t) => {
    const folder = await makeTiny(t, { family: "gpt2" });
    const expected = await digest(folder);
    asClass(folder);
    t.is(await digest(folder), expected);
    writeJson(folder, "config.json", { ...readJson(folder, "config.json"), memory_dtype: "float32" });
    t.like(await validateArmtModel(await convert(folder)), { positions: { type: "learned", continues: true } });
    await t.throwsAsync(digest(folder, { flags: { wrapPositions: true } }), {
        message: /`continue_pos` is defined for learned positions without `wrap_pos`/
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

test("a checkpoint without associative memories is plain RMT, which has no variants", async (t) => {
    const { folder } = await readRecurrentGolden("rmt");
    const copy = path.join(temporaryFolder(t), "checkpoint");
    cpSync(folder, copy, { recursive: true });
    t.like(await validateArmtModel(await convert(copy)), {
        memory: { kind: "recurrent", tokenCount: 5, keyLength: 0 }
    });
    for (const [flags, message] of [
        [{ slidingWindow: true }, /plain RMT .* with a sliding window: not supported/],
        [{ dialect: "inner" }, /plain RMT .* with the dialect inner: not supported/],
        [{ sink: true }, /plain RMT .* with a sink: not supported/],
        [{ wrapPositions: true }, /plain RMT .* with positions that wrap or run on: not supported/],
        [{ memoryAttendsToText: false }, /plain RMT .* with memory tokens that don't see the text/],
        [{ layersWithMemory: [true, true, true] }, /plain RMT .* with `wrap_layers`: not supported/]
    ] as const)
        await t.throwsAsync(convert(copy, { flags }), { name: "ArmtError", message });
    const detected = await runArmt(["detect", copy, "--text", path.join(copy, "config.json")]);
    t.is(detected.code, 1);
    t.regex(detected.stderr, /is plain RMT, which has no keys, correction or other variants to compare/);
});

test("layers that all have memory are no variant", async (t) => {
    const folder = await makeTiny(t);
    const expected = await digest(folder);
    asClass(folder, { wrap_layers: [true, true, true] });
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

test("several heads that only shapes tell may be online ARMT, which is said", async (t) => {
    const folder = await makeTiny(t, { nHeads: 2 });
    rmSync(path.join(folder, "armt_config.json"));
    const said = async (headCount?: number) => {
        const warnings: string[] = [];
        const flags = { segmentSize: 16, normalizeKeys: true, headCount };
        await convert(folder, { flags, onWarning: (text) => warnings.push(text) });
        return warnings.filter((text) => text.includes("heads"));
    };
    const [warning, ...more] = await said();
    t.regex(warning!, /^the memory has 2 heads by its shapes; a file of OnlineARMTForCausalLM, .*: --n-heads says/);
    t.deepEqual(more, []);
    t.deepEqual(await said(2), []);
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
