// Files and requests that cannot be, one kind a test: each is a clean error, soon, with little memory. Tests of each
// reader have more cases. Times are measured, so tests run serially.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { linkSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import path from "node:path";
import { gzipSync } from "node:zlib";
import anyTest, { type ExecutionContext, type TestFn } from "ava";
import { ArmtSnapshot, getLlama, type Llama, LlamaLogLevel, type Token } from "../plugin/index.js";
import { encodeSnapshot } from "../plugin/memory/snapshot-file.js";
import { convertCheckpoint } from "../src/convert/convert.js";
import { checkFiniteWeights } from "../src/formats/gguf/finite-weights.js";
import { openGguf } from "../src/formats/gguf/reader.js";
import { openSafetensors } from "../src/formats/safetensors/reader.js";
import { openTorch } from "../src/formats/torch/reader.js";
import { makeTinyCheckpoint } from "../src/tiny/checkpoint.js";
import { writeAtomically } from "../src/util/atomic-file.js";
import { bounded, refuses } from "./helpers/bounded.js";
import { loadTiny, withSequence } from "./helpers/contexts.js";
import { ggufBytes, key, str, tensorEntry, u8, u32, u64 } from "./helpers/gguf-bytes.js";
import { global, pickle, stateDict, tensor } from "./helpers/pickle-bytes.js";
import { post, send, startServer } from "./helpers/server.js";
import { temporaryFolder } from "./helpers/temporary.js";
import { textIds } from "./helpers/tokens.js";
import { until } from "./helpers/until.js";
import { zipArchive } from "./helpers/zip-archive.js";

const test = (anyTest as TestFn).serial;
const llama: Llama = await getLlama({ logLevel: LlamaLogLevel.disabled, maxThreads: 1 });

const STRING = 8;
const ARRAY = 9;
const UINT32 = 4;
const architecture = key("general.architecture", STRING, str("llama"));
const big = 2n ** 63n - 1n;

/** Each file must be refused by `loadModel`: by this package, or by llama.cpp what it can refuse itself. */
async function refusesModels(t: ExecutionContext, files: Readonly<Record<string, Buffer>>): Promise<void> {
    const modelPath = path.join(temporaryFolder(t), "model.gguf");
    for (const [what, bytes] of Object.entries(files)) {
        writeFileSync(modelPath, bytes);
        await refuses(t, what, () => llama.loadModel({ modelPath }), Error);
    }
}

/** The bytes of a small ARMT model file. */
async function armtModel(t: ExecutionContext): Promise<Buffer> {
    const folder = temporaryFolder(t);
    const output = path.join(folder, "model.gguf");
    const options = { layers: 1, hidden: 8, heads: 1, dMem: 4, vocab: 16, tokenizer: false };
    await makeTinyCheckpoint(path.join(folder, "checkpoint"), options);
    await convertCheckpoint({ checkpoint: path.join(folder, "checkpoint"), output, outType: "f32" });
    return readFileSync(output);
}

/** Writes a model file and returns where its first tensor begins. */
async function weightsStart(modelPath: string, bytes: Buffer): Promise<number> {
    writeFileSync(modelPath, bytes);
    const file = await openGguf(modelPath);
    const [first] = file.tensors.values();
    await file.close();
    return first!.offset;
}

/** A copy with other bytes after the first occurrence of `text`. */
function after(bytes: Buffer, text: string, offset: number, ...values: Buffer[]): Buffer {
    const copy = Buffer.from(bytes);
    const at = copy.indexOf(text);
    if (at < 0) throw new Error(`no ${text}`);
    Buffer.concat(values).copy(copy, at + text.length + offset);
    return copy;
}

test("1: a model file that is empty or cut within its header", async (t) => {
    const bytes = await armtModel(t);
    const modelPath = path.join(temporaryFolder(t), "model.gguf");
    const start = await weightsStart(modelPath, bytes);
    await bounded(t, "whole", async () => (await llama.loadModel({ modelPath })).dispose());
    for (let length = 0; length < start; length++) {
        writeFileSync(modelPath, bytes.subarray(0, length));
        await refuses(t, `${length} bytes`, () => llama.loadModel({ modelPath }));
    }
});

