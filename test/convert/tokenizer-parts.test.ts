import { mkdirSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { readTokenizer } from "../../src/convert/tokenizer/tokenizer.js";
import { readJsonFile } from "../../src/formats/text/read-json-file.js";
import { temporaryFolder } from "../helpers/temporary.js";

const added = (content: string, id: number, more: object = {}) => ({ content, id, special: true, ...more });
const gpt2 = {
    model: { type: "BPE", vocab: { a: 0, b: 1 }, merges: [] },
    added_tokens: [added("<e>", 2), added("<f>", 3), added("<g>", 4), added("<h>", 5), added("<i>", 6)],
    pre_tokenizer: { type: "ByteLevel", use_regex: true }
};
const replace = { type: "Replace", pattern: { String: " " }, content: "▁" };
const bytes = Array.from({ length: 256 }, (_, byte) => [
    `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
    byte
]);
const llama2 = {
    model: { type: "BPE", byte_fallback: true, vocab: { ...Object.fromEntries(bytes), "▁": 256 }, merges: [] },
    normalizer: replace,
    pre_tokenizer: null
};

const isWritable = (content: unknown) => typeof content === "string" || Buffer.isBuffer(content);

type Files = Record<string, unknown>;

/** The keys that a folder with these files gets. Files are JSON, or text or bytes as they are. */
async function keysOf(t: ExecutionContext, files: Files, name?: string): Promise<ReadonlyMap<string, unknown>> {
    const folder = temporaryFolder(t);
    for (const [file, content] of Object.entries({ "config.json": {}, ...files }))
        writeFileSync(path.join(folder, file), isWritable(content) ? content : JSON.stringify(content));
    const config = (await readJsonFile(path.join(folder, "config.json")))!;
    const keys = (await readTokenizer(folder, config, 300, { name }))!;
    return new Map(
        [...keys].map(([key, value]) => [
            key.replace("tokenizer.ggml.", ""),
            "value" in value ? value.value : value.bytes
        ])
    );
}

const refused = test.macro({
    title: (name = "") => `refused by name: ${name}`,
    async exec(t, tokenizer: object, message: RegExp) {
        await t.throwsAsync(keysOf(t, { "tokenizer.json": tokenizer }), { name: "ArmtError", message });
    }
});

for (const type of ["Lowercase", "NFD", "NFKC", "StripAccents", "Strip"]) {
    test(
        `${type} of a byte-level tokenizer`,
        refused,
        { ...gpt2, normalizer: { type } },
        new RegExp(`normalizer "${type}"`)
    );
    const normalizers = [{ type }, replace];
    test(
        `${type} of a SentencePiece tokenizer`,
        refused,
        { ...llama2, normalizer: { type: "Sequence", normalizers } },
        new RegExp(`normalizer "${type}"`)
    );
}
test(
    "replacement",
    refused,
    { ...gpt2, normalizer: { type: "Replace", pattern: { String: "x" }, content: "y" } },
    /"Replace" of "x"/
);
for (const flag of ["lstrip", "rstrip", "single_word"])
    test(
        flag,
        refused,
        { ...gpt2, added_tokens: [added("<m>", 2, { [flag]: true })] },
        new RegExp(`\`${flag}\`.*"<m>"`)
    );
for (const text of ["é", "e\u0301"])
    test(
        `added token ${JSON.stringify(text)} with NFC`,
        refused,
        { ...gpt2, normalizer: { type: "NFC" }, added_tokens: [added(text, 2)] },
        /added token ".+" with the normalizer "NFC"/
    );
test("digits", refused, { ...llama2, pre_tokenizer: { type: "Digits", individual_digits: true } }, /"Digits"/);
for (const [scheme, more] of [
    ["first", { prepend_scheme: "first" }],
    ["always", { prepend_scheme: "always" }],
    ["always", { add_prefix_space: true }],
    ["always", { add_prefix_space: false }],
    ["always", {}]
] as const)
    test(
        `a space before a text: ${JSON.stringify(more)}`,
        refused,
        { ...llama2, normalizer: null, pre_tokenizer: { type: "Metaspace", replacement: "▁", ...more } },
        new RegExp(`\`prepend_scheme\` "${scheme}"`)
    );
test("spaces that stay spaces", refused, { ...llama2, normalizer: null }, /spaces stay spaces/);
test("a missing byte", refused, { ...llama2, model: { ...llama2.model, vocab: { "▁": 0 } } }, /without "<0x00>"/);
test("dropout", refused, { ...gpt2, model: { ...gpt2.model, dropout: 0.1 } }, /`dropout`/);
test("end of word", refused, { ...gpt2, model: { ...gpt2.model, end_of_word_suffix: "</w>" } }, /end_of_word_suffix/);
test(
    "added spaces that no merge makes",
    refused,
    { ...llama2, added_tokens: [added("▁▁", 257, { special: false })] },
    /"▁▁", which no merge makes/
);

const processor = (...single: string[]) => ({
    type: "TemplateProcessing",
    single: single.map((id) => (id === "A" ? { Sequence: { id } } : { SpecialToken: { id } })),
    special_tokens: Object.fromEntries(gpt2.added_tokens.map(({ content: id, id: n }) => [id, { id, ids: [n] }]))
});
const withEnds = (post_processor: object) => ({
    "tokenizer.json": { ...gpt2, post_processor },
    "tokenizer_config.json": { bos_token: "<e>", eos_token: "<f>" }
});
for (const [name, ...single] of [
    ["bos_token", "<e>", "<g>", "A"],
    ["bos_token", "<f>", "A"],
    ["eos_token", "<e>", "A", "<g>"]
] as const)
    test(`refused by name: a post-processor with ${single.join(" ")}`, async (t) => {
        const message = new RegExp(`post-processor that adds the tokens .* \\\`${name}\\\``);
        await t.throwsAsync(keysOf(t, withEnds(processor(...single))), { name: "ArmtError", message });
    });

test("the tokens that a post-processor adds are those of its kind", async (t) => {
    const adds = async (post_processor: object) => {
        const keys = await keysOf(t, withEnds(post_processor));
        return [keys.get("add_bos_token"), keys.get("add_eos_token")];
    };
    t.deepEqual(await adds(processor("<e>", "A")), [true, false]);
    t.deepEqual(await adds(processor("<e>", "A", "<f>")), [true, true]);
    t.deepEqual(await adds({ type: "ByteLevel" }), [false, false]);
    t.deepEqual(await adds({ type: "Sequence", processors: [{ type: "ByteLevel" }, processor("A", "<f>")] }), [
        false,
        true
    ]);
    t.deepEqual(await adds({ type: "RobertaProcessing", cls: ["<e>", 2], sep: ["<f>", 3] }), [true, true]);
});

for (const [texts, normalized] of [[["a<", "<b>"]], [["ab", "bc"]], [["abc", "bc"], "abc"]] as [string[], string?][])
    test(`refused by name: the added tokens ${texts.join(" and ")}`, async (t) => {
        const tokens = texts.map((text, i) => added(text, 10 + i, { normalized: text === normalized }));
        await t.throwsAsync(keysOf(t, { "tokenizer.json": { ...gpt2, added_tokens: tokens } }), {
            name: "ArmtError",
            message: new RegExp(`overlap of the added tokens "${texts[0]}" and "${texts[1]}"`)
        });
    });

test("added tokens that contain others, and runs of one character, are found alike", async (t) => {
    const texts = ["<a>", "<a><b>", "<b>", "\n", "\n\n", "\n\n\n\n\n", "abc", "b"];
    const tokens = texts.map((text, i) => added(text, 10 + i));
    await t.notThrowsAsync(keysOf(t, { "tokenizer.json": { ...gpt2, added_tokens: tokens } }));
});

test("NFC is left to the plugin", async (t) => {
    const keys = await keysOf(t, { "tokenizer.json": { ...gpt2, normalizer: { type: "NFC" } } });
    t.is(keys.get("tokenizer.armt.normalizer"), "NFC");
    t.false((await keysOf(t, { "tokenizer.json": gpt2 })).has("tokenizer.armt.normalizer"));
});

test("rstrip as Phi-3 has it is marked in the model's name", async (t) => {
    const plain = ["<unk>", "<s>", "<|endoftext|>"].map((content, i) => added(content, 2 + i));
    const stripped = ["</s>", "<|user|>"].map((content, i) => added(content, 5 + i, { rstrip: true }));
    const files = { "tokenizer.json": { ...gpt2, added_tokens: [...plain, ...stripped] } };
    t.is((await keysOf(t, files, "Notes")).get("general.name"), "Notes (phi-3)");
    t.false((await keysOf(t, { "tokenizer.json": gpt2 }, "Notes")).has("general.name"));
});

test("all tokens that end an answer get keys", async (t) => {
    const ends = async (ids: unknown, tokenizerConfig: object) => {
        const keys = await keysOf(t, {
            "tokenizer.json": gpt2,
            "generation_config.json": { eos_token_id: ids },
            "tokenizer_config.json": tokenizerConfig
        });
        return ["eos", "eot", "eom", "fim_pad", "fim_rep"].map((name) => keys.get(`${name}_token_id`));
    };
    t.deepEqual(await ends([2, 3], {}), [2, 3, undefined, undefined, undefined]);
    t.deepEqual(await ends([3, 2], { eos_token: "<e>" }), [2, 3, undefined, undefined, undefined]);
    t.deepEqual(await ends([2, 3, 4, 5, 6], {}), [2, 3, 4, 5, 6]);
    t.deepEqual(await ends(2, { eot_token: "<g>" }), [2, 4, undefined, undefined, undefined]);
    t.deepEqual(await ends(-1, {}), [undefined, undefined, undefined, undefined, undefined]);
    await t.throwsAsync(ends([2, 300], {}), { message: /`eos_token_id` has 300, and the model has 300 tokens/ });
    await t.throwsAsync(ends([0, 1, 2, 3, 4, 5, 6], {}), { message: /more tokens that end an answer/ });
    await t.throwsAsync(ends(["x"], {}), { message: /`eos_token_id` is "x"/ });
});

test("special tokens come from special_tokens_map.json, unless the tokenizer's config has its added tokens", async (t) => {
    const ids = async (files: Files) => {
        const keys = await keysOf(t, { "tokenizer.json": gpt2, ...files });
        return ["bos", "eos", "unknown", "padding", "eot"].map((name) => keys.get(`${name}_token_id`));
    };
    const map = { bos_token: "<e>", eos_token: { content: "<f>", lstrip: false }, unk_token: "<g>", pad_token: "<h>" };
    t.deepEqual(await ids({ "special_tokens_map.json": map }), [2, 3, 4, 5, undefined]);
    t.deepEqual(await ids({ "special_tokens_map.json": { ...map, eot_token: "<i>" } }), [2, 3, 4, 5, 6]);
    // what transformers 5.24 prints as ids for the same files
    const config = { bos_token: "<i>", pad_token: "<i>", eos_token: "<e>" };
    const one = { "tokenizer_config.json": config, "special_tokens_map.json": { bos_token: "<f>", pad_token: null } };
    t.deepEqual(await ids(one), [3, 2, undefined, undefined, undefined]);
    const decoder = { "2": { content: "<e>", special: true } };
    t.deepEqual(await ids({ ...one, "tokenizer_config.json": { ...config, added_tokens_decoder: decoder } }), [
        6,
        2,
        undefined,
        6,
        undefined
    ]);
    const numbers = { "config.json": { bos_token_id: 4, eos_token_id: 4, pad_token_id: 4 } };
    t.deepEqual(await ids({ ...numbers, "special_tokens_map.json": map }), [2, 3, 4, 5, 4]);
    t.deepEqual(await ids({ ...numbers, "special_tokens_map.json": {} }), [4, 4, undefined, 4, undefined]);
});

test("wrong content of the files that name special tokens is refused, with the file and the key", async (t) => {
    const value = (token: unknown) => ({ eos_token: token });
    for (const name of ["special_tokens_map.json", "tokenizer_config.json"]) {
        for (const [token, got] of [
            [5, "5"],
            [["<e>"], "a list"],
            [{ text: "<e>" }, "an object"],
            [true, "true"]
        ] as const)
            await t.throwsAsync(keysOf(t, { "tokenizer.json": gpt2, [name]: value(token) }), {
                name: "ArmtError",
                message: new RegExp(`${name}": \`eos_token\` is ${got}, expected the text of a token`)
            });
        for (const [text, message] of [
            ['["<e>"]', "not a JSON object"],
            ['{"eos_token": "<e>"', "expected"],
            ["", "is empty"]
        ] as const)
            await t.throwsAsync(keysOf(t, { "tokenizer.json": gpt2, [name]: text }), {
                name: "ArmtError",
                message: new RegExp(`${name}".*${message}`)
            });
    }
});

test("a token that transformers would add to tokenizer.json is refused by name", async (t) => {
    const token = (content: string) => ({ content, special: true });
    const read = (files: Files) => keysOf(t, { "tokenizer.json": gpt2, ...files });
    await t.notThrowsAsync(read({ "added_tokens.json": { "<e>": 2, "<f>": 3 } }));
    await t.throwsAsync(read({ "added_tokens.json": { "<e>": 2, "<new>": 9 } }), {
        name: "ArmtError",
        message: /added_tokens.json": names the token "<new>", which is not in `added_tokens` of tokenizer.json/
    });
    const config = (added_tokens_decoder: unknown) => ({ "tokenizer_config.json": { added_tokens_decoder } });
    // transformers does not read the older file along with the newer key
    await t.notThrowsAsync(read({ ...config({ "2": token("<e>") }), "added_tokens.json": { "<new>": 9 } }));
    await t.throwsAsync(read(config({ "2": token("<e>"), "9": token("<new>") })), {
        message: /tokenizer_config.json": `added_tokens_decoder` has the token "<new>"/
    });
    await t.throwsAsync(read(config({ "2": 5 })), { message: /tokenizer_config.json": `2` is 5, expected the text/ });
});

test("special tokens that only the configs name are special tokens, and refused where the vocabulary lacks them", async (t) => {
    const read = (files: Files) => keysOf(t, { "tokenizer.json": gpt2, ...files });
    // of "a" and "b"; each is an INT32 in little-endian order
    const types = async (files: Files) => {
        const bytes = (await read(files)).get("token_type") as Uint8Array;
        return [bytes[0], bytes[4]];
    };
    const [normal, control] = [1, 3];
    t.deepEqual(await types({}), [normal, normal]);
    t.deepEqual(await types({ "tokenizer_config.json": { eos_token: "b" } }), [normal, control]);
    for (const name of ["tokenizer_config.json", "special_tokens_map.json"]) {
        for (const wrong of ["a", ["a", 5], {}])
            await t.throwsAsync(read({ [name]: { additional_special_tokens: wrong } }), {
                name: "ArmtError",
                message: new RegExp(`${name}": \`additional_special_tokens\` is .*, expected a list of tokens`)
            });
        const more = { additional_special_tokens: ["a", { content: "<e>" }] };
        t.deepEqual(await types({ [name]: { ...more, sep_token: "b" } }), [control, control]);
        for (const [key, value] of Object.entries({ cls_token: "<new>", additional_special_tokens: ["a", "<new>"] }))
            await t.throwsAsync(read({ [name]: { [key]: value } }), {
                name: "ArmtError",
                message: new RegExp(`${name}": \`${key}\` names the token "<new>", which tokenizer.json lacks`)
            });
    }
});

test("chat templates come from a processor's file too, with Python's line ends", async (t) => {
    const template = async (files: Files) =>
        (await keysOf(t, { "tokenizer.json": gpt2, ...files })).get("tokenizer.chat_template");
    const json = { "chat_template.json": { chat_template: "of the processor" } };
    t.is(await template(json), "of the processor");
    t.is(await template({ ...json, "tokenizer_config.json": { chat_template: "own" } }), "own");
    t.is(await template({ ...json, "chat_template.jinja": "\ufeffa\r\nb" }), "a\nb");
});

test("byte order marks and numbers that are not finite are read", async (t) => {
    const config = '\ufeff{\r\n"x": [NaN, Infinity, -Infinity],\r\n"bos_token_id": 3}';
    t.is((await keysOf(t, { "tokenizer.json": gpt2, "config.json": config })).get("bos_token_id"), 3);
    const folder = temporaryFolder(t);
    writeFileSync(path.join(folder, "x.json"), '{"n": NaN}');
    const json = (await readJsonFile(path.join(folder, "x.json")))!;
    t.throws(() => json.number("n"), { name: "ArmtError", message: /`n` is NaN, expected a number/ });
});

test("text files of a checkpoint may be UTF-16 with a byte order mark, and are refused if they are not text", async (t) => {
    const template = "{{ 'é😀' }}\n";
    const files = { "config.json": { bos_token_id: 3 }, "tokenizer.json": gpt2, "chat_template.jinja": template };
    const textOf = (file: unknown) => (typeof file === "string" ? file : JSON.stringify(file));
    for (const name of Object.keys(files) as (keyof typeof files)[]) {
        const text = textOf(files[name]);
        const little = Buffer.from(`\ufeff${text}`, "utf16le");
        for (const bytes of [little, Buffer.from(little).swap16()]) {
            const keys = await keysOf(t, { ...files, [name]: bytes });
            t.is(keys.get("bos_token_id"), 3);
            t.is(keys.get("tokenizer.chat_template"), template);
        }
        const withoutMark = little.subarray(2);
        const cut = Buffer.concat([Buffer.from(`${text}é`), Buffer.of(0xc3)]);
        for (const [bytes, message] of [
            [withoutMark, /NUL byte.* `iconv -f UTF-16LE/],
            [cut, /ends within a character of UTF-8/]
        ] as const)
            await t.throwsAsync(keysOf(t, { ...files, [name]: bytes }), { name: "NotTextError", message });
    }
    await t.throwsAsync(keysOf(t, { ...files, "config.json": "\n" }), { message: /config.json" is empty/ });
});

test("a chat template that cannot be read is never left out", async (t) => {
    const folder = temporaryFolder(t);
    for (const [file, json] of Object.entries({ "config.json": {}, "tokenizer.json": gpt2 }))
        writeFileSync(path.join(folder, file), JSON.stringify(json));
    const template = path.join(folder, "chat_template.jinja");
    const config = (await readJsonFile(path.join(folder, "config.json")))!;
    symlinkSync("blob-that-is-missing", template);
    await t.throwsAsync(readTokenizer(folder, config, 300), { message: /symbolic link to a file that does not exist/ });
    unlinkSync(template);
    mkdirSync(template);
    await t.throwsAsync(readTokenizer(folder, config, 300), { message: /not a regular file/ });
});

test("stop strings of the generation config get a key", async (t) => {
    const stops = async (stop_strings: unknown) =>
        (await keysOf(t, { "tokenizer.json": gpt2, "generation_config.json": { stop_strings } })).has(
            "tokenizer.armt.stop_strings"
        );
    t.true(await stops(["a", "\nHuman:"]));
    t.true(await stops("a"));
    for (const none of [null, []]) t.false(await stops(none));
    for (const wrong of [3, [""], ["a", 1], "x".repeat(257)])
        await t.throwsAsync(stops(wrong), {
            message: /generation_config.json": `stop_strings` is .*, expected a text/
        });
});
