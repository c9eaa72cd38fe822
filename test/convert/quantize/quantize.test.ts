import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { convertCheckpoint } from "../../../src/convert/convert.js";
import { decodeFloats } from "../../../src/convert/float-decode.js";
import { encodeFloats } from "../../../src/convert/float-encode.js";
import { mixtures } from "../../../src/convert/quantize/mixtures.js";
import { quantizeModel } from "../../../src/convert/quantize/quantize.js";
import { validateArmtModel } from "../../../src/formats/gguf/armt-model.js";
import { verifyFingerprint } from "../../../src/formats/gguf/fingerprint.js";
import { openGguf } from "../../../src/formats/gguf/reader.js";
import { makeTinyCheckpoint } from "../../../src/tiny/checkpoint.js";
import { runArmt } from "../../helpers/armt-command.js";
import { temporaryFolder } from "../../helpers/temporary.js";

async function makeModel(t: ExecutionContext): Promise<{ at: (name: string) => string; input: string }> {
    const folder = temporaryFolder(t);
    const at = (name: string) => path.join(folder, name);
    await makeTinyCheckpoint(at("checkpoint"), { layers: 9, hidden: 256, heads: 4, kvHeads: 4, seed: 3 });
    await convertCheckpoint({ checkpoint: at("checkpoint"), output: at("f16.gguf"), outType: "f16" });
    return { at, input: at("f16.gguf") };
}

test("every mixture is a whole model that both schedules read alike", async (t) => {
    const { at, input } = await makeModel(t);
    const ids = at("ids.json");
    writeFileSync(ids, JSON.stringify(Array.from({ length: 70 }, (_, i) => (i * 37) % 250)));
    for (const mixture of mixtures) {
        const output = at(`${mixture}.gguf`);
        await quantizeModel({ input, output, mixture });
        await validateArmtModel(output);
        await verifyFingerprint(output);
        const sequential = await bestTokens(output, ids, "sequential");
        t.deepEqual(await bestTokens(output, ids, "diagonal"), sequential, mixture);
        t.is(sequential.length, 8);
    }
});

test("mixtures give layers the types that llama.cpp gives them, as stacks of their own", async (t) => {
    const { at, input } = await makeModel(t);
    await quantizeModel({ input, output: at("m.gguf"), mixture: "q4_k_m" });
    const file = await openGguf(at("m.gguf"));
    t.teardown(() => file.close());
    const types = (kind: string) =>
        [...file.tensors]
            .filter(([name]) => name.endsWith(`.${kind}.weight`))
            .map(([name, { type }]) => [name, type.name]);
    // use_more_bits of 9 layers: the first eighth (0), every third after it (3, 6), and from the last eighth on (7, 8);
    // with rows that are no multiple of 256, Q8_0 stands in for Q6_K and Q5_0 for Q4_K
    const down = file.tensors.get("blk.0.ffn_down.weight")!;
    const [more, usual] = down.shape[0]! % 256 === 0 ? ["Q6_K", "Q4_K"] : ["Q8_0", "Q5_0"];
    t.deepEqual(types("ffn_down"), [
        ["blk.0.ffn_down.weight", more],
        ["blk.1.ffn_down.weight", usual],
        ["blk.3.ffn_down.weight", more],
        ["blk.4.ffn_down.weight", usual],
        ["blk.6.ffn_down.weight", more]
    ]);
    t.deepEqual(types("attn_qkv"), [["blk.0.attn_qkv.weight", "Q5_K"]]);
    t.deepEqual(types("attn_output"), [["blk.0.attn_output.weight", "Q4_K"]]);
    t.deepEqual(types("memory_v"), [["blk.0.memory_v.weight", "Q8_0"]]);
    t.deepEqual(types("memory_b"), [["blk.0.memory_b.weight", "F16"]]);
});

test("ggml's q8_0 is the one that the converter writes", async (t) => {
    const { at, input } = await makeModel(t);
    await quantizeModel({ input, output: at("q.gguf"), mixture: "q8_0" });
    const [before, after] = await Promise.all([openGguf(input), openGguf(at("q.gguf"))]);
    t.teardown(() => Promise.all([before.close(), after.close()]));
    const name = "blk.0.attn_qkv.weight";
    const values = decodeFloats(await before.readTensor(name), "F16");
    t.deepEqual(new Uint8Array(await after.readTensor(name)), encodeFloats(values, "Q8_0"));
});

test("q8_0 weights can be rounded a second time, and stay as they are in q8_0", async (t) => {
    const { at, input } = await makeModel(t);
    await quantizeModel({ input, output: at("q8.gguf"), mixture: "q8_0" });
    const { code, stderr } = await runArmt(["quantize", at("q8.gguf"), at("q4.gguf"), "q4_0", "--requantize"]);
    t.is(code, 0, stderr);
    for (const mixture of ["q8_0", "f16", "bf16"] as const) {
        const output = at(`again-${mixture}.gguf`);
        await quantizeModel({ input: at("q8.gguf"), output, mixture, requantize: true });
        await validateArmtModel(output);
    }
    const names = ["blk.0.attn_output.weight", "blk.0.memory_k.weight", "token_embd.weight"];
    const [q8, again, f16, q4, plain] = await Promise.all(
        ["q8.gguf", "again-q8_0.gguf", "again-f16.gguf", "q4.gguf", "f16.gguf"].map((name) => openGguf(at(name)))
    );
    t.teardown(() => Promise.all([q8, again, f16, q4, plain].map((file) => file!.close())));
    for (const name of names) {
        const bytes = await q8!.readTensor(name);
        t.deepEqual(await again!.readTensor(name), bytes);
        // what q8_0 stands for, by a second way: block by block from the bytes
        const wide = decodeFloats(await f16!.readTensor(name), "F16");
        const exact = decodeFloats(await plain!.readTensor(name), "F16");
        t.is(f16!.tensors.get(name)?.type.name, "F16");
        for (const i of [0, 1, 31, 32, wide.length - 1]) {
            const block = bytes.subarray(34 * Math.floor(i / 32));
            const scale = decodeFloats(Buffer.from(block.subarray(0, 2)), "F16")[0]!;
            const value = scale * new Int8Array(block.buffer, block.byteOffset + 2, 32)[i % 32]!;
            t.true(Math.abs(wide[i]! - value) <= 2 ** -11 * Math.abs(value), `${name}[${i}]`);
            t.true(Math.abs(exact[i]! - value) <= 0.51 * scale, `${name}[${i}]`);
        }
    }
    t.is(q4!.tensors.get("blk.0.attn_output.weight")?.type.name, "Q4_0");
    t.true(q4!.metadata.has("general.quantization_version"));
    t.false(f16!.metadata.has("general.quantization_version"));
    await quantizeModel({ input: at("q4.gguf"), output: at("x.gguf"), mixture: "f16", requantize: true }).then(
        () => t.fail(),
        (error: Error) =>
            t.regex(error.message, /is quantized already: tensor "[^"]+" is Q(4_0|6_K); start from .* weights$/)
    );
});

