import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { type AttachOptions, attachMemory } from "../../../src/convert/attach/attach.js";
import { convertCheckpoint, type OutType } from "../../../src/convert/convert.js";
import { llama3FrequencyDivisors } from "../../../src/convert/rope.js";
import { validateArmtModel } from "../../../src/formats/gguf/armt-model.js";
import { verifyFingerprint } from "../../../src/formats/gguf/fingerprint.js";
import { openGguf } from "../../../src/formats/gguf/reader.js";
import type { GgufTensorData } from "../../../src/formats/gguf/writer.js";
import { makeTinyCheckpoint } from "../../../src/tiny/checkpoint.js";
import type { TinyOptions } from "../../../src/tiny/options.js";
import { verifyModel } from "../../../src/verify/verify-model.js";
import { runArmt } from "../../helpers/armt-command.js";
import { readAuthorsGolden, readMadeGolden } from "../../helpers/golden.js";
import { writePlainModel } from "../../helpers/plain-model.js";
import { rewriteCheckpoint } from "../../helpers/rewrite-checkpoint.js";
import { type StockFiles, type StockOptions, writeStock } from "../../helpers/stock-gguf.js";
import { temporaryFolder } from "../../helpers/temporary.js";
import { makeTiny, makeTinyIn } from "../../helpers/tiny-checkpoint.js";
import { torchFile } from "../../helpers/torch-file.js";

type Json = Record<string, unknown>;

/** The metadata that a trainer would write: ARMT's numbers by their own keys. */
function metadataOf(folder: string): Record<string, string> {
    const armt = JSON.parse(readFileSync(path.join(folder, "armt_config.json"), "utf8")) as Json;
    return Object.fromEntries(
        Object.entries(armt).map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)])
    );
}

async function attach(files: StockFiles, options: Partial<AttachOptions> = {}): Promise<string> {
    const output = path.join(path.dirname(files.base), "attached.gguf");
    await attachMemory({ ...files, output, memoryType: "f32", overwrite: true, ...options });
    return output;
}

async function contentsOf(model: string) {
    const { fingerprint: _, ...facts } = await validateArmtModel(model);
    await verifyFingerprint(model);
    const file = await openGguf(model);
    const tensors = new Map<string, string>();
    for (const [name, { type, shape }] of file.tensors)
        tensors.set(name, `${type.name} [${shape}] ${(await file.readTensor(name)).toString("base64")}`);
    await file.close();
    return { facts, tensors: new Map([...tensors].sort()) };
}

/** Takes a checkpoint apart, attaches, and compares with its whole conversion. */
async function compare(
    t: ExecutionContext,
    folder: string,
    stock: StockOptions = {},
    outType: OutType = "f32"
): Promise<{ whole: string; attached: string }> {
    const to = temporaryFolder(t);
    const whole = path.join(to, "whole.gguf");
    await convertCheckpoint({ checkpoint: folder, output: whole, outType });
    const files = await writeStock(folder, to, { metadata: metadataOf(folder), ...stock });
    const attached = await attach(files, { memoryType: outType === "f32" ? "f32" : undefined });
    const [expected, actual] = [await contentsOf(whole), await contentsOf(attached)];
    t.deepEqual([...actual.tensors.keys()], [...expected.tensors.keys()]);
    for (const [name, tensor] of expected.tensors) t.true(actual.tensors.get(name) === tensor, name);
    t.deepEqual(actual.facts, { ...expected.facts });
    return { whole, attached };
}