test("2: another magic or version", async (t) => {
    const bytes = ggufBytes({ keys: [architecture] });
    const magic = Buffer.from(bytes);
    magic.write("FGUG");
    const swapped = Buffer.from(bytes);
    swapped.writeUInt32BE(3, 4);
    await refusesModels(t, {
        magic,
        swapped,
        "magic 0": Buffer.concat([Buffer.alloc(4), bytes.subarray(4)]),
        "version 0": ggufBytes({ version: 0, keys: [architecture] }),
        "version 1": ggufBytes({ version: 1, keys: [architecture] }),
        "a later version": ggufBytes({ version: 4, keys: [architecture] })
    });
});

test("3: counts of keys and tensors that lie", async (t) => {
    await refusesModels(t, {
        keys: ggufBytes({ keys: [architecture], keyCount: big }),
        tensors: ggufBytes({ keys: [architecture], tensorCount: big }),
        both: ggufBytes({ keyCount: 2n ** 64n - 1n, tensorCount: 2n ** 64n - 1n })
    });
});

test("4: texts that are longer than the file, or not UTF-8", async (t) => {
    const bytes = await armtModel(t);
    await refusesModels(t, {
        "longer than the file": ggufBytes({ keys: [architecture, key("a", STRING, u64(1000))] }),
        "2^64 - 1": ggufBytes({ keys: [architecture, key("a", STRING, u64(2n ** 64n - 1n))] }),
        "a key of 2^64 - 1": ggufBytes({ keys: [u64(2n ** 64n - 1n)] }),
        "the architecture": ggufBytes({ keys: [key("general.architecture", STRING, str(Buffer.from([0xff, 0xfe])))] }),
        "an ARMT model's name": after(bytes, "general.architecture", 12, Buffer.from([0xff, 0xff]))
    });
});

test("5: arrays that lie, nest, or have another element type", async (t) => {
    const tokens = (type: number, count: number | bigint, ...values: Buffer[]) =>
        ggufBytes({
            keys: [architecture, key("tokenizer.ggml.tokens", ARRAY, u32(type), u64(count), ...values)]
        });
    await refusesModels(t, {
        "count × size wraps": tokens(UINT32, 2n ** 62n + 1n),
        "more than the file has": tokens(STRING, 1000, str("a")),
        nested: tokens(ARRAY, 1, u32(UINT32), u64(1), u32(1)),
        "an unknown element type": tokens(99, 1),
        "numbers for texts": tokens(UINT32, 2, u32(1), u32(2))
    });
});

test("6: a key or a tensor twice", async (t) => {
    await refusesModels(t, {
        key: ggufBytes({ keys: [architecture, architecture] }),
        tensor: ggufBytes({ keys: [architecture], tensors: [tensorEntry("a", [4]), tensorEntry("a", [4], 0, 32)] })
    });
});

test("7: an alignment that cannot be", async (t) => {
    const aligned = (...value: Buffer[]) =>
        ggufBytes({ keys: [architecture, Buffer.concat([str("general.alignment"), ...value])] });
    await refusesModels(t, {
        0: aligned(u32(UINT32), u32(0)),
        3: aligned(u32(UINT32), u32(3)),
        "2^31": aligned(u32(UINT32), u32(2 ** 31)),
        "a text": aligned(u32(STRING), str("32")),
        "a byte": aligned(u32(0), u8(32))
    });
});

test("8: dimensions that cannot be", async (t) => {
    const one = (...shape: (number | bigint)[]) =>
        ggufBytes({ keys: [architecture], tensors: [tensorEntry("token_embd.weight", shape)] });
    const many = Buffer.concat([str("a"), u32(2 ** 32 - 1)]);
    await refusesModels(t, {
        five: one(1, 1, 1, 1, 1),
        "2^32 - 1 of them": ggufBytes({ keys: [architecture], tensors: [many] }),
        negative: one(2n ** 64n - 1n),
        "a product that wraps": one(2n ** 32n, 2n ** 32n, 2),
        zero: one(0, 4)
    });
});

test("9: tensors outside the file, over each other, or of an unknown type", async (t) => {
    const tensors = (...entries: Buffer[]) => ggufBytes({ keys: [architecture], tensors: entries });
    await refusesModels(t, {
        "past the end": tensors(tensorEntry("a", [4], 0, 2n ** 40n)),
        "an offset that wraps": tensors(tensorEntry("a", [4], 0, 2n ** 64n - 32n)),
        misaligned: tensors(tensorEntry("a", [4], 0, 7)),
        overlapping: tensors(tensorEntry("a", [8]), tensorEntry("b", [8])),
        "an unknown type": tensors(tensorEntry("a", [4], 999)),
        "an unfinished block": tensors(tensorEntry("a", [4], 8))
    });
});

