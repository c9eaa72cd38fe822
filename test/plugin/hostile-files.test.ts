import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { ArmtModelError, getLlama, LlamaLogLevel } from "../../plugin/index.js";
import { readModelInfo } from "../../plugin/model/model-file.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { openGguf } from "../../src/formats/gguf/reader.js";
import { type GgmlType, ggmlType, tensorByteLength } from "../../src/formats/gguf/types.js";
import { type GgufWriteValue, numberArray, stringArray, writeGguf } from "../../src/formats/gguf/writer.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import { stopwatch } from "../../src/util/stopwatch.js";
import { ggufBytes, key, str, u32, u64 } from "../helpers/gguf-bytes.js";
import { paced } from "../helpers/pace.js";
import { writePlainModel } from "../helpers/plain-model.js";
import { temporaryFolder } from "../helpers/temporary.js";

const llama = await getLlama({ logLevel: LlamaLogLevel.disabled, maxThreads: 1 });
/** Computing time within which a file is refused. Unit: milliseconds. */
const maxTime = 1000;

function isSoon(t: ExecutionContext, milliseconds: number, what = "a file"): void {
    t.true(milliseconds < maxTime || milliseconds < paced(maxTime), `${what}: ${milliseconds} ms`);
}

interface Model {
    keys: Map<string, GgufWriteValue>;
    tokens: string[];
    types: Map<string, GgmlType>;
}

/** Writes a model file again, with what `change` changes. */
async function rewrite(from: string, to: string, change: (model: Model) => void): Promise<void> {
    const gguf = await openGguf(from);
    const keys = new Map<string, GgufWriteValue>();
    for (const [name, value] of gguf.metadata)
        keys.set(name, value.type === "ARRAY" ? { ...value, bytes: await gguf.readArrayBytes(name) } : value);
    const tokens = (await gguf.readArray("tokenizer.ggml.tokens")) as string[];
    const types = new Map<string, GgmlType>();
    change({ keys, tokens, types });
    keys.set("tokenizer.ggml.tokens", stringArray(tokens));
    const tensors = await Promise.all(
        [...gguf.tensors].map(async ([name, { type, shape }]) => {
            const bytes = await gguf.readTensor(name);
            const other = types.get(name) ?? type.name;
            async function* data() {
                yield other === type.name ? bytes : new Uint8Array(tensorByteLength(ggmlType(other), shape));
            }
            return { name, type: other, shape, data };
        })
    );
    await writeGguf(to, { metadata: keys, tensors });
    await gguf.close();
}

async function makePlain(t: ExecutionContext, change: (model: Model) => void): Promise<string> {
    const folder = temporaryFolder(t);
    const original = path.join(folder, "original.gguf");
    await writePlainModel(original);
    const changed = path.join(folder, "changed.gguf");
    await rewrite(original, changed, change);
    return changed;
}

const set =
    (name: string, value: number | string) =>
    ({ keys }: Model) => {
        keys.set(name, typeof value === "string" ? { type: "STRING", value } : { type: "UINT32", value });
    };
const hostile: [what: string, change: (model: Model) => void, message: RegExp][] = [
    ["too many layers", set("llama.block_count", 513), /`llama\.block_count` is 513, expected 1 to 512/],
    ["no layers", set("llama.block_count", 0), /`llama\.block_count` is 0, expected 1 to/],
    ["too many experts", set("llama.expert_count", 100_000), /`llama\.expert_count` is 100000, expected 0 to 1024/],
    [
        "experts that are not there",
        set("llama.expert_used_count", 2),
        /`llama\.expert_used_count` is 2, expected 0 to 0/
    ],
    [
        "groups of experts",
        (model) => {
            set("llama.expert_count", 8)(model);
            set("llama.expert_used_count", 2)(model);
            set("llama.expert_group_count", 8)(model);
        },
        /`llama\.expert_group_count` is 8, expected 0 to 7/
    ],
    [
        "layers for prediction",
        set("llama.nextn_predict_layers", 2),
        /`llama\.nextn_predict_layers` is 2, expected 0 to 1/
    ],
    ["RoPE scaling", set("llama.rope.scaling.type", "x"), /`llama\.rope\.scaling\.type` is "x", expected none, linear/],
    [
        "a token twice",
        ({ tokens }) => {
            tokens[7] = tokens[9]!;
        },
        /tokens 7 and 9 of `tokenizer\.ggml\.tokens` are both "<0x06>"/
    ],
    [
        "a token twice, up to a NUL",
        ({ tokens }) => {
            tokens[7] = `${tokens[9]!}\0b`;
        },
        /tokens 7 and 9 of `tokenizer\.ggml\.tokens` are both "<0x06>"/
    ],
    [
        "a type of intermediate results",
        ({ types }) => types.set("token_embd.weight", "Q8_1"),
        /is Q8_1, which is no type/
    ],
    [
        "the alignment's type",
        ({ keys }) => keys.set("general.alignment", { type: "STRING", value: "32" }),
        /`general\.alignment` is not a UINT32/
    ]
];

