import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import type { Token } from "../../plugin/index.js";
import { armtFlags, type CheckpointArguments, loraFlags } from "../../src/convert/checkpoint-arguments.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { detectVariant } from "../../src/detect/detect.js";
import type { TensorData } from "../../src/formats/safetensors/writer.js";
import { verifyModel } from "../../src/verify/verify-model.js";
import { classDefaults } from "../helpers/class-defaults.js";
import { decodeNumbers } from "../helpers/decode-numbers.js";
import { madeGoldenNames } from "../helpers/golden.js";
import { repositoryRoot } from "../helpers/repository.js";
import { type LoadedTensor, rewriteCheckpoint } from "../helpers/rewrite-checkpoint.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { torchFile } from "../helpers/torch-file.js";

/*
 * Each row of the tables in docs/checkpoints.md, as a checkpoint of that form: the weights of a golden folder with the
 * names, the files and the config that the row's code writes. Converted, it is byte for byte the golden folder's model,
 * which test/engine compares with other code's outputs; or it is refused with the row's reason.
 */

type Json = Record<string, unknown>;
type Options = CheckpointArguments & { segmentSize?: number };

type Form = {
    /** Folder of `test/golden` whose weights the checkpoint has. */
    golden: string;
    /** Changes the golden folder before it is converted, to what the form can hold. */
    prepare?: (folder: string) => Promise<void>;
    /** Gives the folder its form. `base` is a folder with the base model's config. */
    dress: (folder: string, base: string) => Promise<void> | void;
    /** `"base"` as `base` is that folder. */
    options?: Options;
    /** The file to convert. Default: the folder. */
    file?: string;
    /** What the converter has to say. */
    said?: RegExp;
    /** The reason why it is refused. Default: it is not. */
    refused?: RegExp;
};

const readJson = (folder: string, file: string) => JSON.parse(readFileSync(path.join(folder, file), "utf8")) as Json;
const writeJson = (folder: string, file: string, value: Json) =>
    writeFileSync(path.join(folder, file), JSON.stringify(value));

const newestDefaults = {
    base_model_name: null,
    freeze_mem: false,
    model_dtype: "bfloat16",
    memory_dtype: "bfloat16",
    attn_implementation: null,
    base_attn_implementation: "flash_attention_2"
};

/**
 * One config with the base's in it. None of the authors' classes saves `normalize_keys`, `dialect` or `continue_pos`.
 */
function asClass(
    folder: string,
    change: Json = {},
    { name = "ARMTForCausalLM", type = "armt", defaults = classDefaults as Json } = {}
): void {
    const { normalize_keys: _, dialect: __, continue_pos: ___, ...armt } = readJson(folder, "armt_config.json");
    const base = readJson(folder, "config.json");
    rmSync(path.join(folder, "armt_config.json"));
    writeJson(folder, "config.json", {
        model_type: type,
        architectures: [name],
        auto_map: { AutoConfig: "modeling_armt.ARMTConfig", AutoModelForCausalLM: `modeling_armt.${name}` },
        transformers_version: base.transformers_version,
        ...defaults,
        ...armt,
        base_model_config: base,
        ...change
    });
}

const asNewest =
    (change: Json = {}, type = { name: "ARMTForCausalLM", type: "armt" }) =>
    (folder: string) =>
        asClass(folder, change, { ...type, defaults: newestDefaults });

/** The class of the inner loop with the text of a version's source next to the weights. */
const asInner =
    (source: string, defaults: Json = classDefaults) =>
    (folder: string) => {
        asClass(folder, {}, { name: "InnerLoopARMTForCausalLM", defaults });
        writeFileSync(path.join(folder, "modeling_armt.py"), source);
    };
const sources = {
    inner: "    def _get_segment_positions(self, position_ids, start, end):\n        return position_ids[:, start:end]\n",
    causal: "        position_ids = torch.arange(0, seg_len, device=hidden_states.device)\n",
    disjoint: "            seg_real_out = seg_out[:, :seg_len, :]\n"
};