test("10: ARMT keys and weights that cannot be", async (t) => {
    const bytes = await armtModel(t);
    await refusesModels(t, {
        "segments of 0": after(bytes, "armt.segment_size", 4, u32(0)),
        "segments of 2^32 - 1": after(bytes, "armt.segment_size", 4, u32(2 ** 32 - 1)),
        "more memory tokens than rows": after(bytes, "armt.memory.token_count", 4, u32(2 ** 20)),
        "a layer too many": after(bytes, "armt.block_count", 4, u32(2)),
        "heads of 0": after(bytes, "armt.attention.head_count", 4, u32(0)),
        "key length of 0": after(bytes, "armt.memory.key_length", 4, u32(0))
    });
    const modelPath = path.join(temporaryFolder(t), "model.gguf");
    const start = await weightsStart(modelPath, bytes);
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const bad = Buffer.from(bytes);
        bad.writeFloatLE(value, start);
        writeFileSync(modelPath, bad);
        await refuses(t, `a weight of ${value}`, () => checkFiniteWeights(modelPath));
    }
});

const header = (text: string, data = 0, length: number | bigint = Buffer.byteLength(text)) =>
    Buffer.concat([u64(length), Buffer.from(text), Buffer.alloc(data)]);
const tensorText = (dtype: string, shape: readonly (number | string)[], begin: number, end: number) =>
    `{"dtype":"${dtype}","shape":[${shape.join()}],"data_offsets":[${begin},${end}]}`;

async function refusesSafetensors(t: ExecutionContext, files: Readonly<Record<string, Buffer>>): Promise<void> {
    const file = path.join(temporaryFolder(t), "model.safetensors");
    for (const [what, bytes] of Object.entries(files)) {
        writeFileSync(file, bytes);
        await refuses(t, what, () => openSafetensors(file));
    }
}

test("11: a length of the header that lies", async (t) => {
    await refusesSafetensors(t, {
        0: header("{}", 0, 0),
        "longer than the file": header("{}", 0, 3),
        "2^63": header("{}", 0, 2n ** 63n),
        "2^64 - 1": header("{}", 0, 2n ** 64n - 1n),
        nothing: Buffer.alloc(0)
    });
});

test("12: a header that is no JSON, is nested deeply, or has a name twice", async (t) => {
    const entry = tensorText("U8", [0], 0, 0);
    await refusesSafetensors(t, {
        "no JSON": header("{a}"),
        nested: header(`{"a":${"[".repeat(2_000_000)}`),
        twice: header(`{"a":${entry},"a":${entry}}`),
        "__proto__ as a tensor that is none": header('{"__proto__":1}'),
        "__proto__ in a tensor": header('{"a":{"__proto__":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}}')
    });
    t.is(({} as Record<string, unknown>).dtype, undefined);
});

test("13: offsets that cannot be", async (t) => {
    const two = (a: string, b: string, data: number) => header(`{"a":${a},"b":${b}}`, data);
    await refusesSafetensors(t, {
        "end before begin": header(`{"a":${tensorText("U8", [0], 4, 0)}}`, 4),
        overlap: two(tensorText("U8", [4], 0, 4), tensorText("U8", [4], 2, 6), 6),
        gap: two(tensorText("U8", [4], 0, 4), tensorText("U8", [4], 6, 10), 10),
        "past the end": header(`{"a":${tensorText("U8", [8], 0, 8)}}`, 4),
        "2^53": header(`{"a":${tensorText("U8", [8], 2 ** 53, 2 ** 53 + 8)}}`, 8)
    });
    const file = path.join(temporaryFolder(t), "empty.safetensors");
    writeFileSync(file, two(tensorText("U8", [0], 0, 0), tensorText("U8", [0, 3], 0, 0), 0));
    await (await openSafetensors(file)).close();
});

test("14: shapes and types that do not fit the bytes", async (t) => {
    await refusesSafetensors(t, {
        "another shape": header(`{"a":${tensorText("F32", [2], 0, 4)}}`, 4),
        "a product that wraps": header(`{"a":${tensorText("F32", ["4294967296", "4294967296"], 0, 0)}}`),
        "an unknown type": header(`{"a":${tensorText("F33", [1], 0, 4)}}`, 4),
        "a negative dimension": header(`{"a":${tensorText("F32", [-1, -1], 0, 4)}}`, 4)
    });
});