test("the memory's type can be chosen", async (t) => {
    const { at, input } = await makeModel(t);
    const { code, stderr } = await runArmt(["quantize", input, at("m.gguf"), "q4_0", "--memory-type", "f16"]);
    t.is(code, 0, stderr);
    const file = await openGguf(at("m.gguf"));
    t.teardown(() => file.close());
    t.is(file.tensors.get("blk.0.memory_k.weight")?.type.name, "F16");
    t.is(file.tensors.get("blk.0.attn_output.weight")?.type.name, "Q4_0");
});

test("convert goes straight to a mixture and leaves nothing else", async (t) => {
    const { at, input } = await makeModel(t);
    const { code, stderr } = await runArmt(["convert", at("checkpoint"), at("c.gguf"), "--outtype", "q6_k"]);
    t.is(code, 0, stderr);
    await quantizeModel({ input, output: at("q.gguf"), mixture: "q6_k" });
    t.deepEqual(readFileSync(at("c.gguf")), readFileSync(at("q.gguf")));
    t.deepEqual(readdirSync(at(".")).sort(), ["c.gguf", "checkpoint", "f16.gguf", "q.gguf"]);
    const refused = await runArmt(["convert", at("checkpoint"), at("d.gguf"), "--memory-type", "f16"]);
    t.is(refused.code, 2);
    t.regex(refused.stderr, /--memory-type is for --outtype/);
});

test("quantize refuses by name what it cannot do, and leaves no file", async (t) => {
    const { at, input } = await makeModel(t);
    await quantizeModel({ input, output: at("q.gguf"), mixture: "q8_0" });
    await t.throwsAsync(quantizeModel({ input: at("q.gguf"), output: at("x.gguf"), mixture: "q4_0" }), {
        message: /is quantized already: tensor "token_embd\.weight" is Q8_0/
    });
    await t.throwsAsync(quantizeModel({ input, output: at("q.gguf"), mixture: "q4_0" }), {
        message: /the file exists/
    });
    copyFileSync(input, at("damaged.gguf"));
    const bytes = readFileSync(at("damaged.gguf"));
    bytes[bytes.length - 100]! ^= 1;
    writeFileSync(at("damaged.gguf"), bytes);
    await t.throwsAsync(quantizeModel({ input: at("damaged.gguf"), output: at("x.gguf"), mixture: "q4_0" }), {
        message: /damaged or was changed/
    });
    const abort = AbortSignal.abort();
    await t.throwsAsync(quantizeModel({ input, output: at("x.gguf"), mixture: "q4_0", signal: abort }), { any: true });
    t.false(existsSync(at("x.gguf")));
    t.false(readdirSync(at(".")).some((name) => name.endsWith(".tmp")));
});

async function bestTokens(model: string, ids: string, schedule: string): Promise<number[]> {
    const { code, stdout, stderr } = await runArmt([
        "run",
        model,
        "--tokens",
        ids,
        "--schedule",
        schedule,
        "--temperature",
        "0",
        "-n",
        "8",
        "--threads",
        "1",
        "--no-cache",
        "--json"
    ]);
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout).tokens;
}

test("norms, biases and position tables of every family keep their types", async (t) => {
    const folder = temporaryFolder(t);
    const at = (name: string) => path.join(folder, name);
    for (const family of ["gemma3_text", "gpt2", "gpt_neox", "qwen3"] as const) {
        const sizes = { hidden: 256, headDim: 64, heads: 4, layers: 3 };
        await makeTinyCheckpoint(at(family), { family, ...sizes });
        await convertCheckpoint({ checkpoint: at(family), output: at("f16.gguf"), outType: "f16", overwrite: true });
        await quantizeModel({ input: at("f16.gguf"), output: at("q.gguf"), mixture: "q4_k_m", overwrite: true });
        await validateArmtModel(at("q.gguf"));
        const file = await openGguf(at("q.gguf"));
        t.teardown(() => file.close());
        const names = [...file.tensors.keys()];
        t.true(names.some((name) => /_norm\.bias$|_[qk]_norm\.weight$/.test(name)));
        for (const [name, { type }] of file.tensors)
            if (/norm|bias/.test(name)) t.is(type.name, "F32", `${family}: ${name}`);
        t.is(file.tensors.get("position_embd.weight")?.type.name, family === "gpt2" ? "F16" : undefined);
        t.is(file.tensors.get("blk.0.attn_qkv.weight")?.type.name, "Q5_K");
    }
});
