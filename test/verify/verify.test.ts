import { cpSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { type ConvertOptions, convertCheckpoint } from "../../src/convert/convert.js";
import { convertQuantized } from "../../src/convert/quantize/convert-quantized.js";
import type { TensorData } from "../../src/formats/safetensors/writer.js";
import type { TinyOptions } from "../../src/tiny/options.js";
import { type VerifyOptions, verifyModel } from "../../src/verify/verify-model.js";
import { runArmt } from "../helpers/armt-command.js";
import { decodeNumbers } from "../helpers/decode-numbers.js";
import { readMadeGolden, variantGoldenCases } from "../helpers/golden.js";
import { rewriteCheckpoint } from "../helpers/rewrite-checkpoint.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { makeTiny, makeTinyIn } from "../helpers/tiny-checkpoint.js";

async function convert(folder: string, options: Partial<ConvertOptions> = {}): Promise<string> {
    const output = path.join(folder, "..", "model.gguf");
    await convertCheckpoint({ checkpoint: folder, output, outType: "f32", overwrite: true, ...options });
    return output;
}

const verify = (model: string, against: string, options: Partial<VerifyOptions> = {}) =>
    verifyModel(
        { model, against, segments: 3, json: true, batchSize: 512, verify: true, threads: 1, ...options },
        new AbortController().signal
    );

const local = { layer_types: ["sliding_attention", "full_attention", "sliding_attention"], rope_parameters: null };
const variants: readonly [string, TinyOptions][] = [
    ["LLaMA", { tied: true, names: "short" }],
    [
        "LLaMA with llama3 scaling and biases",
        {
            biases: true,
            ropeScaling: { type: "llama3", factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 32 }
        }
    ],
    ["Mistral with linear scaling", { family: "mistral", ropeScaling: { type: "linear", factor: 4 } }],
    ["Qwen2", { family: "qwen2" }],
    ["Qwen3", { family: "qwen3", headDim: 12 }],
    ["Phi-3", { family: "phi3", config: { partial_rotary_factor: 0.5 } }],
    ["Gemma 3", { family: "gemma3_text", tied: true, config: { ...local, query_pre_attn_scalar: 20 } }],
    ["GPT-2", { family: "gpt2" }],
    [
        "GPT-2 with wrapped positions",
        { family: "gpt2", wrapPositions: true, config: { transformers_version: "5.1.0" } }
    ],
    ["GPT-NeoX", { family: "gpt_neox", biases: true }],
    ["heads and gating, right", { nHeads: 2, gating: true, alignment: "right" }],
    ["no denominator, center", { useDenom: false, alignment: "center" }],
    ["an epsilon that counts", { memoryEpsilon: 0.5 }],
    ["plain keys, no correction", { normalizeKeys: false, correction: false }]
];

for (const [what, tiny] of variants) {
    test.serial(`a conversion passes: ${what}`, async (t) => {
        const folder = await makeTiny(t, tiny);
        const report = await verify(await convert(folder), folder, { segmentSize: 7, segments: 4 });
        t.like(report, { passed: true, type: "F32", firstBadLayer: undefined });
        t.is(report.memories.length, 3);
        const tokens = report.segments.map((segment) => segment.tokens);
        t.is(
            tokens.reduce((a, b) => a + b),
            32
        );
        for (const segment of report.segments) {
            t.true(segment.relative < 1e-5, String(segment.relative));
            t.true(segment.top1 === 1 && segment.kl < 1e-9);
        }
    });
}

test.serial("16 bits and quantized types pass by their own tolerances", async (t) => {
    const folder = await makeTiny(t, { dtype: "BF16", hidden: 64 });
    let last = 0;
    for (const type of ["f16", "bf16", "q8_0", "q4_0"] as const) {
        const model = path.join(folder, "..", `${type}.gguf`);
        if (type === "q4_0") await convertQuantized({ checkpoint: folder, output: model }, type);
        else await convertCheckpoint({ checkpoint: folder, output: model, outType: type });
        const report = await verify(model, folder);
        t.true(report.passed, JSON.stringify(report));
        t.true(report.tolerance > last);
        last = report.tolerance;
        t.true(report.segments.some(({ relative }) => relative > 1e-4));
    }
});

/** Multiplies half a tensor, converts the result, and compares it with the original checkpoint. */
async function verifyBroken(t: ExecutionContext, tiny: TinyOptions, end: string, factor: number) {
    const folder = await makeTiny(t, tiny);
    const original = path.join(folder, "..", "original");
    await makeTinyIn(original, tiny);
    let changed = 0;
    await rewriteCheckpoint(folder, (tensor) => {
        if (!tensor.name.endsWith(end)) return [tensor];
        changed++;
        // a part of it: normalized keys don't change with the scale of all
        const values = Float32Array.from(decodeNumbers("F32", tensor.data), (value, i) => {
            return i < tensor.data.length / 8 ? value * factor : value;
        });
        return [{ ...tensor, data: values } as TensorData];
    });
    t.is(changed, 1, end);
    return verify(await convert(folder), original);
}

for (const [tiny, end, layer] of [
    [{}, "layers.1.W_mk.weight", 1],
    [{}, "layers.1.W_mv.weight", 1],
    [{}, "layers.2.W_mb.weight", 2],
    [{}, "layers.1.W_mq.weight", 1],
    [{}, "layers.1.layer.self_attn.k_proj.weight", 1],
    [{}, "layers.0.layer.mlp.down_proj.weight", 0],
    [{}, "layers.2.layer.input_layernorm.weight", 2],
    [{}, "model.norm.weight", undefined],
    [{}, "lm_head.weight", undefined],
    [{}, "memory_cell.memory", 0],
    [{ family: "gpt2" }, "h.1.layer.attn.c_attn.bias", 1],
    [{ family: "gpt2" }, "wpe.weight", 0],
    [{ family: "gpt_neox" }, "layers.1.layer.attention.query_key_value.weight", 1],
    [{ family: "qwen3" }, "layers.1.layer.self_attn.k_norm.weight", 1],
    [{ family: "gemma3_text", config: local }, "layers.1.layer.post_feedforward_layernorm.weight", 1]
] as const satisfies readonly (readonly [TinyOptions, string, number | undefined])[]) {
    test.serial(`a conversion with half a tensor changed by a tenth is found: ${end}`, async (t) => {
        const report = await verifyBroken(t, tiny, end, 1.1);
        t.false(report.passed);
        t.is(report.firstBadLayer, layer);
    });
}

test.serial("a wrong variant is found", async (t) => {
    const folder = await makeTiny(t);
    for (const flags of [{ normalizeKeys: false }, { correction: false }, { useDenom: false }, { memoryEpsilon: 1 }]) {
        const report = await verify(await convert(folder, { flags }), folder);
        t.false(report.passed, JSON.stringify(flags));
        t.is(report.firstBadLayer, 0);
        t.true(report.segments[0]!.relative < report.tolerance);
    }
});

test.serial("weights whose rows were put in another order are found", async (t) => {
    const folder = await makeTiny(t, { family: "gpt_neox" });
    const model = await convert(folder);
    // the same sizes, but Q, K and V of each head in another place
    await rewriteCheckpoint(folder, (tensor) => {
        if (!tensor.name.endsWith("query_key_value.weight")) return [tensor];
        const half = tensor.data.length / 2;
        return [{ ...tensor, data: Buffer.concat([tensor.data.subarray(half), tensor.data.subarray(0, half)]) }];
    });
    t.false((await verify(model, folder)).passed);
});

test.serial("merged LoRA weights pass, by the right alpha alone", async (t) => {
    const folder = await makeTiny(t);
    await rewriteCheckpoint(folder, (tensor) => {
        if (!tensor.name.endsWith("self_attn.v_proj.weight")) return [tensor];
        const module = tensor.name.replace(/\.weight$/, "");
        const factor = (part: string, shape: number[]): TensorData => ({
            name: `${module}.lora_${part}.default.weight`,
            dtype: "F32",
            shape,
            data: Float32Array.from({ length: shape[0]! * shape[1]! }, (_, i) => Math.sin(i + shape[0]!) / 8)
        });
        const base = { ...tensor, name: `${module}.base_layer.weight` };
        return [base, factor("A", [2, 32]), factor("B", [tensor.shape[0]!, 2])];
    });
    const model = await convert(folder, { lora: { alpha: 4 } });
    t.true((await verify(model, folder, { loraAlpha: 4 })).passed);
    t.false((await verify(model, folder, { loraAlpha: 5 })).passed);
    writeFileSync(path.join(folder, "adapter_config.json"), JSON.stringify({ lora_alpha: 4, r: 2 }));
    t.true((await verify(model, folder)).passed);
});

test.serial("a model of another checkpoint is recognized by its sizes", async (t) => {
    const model = await convert(await makeTiny(t));
    for (const [tiny, message] of [
        [{ layers: 2 }, /was not made from this checkpoint: its number of layers is 3, the checkpoint's 2/],
        [{ vocab: 41 }, /its vocabulary is 40, the checkpoint's 41/],
        [{ family: "qwen2" }, /its base model is llama, the checkpoint's qwen2/]
    ] as const)
        await t.throwsAsync(verify(model, await makeTiny(t, tiny)), { name: "ArmtError", message });
});

test.serial("the command line prints a table or JSON, and its exit code tells", async (t) => {
    const folder = await makeTiny(t);
    const model = await convert(folder);
    const run = (...args: string[]) => runArmt(["verify", model, "--against", folder, "--threads", "1", ...args]);
    const passed = await run();
    t.is(passed.code, 0, passed.stderr);
    t.regex(passed.stdout, /^segment +tokens +max abs +relative +KL \(nats\) +same top 1\n1 +16 .* 100\.0 %\n/);
    t.regex(passed.stdout, /tolerance for F32: relative 0\.0001: passed\n$/);
    const ids = path.join(folder, "ids.json");
    writeFileSync(ids, JSON.stringify([1, 2, 3, 4, 5, 6, 7]));
    const json = await run("--json", "--tokens", ids, "--segment-size", "4");
    t.is(json.code, 0, json.stderr);
    const report = JSON.parse(json.stdout);
    t.like(report, { model, checkpoint: folder, passed: true });
    t.deepEqual(
        report.segments.map(({ tokens }: { tokens: number }) => tokens),
        [4, 3]
    );

    await convert(folder, { flags: { normalizeKeys: false } });
    const failed = await run();
    t.is(failed.code, 1);
    t.regex(failed.stdout, /FAILED\n$/);
    t.regex(
        failed.stderr,
        /^armt: .*model\.gguf does not compute what .*checkpoint does: the logits of segment 2 differ .*\n$/
    );
    const failedJson = await run("--json");
    t.is(failedJson.code, 1);
    t.false(JSON.parse(failedJson.stdout).passed);
    t.is((await run("--tolerance", "5")).code, 0);
    t.is((await runArmt(["verify", model])).code, 2);
});

for (const { name, read } of variantGoldenCases)
    test.serial(
        `a conversion of a dialect passes, and its model file tells what the checkpoint does not: ${name}`,
        async (t) => {
            const { folder } = await read();
            const checkpoint = path.join(temporaryFolder(t), "checkpoint");
            cpSync(folder, checkpoint, { recursive: true });
            const model = await convert(checkpoint);
            // four of the segments and their memory tokens fit into the position table of GPT-2
            t.true((await verify(model, checkpoint, { segmentSize: 7, segments: 4 })).passed);
            const numbers = path.join(checkpoint, "armt_config.json");
            const {
                dialect: _,
                continue_pos: __,
                sliding_window: ___,
                attend_to_previous_input: ____,
                ...rest
            } = JSON.parse(readFileSync(numbers, "utf8"));
            writeFileSync(numbers, JSON.stringify(rest));
            t.true((await verify(model, checkpoint, { segmentSize: 7, segments: 4 })).passed);
        }
    );

for (const name of ["sink", "window", "window_sink"] as const) {
    test.serial(`a conversion passes: ${name}`, async (t) => {
        const { folder } = await readMadeGolden(name);
        const model = path.join(temporaryFolder(t), "model.gguf");
        await convertCheckpoint({ checkpoint: folder, output: model, outType: "f32" });
        const report = await verify(model, folder, { segmentSize: 7, segments: 4 });
        t.true(report.passed, JSON.stringify(report));
        for (const segment of report.segments) t.true(segment.relative < 1e-5, String(segment.relative));
        if (name === "sink") return;
        // without the window the first segment is the same, the second is not
        await convertCheckpoint({
            checkpoint: folder,
            output: model,
            outType: "f32",
            overwrite: true,
            flags: { slidingWindow: false }
        });
        const other = await verify(model, folder);
        t.false(other.passed);
    });
}