for (const [what, change, message] of hostile)
    test(`a plain model that would end the process is refused: ${what}`, async (t) => {
        const modelPath = await makePlain(t, change);
        const spent = stopwatch();
        const error = await t.throwsAsync(llama.loadModel({ modelPath }), { instanceOf: ArmtModelError, message });
        t.true(error.message.includes(modelPath));
        isSoon(t, spent());
    });

test("what llama.cpp accepts of plain models still loads", async (t) => {
    const modelPath = await makePlain(t, ({ tokens }) => {
        tokens[3] = "";
    });
    await using model = await llama.loadModel({ modelPath });
    t.is(model.armt, undefined);
    // a name that is not UTF-8, at the end of the keys
    const named = path.join(temporaryFolder(t), "named.gguf");
    await rewrite(modelPath, named, ({ keys }) => keys.set("general.name", { type: "STRING", value: "abcdefgh" }));
    patch(named, "abcdefgh", Buffer.from([0xff, 0xfe, 0xc0, 0x80, 0xff, 0xff, 0xff, 0xff]));
    t.is(await readModelInfo(named), undefined);
    await using other = await llama.loadModel({ modelPath: named });
    t.is(other.armt, undefined);
});

function patch(file: string, text: string, bytes: Buffer): void {
    const content = readFileSync(file);
    bytes.copy(content, content.indexOf(text));
    writeFileSync(file, content);
}

async function makeArmt(t: ExecutionContext, change: (model: Model) => void): Promise<string> {
    const folder = temporaryFolder(t);
    const original = path.join(folder, "original.gguf");
    await makeTinyCheckpoint(path.join(folder, "checkpoint"), { layers: 2 });
    await convertCheckpoint({ checkpoint: path.join(folder, "checkpoint"), output: original });
    const changed = path.join(folder, "changed.gguf");
    await rewrite(original, changed, change);
    return changed;
}

test("an ARMT model is refused by every rule, also if its name is not UTF-8", async (t) => {
    const whole = await makeArmt(t, () => {});
    t.is((await readModelInfo(whole))?.layers, 2);
    const twice = await makeArmt(t, ({ tokens }) => {
        tokens[40] = tokens[41]!;
    });
    await t.throwsAsync(readModelInfo(twice), {
        instanceOf: ArmtModelError,
        message: /bad ARMT model .* tokens 40 and 41/
    });
    const unnamed = await makeArmt(t, ({ keys }) => {
        keys.set("general.name", { type: "STRING", value: "abcdefgh" });
        keys.set("armt.segment_size", { type: "UINT32", value: 0 });
    });
    patch(unnamed, "abcdefgh", Buffer.alloc(8, 0xff));
    await t.throwsAsync(llama.loadModel({ modelPath: unnamed }), { instanceOf: ArmtModelError, message: /not UTF-8/ });
    const bytes = await makeArmt(t, ({ keys, tokens }) => {
        keys.set("tokenizer.ggml.model", { type: "STRING", value: "llama" });
        keys.set(
            "tokenizer.ggml.scores",
            numberArray(
                "FLOAT32",
                tokens.map(() => 0)
            )
        );
    });
    await t.throwsAsync(readModelInfo(bytes), { message: /no token for byte \d+ \("<0x[0-9A-F]{2}>"\)/ });
});

test("counts that lie are refused at once", async (t) => {
    const architecture = key("general.architecture", 8, str("llama"));
    const many = 2n ** 40n;
    const files: [string, Buffer][] = [
        ["keys", ggufBytes({ keys: [architecture], keyCount: many })],
        ["tensors", ggufBytes({ keys: [architecture], tensorCount: many })],
        ["an array", ggufBytes({ keys: [architecture, key("a", 9, u32(4), u64(many))] })],
        ["an array of texts", ggufBytes({ keys: [architecture, key("a", 9, u32(8), u64(many))] })],
        ["nested arrays", ggufBytes({ keys: [architecture, key("a", 9, u32(9), u64(2))] })],
        ["a text", ggufBytes({ keys: [architecture, key("a", 8, u64(many))] })],
        ["nothing", Buffer.alloc(0)]
    ];
    for (const [what, content] of files) {
        const modelPath = path.join(temporaryFolder(t), "x.gguf");
        writeFileSync(modelPath, content);
        const spent = stopwatch();
        await t.throwsAsync(llama.loadModel({ modelPath }), { instanceOf: ArmtModelError }, what);
        isSoon(t, spent(), what);
    }
});

test("pipes, devices and folders are refused at once", async (t) => {
    if (process.platform === "win32") return t.pass();
    const fifo = path.join(temporaryFolder(t), "fifo");
    execFileSync("mkfifo", [fifo]);
    for (const modelPath of [fifo, "/dev/zero", path.dirname(fifo)]) {
        const spent = stopwatch();
        await t.throwsAsync(llama.loadModel({ modelPath }), {
            instanceOf: ArmtModelError,
            message: /not a regular file/
        });
        isSoon(t, spent(), modelPath);
    }
});