for (const name of ["llama-gqa", "llama-mha-tied-nocorr", "v1-heads-gating", "qwen2-bias"] as const) {
    test.serial(`memory attached to a stock file of its base is the whole conversion, ${name}`, async (t) => {
        const golden = await readAuthorsGolden(name);
        const { whole, attached } = await compare(t, golden.folder);
        const ids = path.join(path.dirname(whole), "ids.json");
        writeFileSync(ids, JSON.stringify(golden.ids));
        const logits: Buffer[] = [];
        for (const model of [whole, attached]) {
            const out = `${model}.safetensors`;
            const { code, stderr } = await runArmt(["logits", model, "--tokens", ids, "--out", out, "--threads", "1"]);
            t.is(code, 0, stderr);
            logits.push(readFileSync(out));
        }
        t.true(logits[0]!.equals(logits[1]!));
        const options = { model: attached, against: golden.folder, segments: 2, json: true };
        const computing = { batchSize: 512, verify: true, threads: 1 };
        t.true((await verifyModel({ ...options, ...computing }, new AbortController().signal)).passed);
    });
}

for (const name of ["gpt2", "gpt_neox", "phi3", "qwen3"] as const) {
    test.serial(`memory attached to a stock file of its base is the whole conversion, ${name}`, async (t) => {
        await compare(t, (await readMadeGolden(name)).folder);
    });
}

for (const name of ["sink", "window_sink"] as const) {
    test(`memory attached to a stock file of its base is the whole conversion, ${name}`, async (t) => {
        await compare(t, (await readMadeGolden(name)).folder);
    });
}

test("memory attached to a stock Gemma 3 is the whole conversion", async (t) => {
    const config = { rope_parameters: null, query_pre_attn_scalar: 8, sliding_window: 512 };
    const folder = await makeTiny(t, { family: "gemma3_text", layers: 7, tied: true, dtype: "F16", config });
    await compare(t, folder, { type: () => "F16" }, "f16");
});

test("memory attached to other stock files is the whole conversion", async (t) => {
    await compare(t, await makeTiny(t, { ropeScaling: { type: "linear", factor: 4 }, biases: true }));
    await compare(t, await makeTiny(t, { family: "qwen2", nHeads: 2, alignment: "center" }));
});

test("llama3 scaling is the stock file's own tensor", async (t) => {
    const scaling = { type: "llama3", factor: 8, lowFreqFactor: 1, highFreqFactor: 4 } as const;
    const folder = await makeTiny(t, { ropeScaling: { ...scaling, originalMaxPositions: 32 } });
    const divisors = llama3FrequencyDivisors(10_000, 8, { ...scaling, originalContext: 32 });
    t.true(divisors.some((divisor) => divisor === 8));
    const factors: GgufTensorData = {
        name: "rope_freqs.weight",
        type: "F32",
        shape: [4],
        data: async function* () {
            yield new Uint8Array(divisors.buffer);
        }
    };
    await compare(t, folder, {
        change: (tensor) => (tensor.name === "output_norm.weight" ? [tensor, factors] : [tensor])
    });
});

test.serial("memory attached to a stock Mistral, which says that it is a LLaMA, passes as one", async (t) => {
    const folder = await makeTiny(t, { family: "mistral" });
    const model = await attach(await writeStock(folder, temporaryFolder(t), { metadata: metadataOf(folder) }));
    t.is((await validateArmtModel(model)).baseArchitecture, "llama");
    const options = { model, against: folder, segments: 2, json: true, batchSize: 512, verify: true, threads: 1 };
    t.true((await verifyModel(options, new AbortController().signal)).passed);
});

test("rows of quantized weights keep their bytes", async (t) => {
    const folder = await makeTiny(t);
    await compare(
        t,
        folder,
        { type: () => "Q8_0", keys: { "general.file_type": { type: "UINT32", value: 7 } } },
        "q8_0"
    );
});

test("layers of several types become stacks of their own", async (t) => {
    const folder = await makeTiny(t);
    const files = await writeStock(folder, temporaryFolder(t), {
        metadata: metadataOf(folder),
        type: (name) => (name.startsWith("blk.1.ffn_down") ? "F16" : "Q8_0")
    });
    const { tensors } = await contentsOf(await attach(files));
    const stacks = [...tensors].filter(([name]) => name.endsWith("ffn_down.weight"));
    t.deepEqual(
        stacks.map(([name, text]) => [name, text.split(" ", 1)[0]]),
        [
            ["blk.0.ffn_down.weight", "Q8_0"],
            ["blk.1.ffn_down.weight", "F16"],
            ["blk.2.ffn_down.weight", "Q8_0"]
        ]
    );
});