/** A state dict in a torch file, with no config next to it. */
const asStateDict = (file: string) => async (folder: string) => {
    rmSync(path.join(folder, "armt_config.json"));
    rmSync(path.join(folder, "config.json"));
    if (existsSync(path.join(folder, "pytorch_model.bin"))) return;
    const tensors: TensorData[] = [];
    await rewriteCheckpoint(folder, (tensor) => {
        tensors.push(tensor);
        return [tensor];
    });
    rmSync(path.join(folder, "model.safetensors"));
    writeFileSync(path.join(folder, file), torchFile(tensors));
};

/** The wrapper's arguments as the config, as `PyTorchModelHubMixin` saves them. */
const asMixin = (change: Json) => (folder: string) => {
    rmSync(path.join(folder, "armt_config.json"));
    writeJson(folder, "config.json", { max_n_segments: 4, vary_n_segments: true, k2: -1, ...change });
};

const f32 = (name: string, shape: number[], values: Float32Array): TensorData => ({
    name,
    dtype: "F32",
    shape,
    data: Buffer.from(values.buffer, values.byteOffset, values.byteLength)
});
const numbersOf = ({ dtype, data }: LoadedTensor) => Float32Array.from(decodeNumbers(dtype, data));

const isMemory = (name: string) => /\.memory$|\.W_m/.test(name);
const isUpdated = (name: string) => /\.[qv]_proj\.weight$/.test(name);

/** Values that bfloat16 holds for the memory, and sums of products that float32 holds exactly for q and v. */
const roundForLora = (folder: string) =>
    rewriteCheckpoint(folder, (tensor) => {
        if (!isMemory(tensor.name) && !isUpdated(tensor.name)) return [tensor];
        const values = numbersOf(tensor).map((x) => (isUpdated(tensor.name) ? Math.round(x * 256) / 256 + 0 : x));
        if (isMemory(tensor.name)) {
            const bits = new Uint32Array(values.buffer);
            for (const [i, value] of bits.entries()) bits[i] = value & 0xffff0000;
        }
        return [f32(tensor.name, [...tensor.shape], values)];
    });

const loraRank = 8;
const loraAlpha = 32;

/** An unmerged LoRA on q and v, and memory in bfloat16, as the file's training left them. */
async function asLora(folder: string): Promise<void> {
    asMixin({ segment_size: 16, return_all_logits: false })(folder);
    await rewriteCheckpoint(folder, (tensor) => {
        const name = tensor.name.replace("memory_cell.model.", "memory_cell.model.base_model.model.");
        const values = numbersOf(tensor);
        if (isMemory(tensor.name)) {
            const high = Buffer.alloc(values.length * 2);
            for (const [i, bits] of new Uint32Array(values.buffer).entries()) high.writeUInt16LE(bits >>> 16, i * 2);
            return [
                {
                    name: tensor.name === "memory_cell.memory" ? tensor.name : name,
                    dtype: "BF16",
                    shape: tensor.shape,
                    data: high
                }
            ];
        }
        if (!isUpdated(name)) return [{ ...tensor, name }];
        const [outputs, inputs] = tensor.shape as [number, number];
        const eighths = (length: number, seed: number) =>
            Float32Array.from({ length }, (_, i) => (((i * 7 + seed) % 11) - 5) / 8);
        const [a, b] = [eighths(loraRank * inputs, 1), eighths(outputs * loraRank, 4)];
        const base = values.map((x, at) => {
            let sum = 0;
            for (let k = 0; k < loraRank; k++)
                sum += b[Math.floor(at / inputs) * loraRank + k]! * a[k * inputs + (at % inputs)]!;
            return x - (loraAlpha / loraRank) * sum;
        });
        const stem = name.replace(/weight$/, "");
        return [
            f32(`${stem}base_layer.weight`, [outputs, inputs], base),
            f32(`${stem}lora_A.default.weight`, [loraRank, inputs], a),
            f32(`${stem}lora_B.default.weight`, [outputs, loraRank], b)
        ];
    });
}

/** A tensor of another variant next to those of the golden folder. */
const withTensor = (name: string) => (folder: string) =>
    rewriteCheckpoint(folder, (tensor) => (tensor.name.endsWith("memory") ? [tensor, { ...tensor, name }] : [tensor]));

