import { writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { copyTokenizer } from "../../src/convert/tokenizer/from-gguf.js";
import { readTokenizer } from "../../src/convert/tokenizer/tokenizer.js";
import { openGguf } from "../../src/formats/gguf/reader.js";
import type { GgufScalar } from "../../src/formats/gguf/types.js";
import { type GgufWriteValue, writeGguf } from "../../src/formats/gguf/writer.js";
import { JsonFile } from "../../src/util/json-file.js";
import { temporaryFolder } from "../helpers/temporary.js";

type Files = {
    tokenizer?: unknown;
    tokenizerConfig?: unknown;
    config?: Record<string, number | number[]>;
    template?: string;
};
type Read = {
    folder: string;
    keys: Map<string, GgufWriteValue>;
    value: (key: string) => GgufScalar["value"] | GgufScalar["value"][] | undefined;
};

/** Reads a tokenizer from the given files, and its keys back from a GGUF file. */
async function readKeys(t: ExecutionContext, files: Files, vocabSize: number, pre?: string): Promise<Read> {
    const folder = temporaryFolder(t);
    const write = (name: string, content: unknown) => {
        if (content !== undefined)
            writeFileSync(path.join(folder, name), typeof content === "string" ? content : JSON.stringify(content));
    };
    write("tokenizer.json", files.tokenizer);
    write("tokenizer_config.json", files.tokenizerConfig);
    write("chat_template.jinja", files.template);
    const config = new JsonFile("config.json", new Map(Object.entries(files.config ?? {})));
    const keys = (await readTokenizer(folder, config, vocabSize, { pre })) ?? new Map<string, GgufWriteValue>();
    const output = path.join(folder, "x.gguf");
    await writeGguf(output, { metadata: keys, tensors: [] });
    const gguf = await openGguf(output);
    const values = new Map<string, GgufScalar["value"] | GgufScalar["value"][]>();
    for (const [key, entry] of gguf.metadata)
        values.set(
            key.replace("tokenizer.ggml.", ""),
            entry.type === "ARRAY" ? await gguf.readArray(key) : entry.value
        );
    await gguf.close();
    return { folder, keys, value: (key) => values.get(key) };
}

const llama3Words =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const byteLevel = { type: "ByteLevel", add_prefix_space: false, use_regex: false };
const split = (expression: string) => ({
    type: "Sequence",
    pretokenizers: [{ type: "Split", pattern: { Regex: expression }, behavior: "Isolated" }, byteLevel]
});
const template = (...single: object[]) => ({
    type: "Sequence",
    processors: [{ type: "ByteLevel" }, { type: "TemplateProcessing", single }]
});

const llama3 = {
    model: {
        type: "BPE",
        vocab: { a: 0, b: 1, ab: 2, Ġ: 3 },
        merges: [
            ["a", "b"],
            ["Ġ ", "a"]
        ],
        ignore_merges: true
    },
    added_tokens: [
        { id: 4, content: "<|begin|>", special: true },
        { id: 6, content: "<tool>", special: false }
    ],
    pre_tokenizer: split(llama3Words),
    post_processor: template({ SpecialToken: { id: "<|begin|>" } }, { Sequence: { id: "A" } })
};

test("byte-level BPE becomes llama.cpp's gpt2 model, padded to the vocabulary", async (t) => {
    const { value } = await readKeys(t, { tokenizer: llama3, config: { bos_token_id: 4, eos_token_id: [5, 4] } }, 8);
    t.is(value("model"), "gpt2");
    t.is(value("pre"), "llama-bpe");
    t.deepEqual(value("tokens"), ["a", "b", "ab", "Ġ", "<|begin|>", "[PAD5]", "<tool>", "[PAD7]"]);
    t.deepEqual(value("token_type"), [1, 1, 1, 1, 3, 5, 4, 5]);
    t.deepEqual(value("merges"), ["a b", "ĠĠ a"]);
    t.is(value("bos_token_id"), 4);
    t.is(value("eos_token_id"), 5);
    t.is(value("padding_token_id"), undefined);
    t.is(value("add_bos_token"), true);
    t.is(value("add_eos_token"), false);
});

test("pre-tokenizer is recognised by its expression", async (t) => {
    const gpt2 = { ...byteLevel, use_regex: true };
    const cases: [object, string][] = [
        [split(llama3Words), "llama-bpe"],
        [split(llama3Words.replace("{1,3}", "")), "qwen2"],
        [gpt2, "gpt-2"],
        [{ type: "Sequence", pretokenizers: [{ type: "Digits", individual_digits: true }, gpt2] }, "smollm"]
    ];
    const model = { ...llama3.model, ignore_merges: false };
    for (const [pre_tokenizer, name] of cases) {
        const { value } = await readKeys(
            t,
            { tokenizer: { ...llama3, pre_tokenizer, ...(name !== "llama-bpe" && { model }) } },
            7
        );
        t.is(value("pre"), name);
    }
    t.is((await readKeys(t, { tokenizer: { ...llama3, model } }, 7)).value("pre"), "dbrx");
});

test("unknown pre-tokenizer is refused unless it is named", async (t) => {
    const tokenizer = { ...llama3, pre_tokenizer: split("\\w+") };
    await t.throwsAsync(readKeys(t, { tokenizer }, 7), {
        name: "ArmtError",
        message: /unknown pre-tokenizer "\\\\w\+".*--pre/
    });
    t.is((await readKeys(t, { tokenizer }, 7, "command-r")).value("pre"), "command-r");
    const digits = { type: "Digits", individual_digits: true };
    const pretokenizers = [{ type: "Punctuation", behavior: "Isolated" }, digits, { ...byteLevel, use_regex: false }];
    await t.throwsAsync(
        readKeys(t, { tokenizer: { ...llama3, pre_tokenizer: { type: "Sequence", pretokenizers } } }, 7),
        {
            message: /the pre-tokenizer "Punctuation" \("Isolated"\), "Digits", "ByteLevel" is not supported.*--pre/
        }
    );
    const spaced = { ...llama3, pre_tokenizer: { ...byteLevel, use_regex: true, add_prefix_space: true } };
    await t.throwsAsync(readKeys(t, { tokenizer: spaced }, 7), { message: /adds a space is not supported/ });
});

/** The tokens of all bytes, from an id. */
const bytes = (from: number) =>
    Object.fromEntries(
        Array.from({ length: 256 }, (_, byte) => [
            `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
            from + byte
        ])
    );

const llama2 = {
    model: {
        type: "BPE",
        unk_token: "<unk>",
        byte_fallback: true,
        vocab: { "<unk>": 0, "<s>": 1, "▁ab": 2, ab: 3, "▁": 4, a: 5, b: 6, ...bytes(8) },
        merges: ["a b", "▁ ab", "▁a b"]
    },
    added_tokens: [
        { id: 0, content: "<unk>", special: true },
        { id: 1, content: "<s>", special: true },
        { id: 7, content: "mine", special: false }
    ],
    normalizer: {
        type: "Sequence",
        normalizers: [
            { type: "Prepend", prepend: "▁" },
            { type: "Replace", pattern: { String: " " }, content: "▁" }
        ]
    },
    pre_tokenizer: null,
    post_processor: {
        type: "TemplateProcessing",
        single: [{ SpecialToken: { id: "<s>" } }, { Sequence: { id: "A" } }, { SpecialToken: { id: "<s>" } }]
    }
};

test("SentencePiece-style BPE becomes llama.cpp's llama model, scored by merge order", async (t) => {
    const tokenizerConfig = { bos_token: { content: "<s>" }, eos_token: "<s>", add_eos_token: false };
    const { value } = await readKeys(t, { tokenizer: llama2, tokenizerConfig, config: { bos_token_id: 99 } }, 264);
    t.is(value("model"), "llama");
    t.deepEqual((value("tokens") as string[]).slice(0, 9), [
        "<unk>",
        "<s>",
        "▁ab",
        "ab",
        "▁",
        "a",
        "b",
        "mine",
        "<0x00>"
    ]);
    t.deepEqual((value("token_type") as number[]).slice(0, 9), [2, 3, 1, 1, 1, 1, 1, 4, 6]);
    const scores = value("scores") as number[];
    t.true(scores[3]! > scores[2]! && scores[2]! > scores[5]!);
    t.is(value("add_space_prefix"), true);
    t.is(value("bos_token_id"), 1);
    t.is(value("unknown_token_id"), 0);
    t.is(value("add_bos_token"), true);
    t.is(value("add_eos_token"), false);
});

test("space prefix follows normalizer and Metaspace", async (t) => {
    const replace = { type: "Replace", pattern: { String: " " }, content: "▁" };
    const cases: [object | null, object | null, boolean][] = [
        [replace, null, false],
        [{ type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, replace] }, null, true],
        [null, { type: "Metaspace", replacement: "▁", prepend_scheme: "never" }, false]
    ];
    for (const [normalizer, pre_tokenizer, expected] of cases) {
        const { value } = await readKeys(t, { tokenizer: { ...llama2, normalizer, pre_tokenizer } }, 264);
        t.is(value("add_space_prefix"), expected);
    }
});

test("chat template comes from its own file before the tokenizer's config", async (t) => {
    const list = [
        { name: "tool_use", template: "no" },
        { name: "default", template: "listed" }
    ];
    const read = async (files: Files) =>
        (await readKeys(t, { tokenizer: llama3, ...files }, 7)).value("tokenizer.chat_template");
    t.is(await read({ tokenizerConfig: { chat_template: "text" } }), "text");
    t.is(await read({ tokenizerConfig: { chat_template: list } }), "listed");
    const { value } = await readKeys(t, { tokenizer: llama3, tokenizerConfig: { chat_template: list } }, 7);
    t.is(value("tokenizer.chat_template.tool_use"), "no");
    t.is(await read({ tokenizerConfig: { chat_template: "text" }, template: "file" }), "file");
    t.is(await read({}), undefined);
});

test("folder without tokenizer.json has no tokenizer", async (t) => {
    t.is((await readKeys(t, {}, 7)).keys.size, 0);
});

const refused = test.macro({
    title: (name = "") => `refused: ${name}`,
    async exec(t, tokenizer: unknown, message: RegExp) {
        await t.throwsAsync(readKeys(t, { tokenizer }, 7), { name: "ArmtError", message });
    }
});

const model = (change: object) => ({ ...llama3, model: { ...llama3.model, ...change } });
test(
    "Unigram model",
    refused,
    model({ type: "Unigram" }),
    /"Unigram" is not supported.*--vocab-from or --no-tokenizer/
);
test("more tokens than rows", refused, model({ vocab: { a: 7 } }), /"a" has id 7, the model 7 rows/);
test("negative id", refused, model({ vocab: { a: -1 } }), /"a" has id -1/);
test("one id for two tokens", refused, model({ vocab: { a: 1, b: 1 } }), /"a" and "b" have the same id 1/);
test("merge of three", refused, model({ merges: ["a b c"] }), /`merges` is/);
test("no vocabulary", refused, model({ vocab: null }), /has no `vocab`/);
test(
    "neither bytes nor byte fallback",
    refused,
    { ...llama3, pre_tokenizer: null },
    /neither byte-level nor falls back to bytes/
);
test("broken JSON", refused, '{"model":{"a":1,"a":2}}', /duplicate key/);

test("tokenizer of a GGUF file is copied, and padded", async (t) => {
    const { folder } = await readKeys(t, { tokenizer: llama2 }, 264);
    const base = path.join(folder, "x.gguf");
    const same = await copyTokenizer(base, 264);
    const padded = await copyTokenizer(base, 266);
    const output = path.join(folder, "y.gguf");
    await writeGguf(output, { metadata: padded, tensors: [] });
    const [original, copy] = [await openGguf(base), await openGguf(output)];
    t.deepEqual([...same.keys()], [...original.metadata.keys()]);
    const tokens = await original.readArray("tokenizer.ggml.tokens");
    t.deepEqual(await copy.readArray("tokenizer.ggml.tokens"), [...tokens, "[PAD264]", "[PAD265]"]);
    t.deepEqual((await copy.readArray("tokenizer.ggml.token_type")).slice(263), [6, 5, 5]);
    t.is((await copy.readArray("tokenizer.ggml.scores")).length, 266);
    t.deepEqual(
        copy.metadata.get("tokenizer.ggml.add_space_prefix"),
        original.metadata.get("tokenizer.ggml.add_space_prefix")
    );
    await Promise.all([original.close(), copy.close()]);
    await t.throwsAsync(copyTokenizer(base, 8), { name: "ArmtError", message: /has 264 tokens, the model 8 rows/ });
});

test("GGUF file without tokenizer is refused as its source", async (t) => {
    const file = path.join(temporaryFolder(t), "x.gguf");
    await writeGguf(file, { metadata: new Map(), tensors: [] });
    await t.throwsAsync(copyTokenizer(file, 8), { name: "ArmtError", message: /has no tokenizer/ });
});