test("ARMT's numbers come from flags, the file's metadata, or armt_config.json in its folder", async (t) => {
    const folder = await makeTiny(t, { segmentSize: 9, correction: false });
    const to = temporaryFolder(t);
    const bare = await writeStock(folder, to);
    await t.throwsAsync(attach(bare), { name: "ArmtError", message: /`segment_size` is unknown.*--segment-size/ });
    const factsOf = async (options?: Partial<AttachOptions>) => validateArmtModel(await attach(bare, options));
    const flags = { segmentSize: 5, normalizeKeys: false };
    const given = await factsOf({ flags });
    t.is(given.segmentSize, 5);
    t.like(given.memory, { normalizeKeys: false, correction: true });
    writeFileSync(path.join(to, "armt_config.json"), readFileSync(path.join(folder, "armt_config.json")));
    const beside = await factsOf();
    t.is(beside.segmentSize, 9);
    t.like(beside.memory, { normalizeKeys: true, correction: false });
    t.is((await factsOf({ flags: { segmentSize: 5 } })).segmentSize, 5);
    await writeStock(folder, to, { metadata: { armt_config: '{"segment_size": 6}', correction: "true" } });
    const metadata = await factsOf();
    t.is(metadata.segmentSize, 6);
    t.true(metadata.memory.correction);
    await writeStock(folder, to, { metadata: { act_on: "true" } });
    await t.throwsAsync(attach(bare), { message: /`act_on` asks for adaptive computation/ });
    await writeStock(folder, to, { metadata: { segment_size: "many" } });
    await t.throwsAsync(attach(bare), { message: /metadata "segment_size": bad JSON/ });
});

test("a torch file of ARMT's tensors will do", async (t) => {
    const folder = await makeTiny(t);
    const files = await writeStock(folder, temporaryFolder(t), { metadata: metadataOf(folder) });
    const expected = await contentsOf(await attach(files));
    const to = path.dirname(files.memory);
    const source = path.join(to, "memory.pt");
    const tensors: Parameters<typeof torchFile>[0][number][] = [];
    await rewriteCheckpoint(
        folder,
        (tensor) => {
            if (/W_m|memory$/.test(tensor.name)) tensors.push(tensor);
            return [tensor];
        },
        "same.safetensors"
    );
    writeFileSync(source, torchFile(tensors));
    writeFileSync(path.join(to, "armt_config.json"), readFileSync(path.join(folder, "armt_config.json")));
    t.deepEqual(await contentsOf(await attach({ ...files, memory: source })), expected);
});