const v1 = "authors/v1-normalized";
const given = { base: "base", segmentSize: 12 };

/** By the first cell of a row. */
const forms: Readonly<Record<string, readonly Form[]>> = {
    "`booydar/RMT-Llama-3.2-1B-Instruct-*-lora-*`": [
        {
            golden: "authors/llama-gqa",
            prepare: roundForLora,
            dress: asLora,
            options: { base: "base", normalizeKeys: false, loraAlpha },
            said: /^the segment size is 16, from ".*config\.json"$/
        }
    ],
    "`irodkin/ARMT-llama3.2-1B`": [
        {
            golden: v1,
            dress: asStateDict("armt_llama3.2-1B_2x1024_step5000_pg19.bin"),
            options: { base: "base", segmentSize: 16, normalizeKeys: true }
        }
    ],
    "… its file `armt_sliding_llama3.2-1B_ctx512x4_…`": [
        {
            golden: "reread",
            dress: asStateDict("armt_sliding_llama3.2-1B_ctx512x4_step38500_pg19.bin"),
            options: { ...given, normalizeKeys: true, attendToPreviousInput: true }
        }
    ],
    "`irodkin/armt_babilong_qa1` to `qa4`": [
        {
            golden: "gpt2",
            dress: asStateDict("pytorch_model.bin"),
            options: { ...given, normalizeKeys: true }
        },
        {
            golden: "gpt2",
            dress: asStateDict("pytorch_model.bin"),
            options: given,
            refused: /`normalize_keys` is unknown: .* pass --normalize-keys or --no-normalize-keys/
        }
    ],
    "`irodkin/armt-neox-tiny`": [{ golden: "gpt_neox", dress: (folder) => asClass(folder) }],
    "`irodkin/InnerLoopARMTForCausalLM_run_34`": [
        {
            golden: "gemma3_window",
            dress: asInner(sources.causal),
            said: /^the dialect is inner-causal, by the text of ".*modeling_armt\.py"$/
        },
        { golden: "gemma3_window", dress: asInner("# none", newestDefaults) },
        { golden: "gemma3_window", dress: asInner("# none"), options: { dialect: "inner-causal" } },
        { golden: "gemma3_window", dress: asInner("# none"), refused: /the text of .* is unknown; .*--dialect inner/ },
        {
            golden: "gemma3_window",
            dress: asInner(sources.inner),
            refused: /6 rows .*`sliding_window`.*: not supported with the dialect inner/
        }
    ],
    "`irodkin/InnerLoopARMTForCausalLM_run_20`": [
        { golden: "inner", dress: asInner(sources.inner), said: /^the dialect is inner, by the text of/ },
        { golden: "inner_window_sink", dress: asInner(sources.inner), said: /^the dialect is inner,/ },
        { golden: "causal_window_sink", dress: asInner(sources.causal), said: /^the dialect is inner-causal,/ },
        { golden: "disjoint", dress: asInner(sources.disjoint), said: /^the dialect is disjoint,/ }
    ],
    "`AIRI-NLP/RMT-…`, `booydar/rmt-gpt2-*`": [
        { golden: "rmt", dress: asMixin({}), options: given },
        { golden: "rmt_gpt2", dress: asStateDict("pytorch_model.bin"), options: given },
        { golden: "rmt", dress: asMixin({}), options: { base: "base" }, refused: /pass --segment-size/ }
    ],
    "a state dict without a config": [
        {
            golden: "authors/llama-mha-tied-nocorr",
            dress: asStateDict("pytorch_model.bin"),
            options: { base: "base", segmentSize: 24, normalizeKeys: false, correction: false }
        },
        {
            golden: "authors/v1-heads-gating",
            dress: asStateDict("model.pth"),
            options: { base: "base", segmentSize: 16, normalizeKeys: true, nHeads: 2 }
        },
        {
            golden: v1,
            dress: asStateDict("model.pth"),
            options: { segmentSize: 16, normalizeKeys: true },
            refused: /no ".*config\.json"; copy the base model's there, or name it with --base/
        }
    ],
    "`PyTorchModelHubMixin`": [
        {
            golden: v1,
            dress: asMixin({ segment_size: 16, segment_alignment: "left" }),
            options: { base: "base", normalizeKeys: true },
            said: /^the segment size is 16, from/
        }
    ],
    "`ARMTForCausalLM`": [v1, "authors/v1-heads-gating", ...madeGoldenNames, "wrap_layers"].map((golden) => ({
        golden,
        dress: (folder) => asClass(folder)
    })),
    "… with `act_on`": [
        { golden: v1, dress: (folder) => asClass(folder, { act_on: true }), refused: /`act_on` asks for adaptive comp/ }
    ],
    "… with `attend_to_previous_input`": [
        { golden: "reread", dress: (folder) => asClass(folder) },
        { golden: "reread_gpt2", dress: (folder) => asClass(folder) }
    ],
    "`InnerLoopARMTForCausalLM`": [
        { golden: "inner", dress: asInner(sources.inner) },
        { golden: "inner_window", dress: asInner(sources.inner) },
        { golden: "inner_window_sink", dress: asInner(sources.inner) },
        { golden: "causal_window", dress: asInner(sources.causal) },
        { golden: "causal_window_sink", dress: asInner(sources.causal) },
        { golden: "disjoint", dress: asInner(sources.disjoint) }
    ],
    "`MemoryParamsARMTForCausalLM`": [
        {
            golden: v1,
            dress: (folder) => asClass(folder, {}, { name: "MemoryParamsARMTForCausalLM" }),
            refused: /names "MemoryParamsARMTForCausalLM", which has a second copy of every layer/
        },
        {
            golden: v1,
            dress: withTensor("memory_cell.model.model.layers.0.mem_layer.mlp.up_proj.weight"),
            refused: /belongs to layers of their own for memory tokens/
        }
    ],
    "`ThinkingARMTForCausalLM`": [
        {
            golden: v1,
            dress: (folder) => asClass(folder, {}, { name: "ThinkingARMTForCausalLM" }),
            refused: /names "ThinkingARMTForCausalLM", which applies a layer several times/
        },
        {
            golden: v1,
            dress: (folder) => asClass(folder, { writing_depth_multiplier: 2 }),
            refused: /asks for a layer that is applied several times/
        }
    ],
    "`ARMTForCausalLMv2`": [
        {
            golden: v1,
            dress: (folder) => asClass(folder, { max_n_segments: 4 }, { name: "ARMTForCausalLMv2" }),
            said: /^ARMTForCausalLMv2 leaves it to its caller where a text is cut;/
        }
    ],
    "the newest `ARMTForCausalLM`": [
        { golden: v1, dress: asNewest() },
        { golden: "wrap_layers", dress: asNewest() }
    ],
    "… on GPT-2": [{ golden: "gpt2_continued", dress: asNewest() }],
    "`ARMTSlidingWindowForCausalLM`": ["causal_window", "causal_window_sink"].map((golden) => ({
        golden,
        dress: asNewest({ sliding_window: undefined }, { name: "ARMTSlidingWindowForCausalLM", type: "armt_sw" })
    })),
    "ARMT with gated delta rule": [
        {
            golden: v1,
            dress: withTensor("memory_cell.model.model.layers.0.gdn_update.A_log"),
            refused: /belongs to a memory that decays \(gated delta rule\)/
        }
    ],
    "online ARMT": [
        {
            golden: v1,
            dress: (folder) => asClass(folder, {}, { name: "OnlineARMTForCausalLM" }),
            refused: /which lets every token read a memory of its own segment: not supported/
        }
    ],
    "RWKV, BERT and other bases": ["rwkv", "bert", "modernbert"].map((type) => ({
        golden: v1,
        dress: (folder) => {
            asClass(folder, { base_model_config: { ...readJson(folder, "config.json"), model_type: type } });
        },
        refused: new RegExp(`unknown base architecture "${type}"`)
    }))
};