test("15: an index that leaves its folder or lacks shards, and a pickle that would call", async (t) => {
    const folder = temporaryFolder(t);
    const checkpoint = path.join(folder, "checkpoint");
    await makeTinyCheckpoint(checkpoint, { layers: 1, hidden: 8, heads: 1, dMem: 4, vocab: 16, tokenizer: false });
    rmSync(path.join(checkpoint, "model.safetensors"));
    const output = path.join(folder, "model.gguf");
    for (const shard of ["../../etc/passwd", "/etc/passwd", "missing.safetensors", ""]) {
        const index = JSON.stringify({ weight_map: { a: shard } });
        writeFileSync(path.join(checkpoint, "model.safetensors.index.json"), index);
        await refuses(t, shard, () => convertCheckpoint({ checkpoint, output, outType: "f16" }));
    }
    const file = path.join(folder, "pytorch_model.bin");
    for (const [what, code] of Object.entries({
        "os.system": pickle(global("os", "system")),
        "builtins.eval": pickle(global("builtins", "eval")),
        "a huge storage": stateDict({ a: tensor({ key: "0", shape: [2 ** 30], stride: [1], length: 2 ** 30 }) })
    })) {
        writeFileSync(file, zipArchive([{ name: "m/data.pkl", data: code }]));
        await refuses(t, what, () => openTorch(file));
    }
});

/** A snapshot file of a small model. */
async function snapshotFile(t: ExecutionContext) {
    const { model } = await loadTiny(t, { layers: 1, hidden: 8, heads: 1, dMem: 4, segmentSize: 8, memTokens: 2 });
    const file = path.join(temporaryFolder(t), "memory.armt");
    await withSequence(model, {}, async (sequence) => {
        await sequence.evaluateWithoutGeneratingNewTokens(textIds(21, 96) as Token[]);
        await sequence.armt!.save(file);
    });
    return { model, file, bytes: readFileSync(file) };
}

test("16: a snapshot that is cut, or has another bit", async (t) => {
    const { file, bytes } = await snapshotFile(t);
    for (let at = 0; at < bytes.length; at += at < 600 ? 1 : 97) {
        writeFileSync(file, bytes.subarray(0, at));
        await refuses(t, `${at} bytes`, () => ArmtSnapshot.load(file));
        const flipped = Buffer.from(bytes);
        flipped[at]! ^= 1 << (at % 8);
        writeFileSync(file, flipped);
        await refuses(t, `bit of byte ${at}`, () => ArmtSnapshot.load(file));
    }
});

test("17: a snapshot of another model, context or version", async (t) => {
    const { model, file } = await snapshotFile(t);
    const snapshot = await ArmtSnapshot.load(file);
    const { model: other } = await loadTiny(t, { layers: 1, hidden: 8, heads: 1, dMem: 4, segmentSize: 8, seed: 9 });
    const load = (into: typeof model, options = {}) =>
        withSequence(into, options, async (sequence) => {
            await refuses(t, "load", () => sequence.armt!.load(file));
            t.is(sequence.nextTokenIndex, 0);
        });
    await load(other);
    await load(model, { segmentSize: 4 });
    await load(model, { kvType: "F16" });
    const bytes = readFileSync(file);
    for (const [what, change] of Object.entries({
        "a later version": (copy: Buffer) => copy.writeUInt32LE(99, 8),
        "swapped bytes": (copy: Buffer) => copy.writeUInt32BE(1, 8)
    })) {
        const copy = Buffer.from(bytes);
        change(copy);
        writeFileSync(file, copy);
        await refuses(t, what, () => ArmtSnapshot.load(file));
    }
    snapshot.dispose();
});

test("18: a snapshot whose sizes lie", async (t) => {
    const { model, file } = await snapshotFile(t);
    const { parts } = await ArmtSnapshot.load(file);
    const lie = async (what: string, change: (header: Record<string, unknown>) => void, state = parts.state) => {
        const changed = structuredClone(parts.header) as unknown as Record<string, unknown>;
        change(changed);
        const forged = { ...parts, header: changed as unknown as typeof parts.header, state };
        await refuses(t, what, async () => {
            writeFileSync(file, Buffer.concat(encodeSnapshot(forged)));
            await withSequence(model, {}, (sequence) => sequence.armt!.load(file));
        });
    };
    await lie("tokens", (changed) => {
        changed.tokensRead = 2 ** 40;
    });
    await lie("a short state", () => {}, parts.state.subarray(0, 40));
    const long = Buffer.from(parts.state);
    // the length of the fingerprint
    long.writeUInt32LE(2 ** 32 - 1, 8);
    await lie("a text within the state", () => {}, long);
});

