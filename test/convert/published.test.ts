import { truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { parseArmtConfig } from "../../src/convert/armt-config.js";
import type { SourceTensor } from "../../src/convert/checkpoint.js";
import { type OpenOptions, openCheckpoint } from "../../src/convert/open-checkpoint.js";
import { describePublished, differsFromPublished, findPublished } from "../../src/convert/published.js";
import { temporaryFolder } from "../helpers/temporary.js";

const llama = { architecture: "llama", hiddenSize: 2048, layerCount: 16 } as const;
const gpt2 = { architecture: "gpt2", hiddenSize: 768, layerCount: 12 } as const;

/** What a published file shows of itself. */
function shapes(hidden: number, memoryTokens: number, loraRank?: number): ReadonlyMap<string, SourceTensor> {
    const tensor = (shape: number[], lora?: { rank: number }) => ({ shape, lora }) as unknown as SourceTensor;
    return new Map([
        ["memory", tensor([memoryTokens, hidden])],
        ["layers.0.W_mq.weight", tensor([64, hidden])],
        [
            "layers.0.layer.self_attn.q_proj.weight",
            tensor([hidden, hidden], loraRank === undefined ? undefined : { rank: loraRank })
        ]
    ]);
}

test("an unmerged LoRA tells the files whose keys are not normalized from those whose keys are", (t) => {
    const withLora = findPublished(shapes(2048, 16, 8), llama);
    t.is(withLora?.id, "booydar/RMT-Llama-3.2-1B-Instruct-*-lora-*");
    t.is(
        describePublished(withLora!),
        'names and shapes are those of "booydar/RMT-Llama-3.2-1B-Instruct-*-lora-*", which takes --segment-size ' +
            "1024 --no-normalize-keys --lora-alpha 32; a private run may share them"
    );
    t.is(findPublished(shapes(2048, 16), llama)?.id, "irodkin/ARMT-llama3.2-1B");
    const reread = findPublished(shapes(2048, 32), llama);
    t.regex(describePublished(reread!), /ctx512x4_.*--segment-size 512 --normalize-keys --attend-to-previous-input;/);
    const withSink = new Map([...shapes(2048, 32), ["sink", { shape: [1, 2048] } as unknown as SourceTensor] as const]);
    t.is(findPublished(withSink, llama), undefined);
    t.is(findPublished(shapes(2048, 16, 4), llama), undefined);
});

test("a file whose keys nobody knows is named, and both ways are offered", (t) => {
    const found = findPublished(shapes(768, 10), gpt2);
    t.is(found?.id, "irodkin/armt_babilong_qa*");
    t.regex(describePublished(found!), /--segment-size 512 and either of --normalize-keys and --no-normalize-keys/);
});

test("the hint is never applied: a missing value stays an error, another value is only warned of", (t) => {
    const published = findPublished(shapes(2048, 16, 8), llama)!;
    const suggestion = describePublished(published);
    const error = t.throws(() => parseArmtConfig(undefined, { segmentSize: 1024 }, {}, { suggestion }));
    t.regex(
        error.message,
        /`normalize_keys` is unknown: .*\(names and shapes are those of "booydar.*--no-normalize-keys/
    );
    const given = (normalizeKeys: boolean) => parseArmtConfig(undefined, { segmentSize: 1024, normalizeKeys });
    t.true(differsFromPublished(published, given(true)));
    t.false(differsFromPublished(published, given(false)));
    t.false(differsFromPublished(findPublished(shapes(768, 10), gpt2)!, { ...given(true), segmentSize: 512 }));
});

const llamaConfig = {
    model_type: "llama",
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 16,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    vocab_size: 128_256,
    rms_norm_eps: 1e-5,
    hidden_act: "silu",
    rope_theta: 500_000,
    tie_word_embeddings: true
};
const gpt2Config = {
    model_type: "gpt2",
    n_embd: 768,
    n_layer: 12,
    n_head: 12,
    n_positions: 1024,
    vocab_size: 50_257,
    layer_norm_epsilon: 1e-5,
    activation_function: "gelu_new",
    tie_word_embeddings: true
};

/** A checkpoint with some tensors of a published file in their real shapes. Its numbers are a hole in the file. */
function makeHollow(t: ExecutionContext, config: object, shapes: Readonly<Record<string, readonly number[]>>): string {
    const folder = temporaryFolder(t);
    writeFileSync(path.join(folder, "config.json"), JSON.stringify(config));
    let end = 0;
    const header = Object.entries(shapes).map(([name, shape]) => {
        const start = end;
        end += 4 * shape.reduce((product, n) => product * n, 1);
        return [name, { dtype: "F32", shape, data_offsets: [start, end] }];
    });
    const json = Buffer.from(JSON.stringify(Object.fromEntries(header)));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    const file = path.join(folder, "model.safetensors");
    writeFileSync(file, Buffer.concat([length, json]));
    truncateSync(file, length.length + json.length + end);
    return folder;
}

const llamaLayer = "memory_cell.model.model.layers.0";
const gpt2Layer = "memory_cell.model.transformer.h.0";
const peftLayer = "memory_cell.model.base_model.model.model.layers.0";

for (const [id, config, shapes, given, hint, own] of [
    [
        "booydar/RMT-Llama-3.2-1B-Instruct-*-lora-*",
        llamaConfig,
        {
            "memory_cell.memory": [16, 2048],
            [`${peftLayer}.W_mq.weight`]: [64, 2048],
            [`${peftLayer}.layer.self_attn.q_proj.base_layer.weight`]: [2048, 2048],
            [`${peftLayer}.layer.self_attn.q_proj.lora_A.default.weight`]: [8, 2048],
            [`${peftLayer}.layer.self_attn.q_proj.lora_B.default.weight`]: [2048, 8]
        },
        { segmentSize: 1024 },
        "--segment-size 1024 --no-normalize-keys --lora-alpha 32;",
        { segmentSize: 1024, normalizeKeys: false }
    ],
    [
        "irodkin/ARMT-llama3.2-1B",
        llamaConfig,
        { "memory_cell.memory": [16, 2048], [`${llamaLayer}.W_mq.weight`]: [64, 2048] },
        {},
        "--segment-size 1024 --normalize-keys;",
        { segmentSize: 1024, normalizeKeys: true }
    ],
    [
        "irodkin/ARMT-llama3.2-1B/armt_sliding_llama3.2-1B_ctx512x4_*",
        llamaConfig,
        { "memory_cell.memory": [32, 2048], [`${llamaLayer}.W_mq.weight`]: [64, 2048] },
        {},
        "--segment-size 512 --normalize-keys --attend-to-previous-input;",
        { segmentSize: 512, normalizeKeys: true, rereadsPrevious: true }
    ],
    [
        "irodkin/armt_babilong_qa*",
        gpt2Config,
        { "memory_cell.memory": [10, 768], [`${gpt2Layer}.W_mq.weight`]: [64, 768] },
        { segmentSize: 512 },
        "--segment-size 512 and either of --normalize-keys and --no-normalize-keys",
        { segmentSize: 512, normalizeKeys: false }
    ],
    [
        "AIRI-NLP/RMT-Llama-3.2-1B-*-pg19-*",
        llamaConfig,
        { "memory_cell.memory": [16, 2048], [`${llamaLayer}.self_attn.q_proj.weight`]: [2048, 2048] },
        {},
        "--segment-size 1024;",
        { segmentSize: 1024 }
    ],
    [
        "booydar/rmt-gpt2-*",
        gpt2Config,
        { "memory_cell.memory": [16, 768], [`${gpt2Layer}.attn.c_attn.weight`]: [768, 2304] },
        {},
        "--segment-size 512;",
        { segmentSize: 512 }
    ]
] as const)
    test(`the options of a file with these names and shapes are suggested, and detect names it: ${id}`, async (t) => {
        const checkpoint = makeHollow(t, config, shapes);
        const open = async (options: Partial<OpenOptions>) => {
            const warnings: string[] = [];
            const onWarning = (text: string) => warnings.push(text);
            const opened = await openCheckpoint({ checkpoint, lora: { alpha: 32 }, onWarning, ...options });
            await opened.weights.close();
            return warnings;
        };
        const error = await t.throwsAsync(open({ flags: given }), { name: "ArmtError" });
        t.true(error!.message.includes(`(names and shapes are those of "${id}", which takes ${hint}`), error!.message);
        t.deepEqual(await open({ flags: own }), []);
        const [said] = await open({ flags: own, namesPublished: true });
        t.regex(said!, /^the names and shapes are those of .*; a private run may share them$/);
        // a wrong value gets a warning
        t.is((await open({ flags: { ...own, segmentSize: 300 } })).length, 1);
    });