/** The first and the last cell of each row in the page's tables with a column "ours". */
function rowsOfPage(): Map<string, string> {
    const rows = new Map<string, string>();
    let isTable = false;
    for (const line of readFileSync(path.join(repositoryRoot, "docs", "checkpoints.md"), "utf8").split("\n")) {
        const cells = line.split("|").slice(1, -1);
        if (cells.length === 0) isTable = false;
        else if (cells.at(-1)!.trim() === "ours") isTable = true;
        else if (isTable && !/^[ -]+$/.test(cells[0]!)) rows.set(cells[0]!.trim(), cells.at(-1)!.trim());
    }
    return rows;
}

const rows = rowsOfPage();

test("each row of the page has a form here, and each form a row", (t) => {
    t.deepEqual([...rows.keys()].sort(), Object.keys(forms).sort());
    for (const [row, ours] of rows) {
        const named = [...ours.matchAll(/`((?:authors\/)?[\w-]+)`/g)]
            .map(([, name]) => name!)
            .filter((name) => existsSync(path.join(repositoryRoot, "test", "golden", name)));
        const converted = forms[row]!.filter(({ refused }) => refused === undefined).map(({ golden }) => golden);
        for (const name of named) t.true(converted.includes(name), `${row}: no form has the weights of ${name}`);
        t.is(ours.startsWith("rejected"), converted.length === 0, row);
    }
});