test("19: names that leave the folder, and links", async (t) => {
    const { file } = await snapshotFile(t);
    const folder = temporaryFolder(t);
    const snapshot = await ArmtSnapshot.load(file);
    const inside = path.join(folder, "inside");
    mkdirSync(inside);
    for (const name of ["a\0b", "x".repeat(300), "missing/memory.armt", "."])
        await refuses(t, name, () => snapshot.save(path.join(inside, name)));
    // a link is replaced, and what it points to stays
    const victim = path.join(folder, "victim");
    writeFileSync(victim, "untouched");
    symlinkSync(victim, path.join(inside, "link"));
    linkSync(victim, path.join(inside, "hard"));
    for (const name of ["link", "hard"]) {
        await snapshot.save(path.join(inside, name)).catch(() => {});
        t.is(readFileSync(victim, "utf8"), "untouched", name);
    }
    const { url } = await startServer(t);
    const named = await send(`${url}/v1/armt/memories?name=${encodeURIComponent("../../a\0b")}`, {
        headers: { "content-type": "text/plain" },
        body: "The lamp is in the kitchen. ".repeat(20)
    });
    t.true([201, 400].includes(named.status), named.text);
    t.is((await send(`${url}/v1/armt/memories/..%2f..%2fetc%2fpasswd`, { method: "GET" })).status, 404);
});

test("20: a crash or two writers during a save, and a file that goes while it is read", async (t) => {
    const { file, bytes } = await snapshotFile(t);
    const snapshot = await ArmtSnapshot.load(file);
    await Promise.all(Array.from({ length: 8 }, () => snapshot.save(file)));
    t.true(readFileSync(file).equals(bytes));
    // the process ends between the write and the rename
    const module = new URL("../src/util/atomic-file.js", import.meta.url).href;
    const script = `const {writeAtomically} = await import(${JSON.stringify(module)});
        await writeAtomically(${JSON.stringify(file)}, {}, async (f) => {
            await f.write(Buffer.from("half"));
            process.kill(process.pid, "SIGKILL");
            await new Promise(() => setTimeout(() => {}, 1e6));
        });`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "ignore" });
    await once(child, "exit");
    t.true(readFileSync(file).equals(bytes));
    await writeAtomically(path.join(path.dirname(file), "other"), {}, (target) => target.write(bytes));
    const loading = ArmtSnapshot.load(file);
    rmSync(file);
    await loading.then(
        (loaded) => t.is(loaded.tokensRead, 21),
        (error: Error) => t.is(error.name, "ArmtError")
    );
});

type Json = { error?: { message?: string; param?: string | null } };

/** Sends requests of which each must be refused with one of these statuses and OpenAI's error object. */
async function refusesRequests(
    t: ExecutionContext,
    answers: Readonly<Record<string, () => ReturnType<typeof post>>>,
    statuses: readonly number[] = [400]
): Promise<void> {
    for (const [what, ask] of Object.entries(answers)) {
        const answer = await bounded(t, what, ask);
        t.true(statuses.includes(answer.status), `${what}: ${answer.status} ${answer.text.slice(0, 200)}`);
        t.is(typeof (answer.json() as Json).error?.message, "string", what);
    }
}

const message = { role: "user", content: "hi" };

test("21: bodies that are no JSON object, huge, nested or compressed", async (t) => {
    const { url } = await startServer(t, { maxBodyBytes: 2 ** 20 });
    const chat = `${url}/v1/chat/completions`;
    await refusesRequests(t, {
        nothing: () => post(chat, ""),
        "no JSON": () => post(chat, "{"),
        "a list": () => post(chat, "[]"),
        null: () => post(chat, "null"),
        nested: () => post(chat, `{"messages":${"[".repeat(500_000)}`)
    });
    await refusesRequests(t, { huge: () => post(chat, { messages: [message], x: "x".repeat(2 ** 21) }) }, [413]);
    const bomb = gzipSync(Buffer.alloc(2 ** 24, " "));
    const headers = { "content-type": "application/json", "content-encoding": "gzip" };
    await refusesRequests(t, { compressed: () => send(chat, { headers, body: bomb }) }, [415]);
    await refusesRequests(
        t,
        { text: () => send(chat, { headers: { "content-type": "text/plain" }, body: "{}" }) },
        [415]
    );
});

