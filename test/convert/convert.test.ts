import { createHash } from "node:crypto";
import { copyFileSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { attachMemory } from "../../src/convert/attach/attach.js";
import { type ConvertOptions, convertCheckpoint } from "../../src/convert/convert.js";
import { convertQuantized } from "../../src/convert/quantize/convert-quantized.js";
import { quantizeModel } from "../../src/convert/quantize/quantize.js";
import { validateArmtModel } from "../../src/formats/gguf/armt-model.js";
import { type GgufFile, openGguf } from "../../src/formats/gguf/reader.js";
import { openSafetensors } from "../../src/formats/safetensors/reader.js";
import { type TensorData, writeSafetensors } from "../../src/formats/safetensors/writer.js";
import { openTorch } from "../../src/formats/torch/reader.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import type { TinyOptions } from "../../src/tiny/options.js";
import { authorsGoldenNames, readAuthorsGolden } from "../helpers/golden.js";
import { temporaryFolder } from "../helpers/temporary.js";

/** Makes a tiny checkpoint, converts it and hands over the open result with its parsed facts. */
async function convertTiny(t: ExecutionContext, tiny: TinyOptions, options: Partial<ConvertOptions> = {}) {
    const folder = temporaryFolder(t);
    const checkpoint = path.join(folder, "checkpoint");
    const output = path.join(folder, "model.gguf");
    await makeTinyCheckpoint(checkpoint, { layers: 2, hidden: 32, vocab: 40, dMem: 8, tokenizer: false, ...tiny });
    await convertCheckpoint({ checkpoint, output, tokenizer: false, ...options });
    t.deepEqual(readdirSync(folder), ["checkpoint", "model.gguf"]);
    const facts = await validateArmtModel(output);
    const gguf = await openGguf(output);
    t.teardown(() => gguf.close());
    return { folder, checkpoint, output, facts, gguf };
}

const types = (gguf: GgufFile) => Object.fromEntries([...gguf.tensors].map(([name, { type }]) => [name, type.name]));
const digest = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex");

for (const name of authorsGoldenNames) {
    test(`golden checkpoint converts with its bytes in their places, ${name}`, async (t) => {
        const golden = await readAuthorsGolden(name);
        const output = path.join(temporaryFolder(t), "model.gguf");
        const warnings: string[] = [];
        await convertCheckpoint({
            checkpoint: golden.folder,
            output,
            outType: "f32",
            onWarning: (text) => warnings.push(text)
        });
        t.regex(warnings.join(), /no tokenizer\.json/);
        const facts = await validateArmtModel(output);
        const isTorch = readdirSync(golden.folder).includes("pytorch_model.bin");
        const source = await (isTorch ? openTorch : openSafetensors)(
            path.join(golden.folder, isTorch ? "pytorch_model.bin" : "model.safetensors")
        );
        const gguf = await openGguf(output);
        const prefix = "memory_cell.model.model.";
        const layers = Array.from({ length: facts.blockCount }, (_, i) => `${prefix}layers.${i}.`);
        const parts = async (names: string[]) =>
            Buffer.concat(await Promise.all(names.map((part) => source.read(part))));
        t.deepEqual(await gguf.readTensor("token_embd.weight"), await parts([`${prefix}embed_tokens.weight`]));
        t.deepEqual(await gguf.readTensor("memory_embd.weight"), await parts(["memory_cell.memory"]));
        const qkv = layers.flatMap((layer) =>
            ["q", "k", "v"].map((kind) => `${layer}layer.self_attn.${kind}_proj.weight`)
        );
        t.deepEqual(await gguf.readTensor("blk.0.attn_qkv.weight"), await parts(qkv));
        const gateUp = layers.flatMap((layer) => ["gate", "up"].map((kind) => `${layer}layer.mlp.${kind}_proj.weight`));
        t.deepEqual(await gguf.readTensor("blk.0.ffn_up.weight"), await parts(gateUp));
        t.deepEqual(
            await gguf.readTensor("blk.0.memory_b.bias"),
            await parts(layers.map((layer) => `${layer}W_mb.bias`))
        );
        t.is(gguf.tensors.has("output.weight"), !name.includes("tied"));
        await gguf.close();
        await source.close();
    });
}

test("out type is that of the matrices; memory keeps 16 bits, norms and biases 32", async (t) => {
    const memory = [
        "memory_embd.weight",
        "blk.0.memory_q.weight",
        "blk.0.memory_k.weight",
        "blk.0.memory_v.weight",
        "blk.0.memory_b.weight"
    ];
    for (const [outType, matrix, memoryType, fileType] of [
        ["f32", "F32", "F32", 0],
        ["f16", "F16", "F16", 1],
        ["bf16", "BF16", "BF16", 32],
        ["q8_0", "Q8_0", "F16", 7]
    ] as const) {
        const { gguf } = await convertTiny(t, { biases: true }, { outType });
        t.deepEqual(gguf.metadata.get("general.file_type"), { type: "UINT32", value: fileType });
        t.is(gguf.metadata.has("general.quantization_version"), outType === "q8_0");
        for (const [name, type] of Object.entries(types(gguf))) {
            const expected = /norm|bias/.test(name) ? "F32" : memory.includes(name) ? memoryType : matrix;
            t.is(type, expected, name);
        }
    }
});

test("rows that are no whole q8_0 blocks become f16", async (t) => {
    const { gguf } = await convertTiny(t, { ffn: 48 }, { outType: "q8_0" });
    t.like(types(gguf), { "blk.0.ffn_down.weight": "F16", "blk.0.ffn_up.weight": "Q8_0" });
});

test("default out type loses nothing of a bf16 checkpoint, else it is f16", async (t) => {
    for (const [dtype, type] of [
        ["BF16", "BF16"],
        ["F16", "F16"],
        ["F32", "F16"]
    ] as const) {
        const { gguf } = await convertTiny(t, { dtype });
        t.is(gguf.tensors.get("token_embd.weight")?.type.name, type);
    }
});

test("all ways to store a checkpoint give the same model", async (t) => {
    for (const tied of [false, true]) {
        const plain = await convertTiny(t, { tied });
        for (const other of [{ shards: 3 }, { names: "short" as const }]) {
            const { output } = await convertTiny(t, { tied, ...other });
            t.is(digest(output), digest(plain.output), JSON.stringify({ tied, ...other }));
        }
    }
});

test("prefixes of other classes make no difference", async (t) => {
    const { checkpoint, output, folder } = await convertTiny(t, {});
    const weights = path.join(checkpoint, "model.safetensors");
    const again = path.join(folder, "again.gguf");
    for (const rename of [
        (name: string) => `armt.${name}`,
        (name: string) => `module.${name}`,
        (name: string) => name.replace("memory_cell.", "")
    ]) {
        const copy = path.join(checkpoint, "copy");
        copyFileSync(weights, copy);
        await rewrite(copy, weights, (tensor) => ({ ...tensor, name: rename(tensor.name) }));
        await convertCheckpoint({ checkpoint, output: again, tokenizer: false, overwrite: true });
        t.is(digest(again), digest(output));
        renameSync(copy, weights);
    }
});

/** Copies a safetensors file with its tensors changed; `undefined` leaves one out. */
async function rewrite(
    from: string,
    to: string,
    change: (tensor: TensorData) => TensorData | undefined
): Promise<void> {
    const source = await openSafetensors(from);
    const tensors: TensorData[] = [];
    for (const [name, { dtype, shape }] of source.tensors) {
        const changed = change({ name, dtype, shape, data: await source.read(name) });
        if (changed !== undefined) tensors.push(changed);
    }
    await source.close();
    await writeSafetensors(to, tensors);
}

test("variants are recorded", async (t) => {
    const tiny = {
        nHeads: 2,
        normalizeKeys: false,
        useDenom: false,
        correction: false,
        gating: true,
        memoryEpsilon: 0.25,
        alignment: "center"
    } as const;
    const { facts, gguf } = await convertTiny(t, tiny);
    t.like(facts, { segmentAlignment: "center" });
    t.like(facts.memory, { headCount: 2, normalizeKeys: false, useDenom: false, correction: false, gating: true });
    t.is(facts.memory.epsilon, 0.25);
    t.like(gguf.metadata.get("armt.format_version"), { value: 5 });
    const plain = await convertTiny(t, {});
    t.is(plain.facts.memory.epsilon, 1e-5);
    t.false(plain.gguf.metadata.has("armt.memory.epsilon"));
    t.like(plain.gguf.metadata.get("armt.format_version"), { value: 1 });
});

test("flags override armt_config.json and stand in for it", async (t) => {
    const flags = {
        segmentSize: 5,
        segmentAlignment: "right",
        normalizeKeys: false,
        correction: false,
        useDenom: false
    } as const;
    const { facts, checkpoint, folder } = await convertTiny(t, {}, { flags, name: "tiny" });
    t.like(facts, { segmentSize: 5, segmentAlignment: "right", name: "tiny" });
    t.like(facts.memory, { normalizeKeys: false, correction: false, useDenom: false });
    rmSync(path.join(checkpoint, "armt_config.json"));
    const output = path.join(folder, "flags.gguf");
    const convert = (given: ConvertOptions["flags"]) =>
        convertCheckpoint({ checkpoint, output, tokenizer: false, flags: given });
    await t.throwsAsync(convert({}), { name: "ArmtError", message: /--segment-size/ });
    await t.throwsAsync(convert({ segmentSize: 5 }), {
        name: "ArmtError",
        message: /--normalize-keys or --no-normalize-keys/
    });
    await convert({ segmentSize: 5, normalizeKeys: true });
    t.like((await validateArmtModel(output)).memory, { correction: true, useDenom: true, gating: false, headCount: 1 });
});

test("RoPE scaling is a tensor for llama3, keys for linear", async (t) => {
    const llama3 = {
        type: "llama3",
        factor: 8,
        lowFreqFactor: 1,
        highFreqFactor: 4,
        originalMaxPositions: 32
    } as const;
    const scaled = await convertTiny(t, { ropeScaling: llama3 });
    t.deepEqual(scaled.gguf.tensors.get("rope_freqs.weight")?.shape, [4]);
    const linear = await convertTiny(t, { ropeScaling: { type: "linear", factor: 4 } });
    t.like(linear.facts.positions, { type: "rope", linearFactor: 4 });
    t.false(linear.gguf.tensors.has("rope_freqs.weight"));
});

test("biases are kept", async (t) => {
    const { gguf } = await convertTiny(t, { biases: true });
    t.deepEqual(gguf.tensors.get("blk.0.attn_qkv.bias")?.shape, [64, 2]);
    t.deepEqual(gguf.tensors.get("blk.0.ffn_up.bias")?.shape, [128, 2]);
});

test("progress reaches the whole, and an abort leaves nothing", async (t) => {
    let last = [0, 1];
    const { checkpoint, folder } = await convertTiny(
        t,
        {},
        {
            onProgress: (done, total) => {
                last = [done, total];
            }
        }
    );
    t.is(last[0], last[1]);
    const output = path.join(folder, "aborted.gguf");
    await t.throwsAsync(
        convertCheckpoint({ checkpoint, output, tokenizer: false, signal: AbortSignal.abort(new Error("stop")) }),
        {
            message: "stop"
        }
    );
    t.deepEqual(readdirSync(folder), ["checkpoint", "model.gguf"]);
});

test("existing output is kept unless it may be replaced", async (t) => {
    const { checkpoint, output } = await convertTiny(t, {});
    writeFileSync(output, "mine");
    await t.throwsAsync(convertCheckpoint({ checkpoint, output, tokenizer: false }), {
        name: "ArmtError",
        message: /--force/
    });
    t.is(readFileSync(output, "utf8"), "mine");
    await convertCheckpoint({ checkpoint, output, tokenizer: false, overwrite: true });
    t.is((await validateArmtModel(output)).blockCount, 2);
});

test("an input is never replaced, not even where outputs may be", async (t) => {
    const { folder, checkpoint, output } = await convertTiny(t, {});
    const weights = path.join(checkpoint, "model.safetensors");
    const link = path.join(folder, "link");
    symlinkSync(checkpoint, link);
    const before = digest(weights);
    const refused = { name: "UsageError", message: /it is an input; name another output/ };
    for (const input of [checkpoint, link, weights])
        for (const target of [weights, path.join(link, "model.safetensors"), path.join(checkpoint, "config.json")]) {
            if (input === weights && target.endsWith("config.json")) continue;
            const options = { checkpoint: input, output: target, tokenizer: false, overwrite: true };
            await t.throwsAsync(convertCheckpoint(options), refused);
            await t.throwsAsync(convertQuantized(options, "q8_0"), refused);
        }
    await t.throwsAsync(quantizeModel({ input: output, output, mixture: "q8_0", overwrite: true }), refused);
    for (const target of [output, weights])
        await t.throwsAsync(attachMemory({ base: output, memory: weights, output: target, overwrite: true }), refused);
    t.is(digest(weights), before);
    t.is((await validateArmtModel(output)).blockCount, 2);

    // an earlier output may be in the checkpoint's folder
    const inside = path.join(checkpoint, "model.gguf");
    for (const overwrite of [false, true])
        await convertCheckpoint({ checkpoint, output: inside, tokenizer: false, overwrite });
    t.is(digest(inside), digest(output));
});