/** Converts, and gives the model file and what the converter said. */
async function convert(t: ExecutionContext, checkpoint: string, { segmentSize, ...options }: Options = {}) {
    const file = path.join(temporaryFolder(t), "model.gguf");
    const said: string[] = [];
    await convertCheckpoint({
        checkpoint,
        output: file,
        outType: "f32",
        base: options.base,
        flags: { ...armtFlags(options), segmentSize },
        lora: loraFlags(options),
        onWarning: (text) => said.push(text)
    });
    return { file, said };
}

const digest = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex");

for (const [row, list] of Object.entries(forms))
    for (const [i, form] of list.entries()) {
        const title = `${row}, ${form.refused === undefined ? "as" : "refused:"} ${form.golden} (${i + 1})`;
        test.serial(title, async (t) => {
            const folder = path.join(temporaryFolder(t), "checkpoint");
            cpSync(path.join(repositoryRoot, "test", "golden", form.golden), folder, { recursive: true });
            rmSync(path.join(folder, "golden.safetensors"));
            await form.prepare?.(folder);
            const expected = form.refused === undefined ? digest((await convert(t, folder)).file) : "";
            const base = path.join(folder, "..", "base");
            mkdirSync(base);
            cpSync(path.join(folder, "config.json"), path.join(base, "config.json"));
            await form.dress(folder, base);
            const options = { ...form.options, ...(form.options?.base === undefined ? {} : { base }) };

            if (form.refused !== undefined) {
                await t.throwsAsync(convert(t, folder, options), { name: "ArmtError", message: form.refused });
                return;
            }
            const { file, said } = await convert(t, folder, options);
            t.is(digest(file), expected);
            if (form.said !== undefined)
                t.true(
                    said.some((text) => form.said!.test(text)),
                    said.join("\n")
                );

            const report = await verifyModel(
                {
                    ...{ ...options, segmentSize: undefined },
                    ...{ model: file, against: folder, segments: 3, json: true },
                    ...{ batchSize: 512, verify: true, threads: 1 }
                },
                new AbortController().signal
            );
            t.true(report.passed, JSON.stringify(report.memories));
            await checkDetection(t, folder, options, /^rmt/.test(form.golden));
        });
    }

/** `armt detect` runs the variants of it, or says that there are none. */
async function checkDetection(
    t: ExecutionContext,
    checkpoint: string,
    { segmentSize, ...options }: Options,
    isRecurrent: boolean
) {
    const detect = () =>
        detectVariant({
            checkpoint,
            base: options.base,
            flags: { ...armtFlags(options), segmentSize },
            lora: loraFlags(options),
            computing: { kvType: "f32", threads: 1 },
            text: Array.from({ length: 45 }, (_, i) => ((i * 17) % 61) as Token)
        });
    if (isRecurrent) {
        await t.throwsAsync(detect(), { message: /is plain RMT, which has no keys, correction or other variants/ });
        return;
    }
    const { results } = await detect();
    t.true(results.length >= 3);
    t.true(results.every(({ loss }) => Number.isFinite(loss)));
}