test("22: numbers that cannot be", async (t) => {
    const { url } = await startServer(t);
    const chat = `${url}/v1/chat/completions`;
    for (const name of ["temperature", "top_p", "seed", "max_tokens", "n", "presence_penalty"])
        await refusesRequests(
            t,
            Object.fromEntries(
                ["1e999", "-1e999", "-7", "9007199254740993", '"1"', "[]"].map((value) => [
                    `${name}: ${value}`,
                    () => post(chat, `{"messages":[{"role":"user","content":"x"}],"${name}":${value}}`)
                ])
            )
        );
});

test("23: token ids outside the vocabulary", async (t) => {
    const { url } = await startServer(t);
    const completions = `${url}/v1/completions`;
    await refusesRequests(t, {
        "-1": () => post(completions, { prompt: [-1] }),
        "the vocabulary's size": () => post(completions, { prompt: [288] }),
        "a bias": () => post(completions, { prompt: "a", logit_bias: { 999999: 1 } }),
        "a stop": () => post(completions, { prompt: "a", stop: [5] })
    });
});

test("24: texts and schemas of unlimited cost", async (t) => {
    const { url } = await startServer(t);
    const chat = `${url}/v1/chat/completions`;
    const schema = (value: object) => ({
        messages: [message],
        response_format: { type: "json_schema", json_schema: { name: "a", schema: value } }
    });
    await refusesRequests(t, {
        "half a character": () => post(chat, '{"messages":[{"role":"user","content":"\\ud800"}]}'),
        "many stops": () => post(chat, { messages: [message], stop: Array(50_000).fill("x".repeat(200)) }),
        "a reference to a missing schema": () => post(chat, schema({ $ref: "#/$defs/none" })),
        "bounds that exclude all": () => post(chat, schema({ type: "array", minItems: 3, maxItems: 2 })),
        "a huge bound": () => post(chat, schema({ type: "string", minLength: 2 ** 31 })),
        "a catastrophic pattern": () => post(chat, schema({ type: "string", pattern: "^((a{1,999}){1,999}){1,999}$" }))
    });
});

test("25: clients that leave, are slow, come in numbers, or pretend", async (t) => {
    const running = await startServer(t, { apiKeys: ["secret"] });
    const { url, server } = running;
    const impatient = await startServer(t, { apiKeys: ["secret"], bodyTimeoutMs: 1500, headersTimeoutMs: 1500 });
    const { port, host } = new URL(impatient.url);
    const ask = (headers: Record<string, string>) =>
        post(`${url}/v1/completions`, { prompt: "a", max_tokens: 1 }, headers);
    await refusesRequests(
        t,
        { "no key": () => ask({}), "a wrong key": () => ask({ authorization: "Bearer x" }) },
        [401]
    );
    const key = { authorization: "Bearer secret" };
    await refusesRequests(
        t,
        {
            host: () => ask({ ...key, host: "evil.example" }),
            origin: () => ask({ ...key, origin: "https://evil.example" })
        },
        [403]
    );
    const closed: Promise<unknown>[] = [];
    for (const text of [
        "",
        "POST /v1/completions HTTP/1.1\r\n",
        [
            "POST /v1/completions HTTP/1.1",
            `Host: ${host}`,
            "Authorization: Bearer secret",
            "Content-Type: application/json",
            "Content-Length: 100",
            "",
            "{"
        ].join("\r\n")
    ]) {
        const socket = connect(Number(port), "127.0.0.1");
        socket.on("error", () => {});
        socket.resume();
        socket.write(text);
        closed.push(once(socket, "close"));
    }
    const many = await Promise.all(Array.from({ length: 1000 }, () => ask(key).then(({ status }) => status)));
    t.true(
        many.every((status) => status === 200 || status === 429),
        String(new Set(many))
    );
    t.true(many.includes(200));
    await Promise.all(closed);
    const gone = AbortSignal.timeout(50);
    const leaving = fetch(`${url}/v1/completions`, {
        method: "POST",
        headers: { ...key, "content-type": "application/json" },
        body: JSON.stringify({ prompt: "a", max_tokens: 10_000, stream: true }),
        signal: gone
    }).then((answer) => answer.text());
    const left = await leaving.then(
        () => false,
        () => true
    );
    t.true(left);
    await until(() => server.engine.pool.busy === 0, "no sequence is held");
    t.is((await ask(key)).status, 200);
});