test("the base's tokenizer and name come along", async (t) => {
    const folder = await makeTiny(t, { hidden: 32, vocab: 260, layers: 1, heads: 4, kvHeads: 4 });
    const files = await writeStock(folder, temporaryFolder(t), { metadata: metadataOf(folder) });
    const warnings: string[] = [];
    await attach(files, { onWarning: (text) => warnings.push(text) });
    t.regex(warnings.join(), /base\.gguf" has no tokenizer/);
    const base = path.join(path.dirname(files.base), "plain.gguf");
    await writePlainModel(base);
    const output = await attach({ ...files, base }, { name: "mine", onWarning: () => t.fail() });
    t.is((await validateArmtModel(output)).name, "mine");
    const gguf = await openGguf(output);
    t.deepEqual((await gguf.readArray("tokenizer.ggml.tokens", 2)).slice(0, 2), ["<unk>", "<s>"]);
    await gguf.close();
});

const refused = test.macro({
    title: (name = "") => `refused without a file left: ${name}`,
    async exec(
        t,
        tiny: TinyOptions,
        stock: StockOptions,
        change: (files: StockFiles) => void | Promise<void>,
        message: RegExp
    ) {
        const folder = await makeTiny(t, tiny);
        const to = temporaryFolder(t);
        const files = await writeStock(folder, to, { metadata: metadataOf(folder), ...stock });
        await change(files);
        const before = readdirSync(to).sort();
        const error = await t.throwsAsync(attach(files), { name: "ArmtError", message });
        t.notRegex(error.message, /\n/);
        t.deepEqual(readdirSync(to).sort(), before);
    }
});
const nothing = () => {};
const without =
    (name: string) =>
    (tensor: GgufTensorData): GgufTensorData[] =>
        tensor.name === name ? [] : [tensor];

test(
    "an unknown architecture",
    refused,
    {},
    { keys: { "general.architecture": { type: "STRING", value: "mamba" } } },
    nothing,
    /the architecture "mamba" is not known; known are llama, /
);
test(
    "experts",
    refused,
    {},
    { keys: { "llama.expert_count": { type: "UINT32", value: 8 } } },
    nothing,
    /`llama\.expert_count` is an option that ARMT models do not support/
);
test(
    "YaRN",
    refused,
    {},
    { keys: { "llama.rope.scaling.type": { type: "STRING", value: "yarn" } } },
    nothing,
    /`llama\.rope\.scaling\.type` is "yarn"/
);
test(
    "a key of the wrong kind",
    refused,
    {},
    { keys: { "llama.block_count": { type: "STRING", value: "3" } } },
    nothing,
    /`llama\.block_count` is STRING/
);
test(
    "more layers than tensors",
    refused,
    {},
    { keys: { "llama.block_count": { type: "UINT32", value: 4 } } },
    nothing,
    /it has no tensor "blk\.3\.attn_norm\.weight"/
);
test(
    "fewer layers than tensors",
    refused,
    {},
    { keys: { "llama.block_count": { type: "UINT32", value: 2 } } },
    nothing,
    /its tensor "blk\.2\..*" has no place/
);
test(
    "a base without a tensor",
    refused,
    {},
    { change: without("blk.1.ffn_gate.weight") },
    nothing,
    /it has no tensor "blk\.1\.ffn_gate\.weight"/
);
test(
    "a bias in one layer alone",
    refused,
    { family: "qwen2" },
    { change: without("blk.1.attn_q.bias") },
    nothing,
    /it has no tensor "blk\.1\.attn_q\.bias"/
);
test(
    "a tensor that ARMT has no place for",
    refused,
    {},
    {
        change: (tensor) =>
            tensor.name === "blk.0.attn_norm.weight"
                ? [tensor, { ...tensor, name: "blk.0.attn_sinks.weight" }]
                : [tensor]
    },
    nothing,
    /its tensor "blk\.0\.attn_sinks\.weight" has no place/
);
test(
    "memory of a wider model",
    refused,
    {},
    {},
    async (files) => void (await writeStockOf(files, { hidden: 64 })),
    /W_mq\.weight" is \[8, 64\], expected \[8, 32\] \(d_mem is 8, the base's width is 32\)|memory" is \[4, 64\], expected \[4, 32\]/
);
test(
    "memory of a deeper model",
    refused,
    {},
    {},
    async (files) => void (await writeStockOf(files, { layers: 4 })),
    /layers\.3\..*" belongs to a layer that the base model, with 3 layers, does not have/
);
test(
    "memory of a shallower model",
    refused,
    {},
    {},
    async (files) => void (await writeStockOf(files, { layers: 2 })),
    /the memory file has no tensor "layers\.2\.W_mq\.weight"/
);
test(
    "memory heads that were not told right",
    refused,
    { nHeads: 2 },
    { metadata: { segment_size: "9", normalize_keys: "true", n_heads: "4" } },
    nothing,
    /W_mb\.weight" is \[2, 32\], expected \[4, 32\] \(n_heads is 4/
);
test(
    "another number of memory tokens",
    refused,
    {},
    { metadata: { segment_size: "9", normalize_keys: "true", num_mem_tokens: "5" } },
    nothing,
    /memory" is \[4, 32\], expected 5 rows/
);
test(
    "segments beyond the position table",
    refused,
    { family: "gpt2" },
    { metadata: { segment_size: "125", normalize_keys: "true" } },
    nothing,
    /supports 128 rows, and a segment has 129/
);
test(
    "wrapped positions",
    refused,
    { family: "gpt2" },
    { metadata: { segment_size: "9", normalize_keys: "true", wrap_pos: "true" } },
    nothing,
    /`wrap_pos` adds rows to the base's position table/
);
test("no safetensors file", refused, {}, {}, ({ memory }) => writeFileSync(memory, "no"), /bad safetensors file/);
test(
    "an ARMT model for a base",
    refused,
    {},
    {},
    async ({ base }) => {
        const folder = path.join(path.dirname(base), "..", path.basename(path.dirname(base)), "checkpoint");
        await makeTinyCheckpoint(folder, { layers: 1, tokenizer: false, vocab: 40 });
        await convertCheckpoint({ checkpoint: folder, output: base, overwrite: true });
    },
    /it is an ARMT model already/
);

/** Replaces the memory in a file with another model's. */
async function writeStockOf(files: StockFiles, tiny: TinyOptions): Promise<void> {
    const folder = path.join(path.dirname(files.base), "other");
    await makeTinyIn(folder, tiny);
    const other = await writeStock(folder, folder, { metadata: metadataOf(folder) });
    writeFileSync(files.memory, readFileSync(other.memory));
}

test("a file that holds the base's weights too is refused", async (t) => {
    const folder = await makeTiny(t);
    const files = await writeStock(folder, temporaryFolder(t));
    const memory = path.join(folder, "model.safetensors");
    await t.throwsAsync(attach({ ...files, memory }), {
        message: /belongs to the base model; .* If the base was trained too, convert the whole checkpoint/
    });
    await t.throwsAsync(attach({ ...files, memory: folder }), { message: /it is not a file/ });
});

test("an existing output is kept unless it may be replaced, and an abort leaves nothing", async (t) => {
    const folder = await makeTiny(t);
    const files = await writeStock(folder, temporaryFolder(t), { metadata: metadataOf(folder) });
    const output = await attach(files);
    await t.throwsAsync(attach(files, { overwrite: false }), { message: /--force/ });
    const aborted = path.join(path.dirname(output), "aborted.gguf");
    const before = readdirSync(path.dirname(output)).sort();
    await t.throwsAsync(attach(files, { output: aborted, signal: AbortSignal.abort(new Error("stop")) }), {
        message: "stop"
    });
    t.deepEqual(readdirSync(path.dirname(output)).sort(), before);
});

test("attach works from the command line", async (t) => {
    const folder = await makeTiny(t);
    const { base, memory } = await writeStock(folder, temporaryFolder(t));
    const output = path.join(path.dirname(base), "model.gguf");
    const bare = await runArmt(["attach", base, memory, output]);
    t.is(bare.code, 1);
    t.regex(bare.stderr, /^armt: `segment_size` is unknown.*\n$/);
    const numbers = [
        "--segment-size",
        "16",
        "--normalize-keys",
        "--d-mem",
        "8",
        "--memory-type",
        "bf16",
        "--name",
        "x"
    ];
    const { code, stdout, stderr } = await runArmt(["attach", base, memory, output, ...numbers]);
    t.deepEqual([code, stdout], [0, ""], stderr);
    t.regex(stderr, /^warning: .*has no tokenizer.*\n$/);
    const facts = await validateArmtModel(output);
    t.like(facts, { name: "x", segmentSize: 16, baseArchitecture: "llama" });
    const gguf = await openGguf(output);
    t.is(gguf.tensors.get("blk.0.memory_v.weight")?.type.name, "BF16");
    await gguf.close();
    t.is((await runArmt(["attach", base, memory])).code, 2);
});
