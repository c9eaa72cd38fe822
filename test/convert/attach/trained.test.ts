import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { attachMemory } from "../../../src/convert/attach/attach.js";
import { describeGguf } from "../../../src/formats/gguf/describe.js";
import { openGguf } from "../../../src/formats/gguf/reader.js";
import type { GgmlType } from "../../../src/formats/gguf/types.js";
import { verifyModel } from "../../../src/verify/verify-model.js";
import { makeTrained, type Trained, type TrainedOptions } from "../../helpers/trained-memory.js";

const attention = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"];
const llamaModules = [...attention, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"];

type Attach = Partial<Parameters<typeof attachMemory>[0]>;

async function attach({ base, memory }: Trained, options: Attach = {}): Promise<string> {
    const output = path.join(path.dirname(base), "attached.gguf");
    await attachMemory({ base, memory, output, memoryType: "f32", overwrite: true, ...options });
    return output;
}

/** Differences of the engine's logits from a float64 computation. */
async function differences(model: string, against: string, memory?: string) {
    const options = { model, against, memory, segments: 2, json: true, batchSize: 512, verify: true, threads: 1 };
    return await verifyModel(options, new AbortController().signal);
}

async function typesOf(model: string): Promise<Record<string, string>> {
    const file = await openGguf(model);
    const types = [...file.tensors].map(([name, { type }]) => [name, type.name]);
    await file.close();
    return Object.fromEntries(types);
}

/** The engine computes base + LoRA + memory: against the weights merged in float64, and against both files. */
async function compare(
    t: ExecutionContext,
    options: TrainedOptions,
    tolerance: number,
    { mergedType, memoryType = "f32" }: Attach = {}
): Promise<Record<string, string>> {
    const trained = await makeTrained(t, options);
    const model = await attach(trained, { mergedType, memoryType });
    for (const [against, memory] of [[trained.merged], [trained.base, trained.memory]] as const) {
        const { segments } = await differences(model, against, memory);
        t.is(segments.length, 3);
        for (const { relative } of segments) t.true(relative <= tolerance, `${against}: ${relative}`);
    }
    return await typesOf(model);
}

for (const [family, modules] of [
    ["llama", llamaModules],
    ["qwen2", ["self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"]],
    ["phi3", ["self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"]]
] as const)
    test.serial(`LoRA is added to a float32 base exactly, ${family}`, async (t) => {
        const types = await compare(t, { tiny: { family }, modules }, 1e-4);
        t.is(types["blk.0.attn_qkv.weight"], "F32");
    });

test.serial("LoRA counts: without it, the result is another", async (t) => {
    const trained = await makeTrained(t, { modules: ["self_attn.q_proj", "self_attn.v_proj"] });
    const plain = await makeTrained(t, { modules: [] });
    const { segments } = await differences(await attach(plain), trained.merged);
    t.true(segments.every(({ relative }) => relative > 0.01));
});

test.serial("an f16 and a q8_0 base keep their types", async (t) => {
    for (const [type, tolerance] of [
        ["F16", 0.01],
        ["Q8_0", 0.15]
    ] as const) {
        const types = await compare(t, { modules: llamaModules, type: () => type }, tolerance);
        t.is(types["blk.0.attn_qkv.weight"], type);
        t.is(types["blk.0.ffn_down.weight"], type);
    }
});

/** As in llama.cpp's mixtures: V has more bits than Q and K in some layers. */
const mixture = (name: string): GgmlType => {
    if (name === "blk.1.attn_v.weight") return "Q8_0";
    return /attn_v|ffn_down/.test(name) ? "Q5_1" : name === "token_embd.weight" ? "Q8_0" : "Q4_1";
};

test.serial("matrices of a mixture that LoRA changes become q8_0, and the others keep their bytes", async (t) => {
    const trained = await makeTrained(t, { modules: ["self_attn.q_proj", "self_attn.v_proj"], type: mixture });
    const model = await attach(trained);
    const types = await typesOf(model);
    t.is(types["blk.0.attn_qkv.weight"], "Q8_0");
    t.is(types["blk.0.attn_output.weight"], "Q4_1");
    t.is(types["blk.0.ffn_down.weight"], "Q5_1");
    const [whole, base] = [await openGguf(model), await openGguf(trained.base)];
    const parts: Buffer[] = [];
    for (let layer = 0; layer < 3; layer++) parts.push(await base.readTensor(`blk.${layer}.ffn_down.weight`));
    t.true((await whole.readTensor("blk.0.ffn_down.weight")).equals(Buffer.concat(parts)));
    await whole.close();
    await base.close();
    const both = await differences(model, trained.base, trained.memory);
    for (const { relative } of both.segments) t.true(relative <= 0.15, String(relative));
});

test.serial("parts of several types become one without LoRA, in the layers that have them", async (t) => {
    const type = (name: string): GgmlType => (name === "blk.1.attn_v.weight" ? "Q5_1" : "Q4_1");
    const types = await compare(t, { modules: [], type }, 0.8);
    t.is(types["blk.0.attn_qkv.weight"], "Q4_1");
    t.is(types["blk.1.attn_qkv.weight"], "Q8_0");
    t.is(types["blk.2.attn_qkv.weight"], "Q4_1");
});

test.serial("f16 keeps a mixture's values as they are", async (t) => {
    const type = (name: string): GgmlType =>
        name.includes("attn_v") ? "Q5_0" : /attn_|ffn/.test(name) ? "F16" : "F32";
    const trained = await makeTrained(t, { modules: [], type });
    const model = await attach(trained, { mergedType: "f16" });
    t.is((await typesOf(model))["blk.0.attn_qkv.weight"], "F16");
    for (const { relative } of (await differences(model, trained.base, trained.memory)).segments)
        t.true(relative <= 0.01, String(relative));
});

test.serial("k-quants with rows of 256 are dequantized", async (t) => {
    const tiny = { hidden: 256, heads: 4, kvHeads: 2, layers: 3, vocab: 40 };
    const type = (name: string): GgmlType => (name.includes("attn_v") ? "Q6_K" : "Q4_K");
    const types = await compare(t, { tiny, modules: ["self_attn.q_proj"], type }, 0.8);
    t.is(types["blk.0.attn_qkv.weight"], "Q8_0");
    t.is(types["blk.0.ffn_down.weight"], "Q4_K");
});

test.serial("a GGUF memory gives what its values say, and keeps its q8_0 matrices", async (t) => {
    const trained = await makeTrained(t, { modules: ["self_attn.q_proj", "self_attn.v_proj"], container: "gguf" });
    const model = await attach(trained, { memoryType: undefined });
    const types = await typesOf(model);
    t.is(types["blk.0.memory_v.weight"], "Q8_0");
    t.is(types["memory_embd.weight"], "F16");
    const [whole, memory] = [await openGguf(model), await openGguf(trained.memory)];
    const parts: Buffer[] = [];
    for (let layer = 0; layer < 3; layer++) parts.push(await memory.readTensor(`layers.${layer}.W_mv.weight`));
    t.true((await whole.readTensor("blk.0.memory_v.weight")).equals(Buffer.concat(parts)));
    await whole.close();
    await memory.close();
    const { segments } = await differences(await attach(trained), trained.base, trained.memory);
    for (const { relative } of segments) t.true(relative <= 1e-4, String(relative));
});

test("what a model says of itself cannot steer the terminal", async (t) => {
    const edit = (about: Record<string, unknown>) => ({
        ...about,
        base: { ...(about.base as object), name: "a\u001b[2J", license: "mit\n\u009b2J" }
    });
    const trained = await makeTrained(t, { modules: [], edit });
    const shown = (await describeGguf(await attach(trained))).toText();
    t.regex(shown, /trained for +"a\\u001b\[2J", licence mit\\u000a\\u009b2J\n/);
    t.notRegex(shown.replaceAll("\n", ""), /\p{Cc}/u);
});

test("the model says what it was trained for and how to ask it", async (t) => {
    const trained = await makeTrained(t, { modules: ["self_attn.q_proj"] });
    const description = await describeGguf(await attach(trained));
    t.like(description.armt, { baseName: "Tiny", license: "mit", training: '{"steps":2}' });
    t.deepEqual(description.armt!.ask, {
        chat: true,
        close: false,
        greedy: true,
        before: "Q: ",
        after: undefined,
        start: undefined,
        end: ["</s>"]
    });
    t.regex(description.toText(), /trained for +"Tiny", licence mit/);
    t.regex(
        description.toText(),
        /ask +in a chat, or between "Q: " and ""; in the open segment; take the most probable/
    );
    t.regex(description.toText(), /general\.sampling\.temp +0/);
});

test("any quantization of the base passes", async (t) => {
    const trained = await makeTrained(t, { modules: ["self_attn.q_proj"] });
    const other = await makeTrained(t, { modules: [], type: () => "Q4_0" });
    await t.notThrowsAsync(attach({ ...trained, base: other.base }));
});

const refused = test.macro({
    title: (name = "") => `refused without a file left: ${name}`,
    async exec(t, make: (t: ExecutionContext) => Promise<Trained>, message: RegExp) {
        const trained = await make(t);
        const folder = path.dirname(trained.base);
        const before = readdirSync(folder).sort();
        const error = await t.throwsAsync(attach(trained), { name: "ArmtError", message });
        t.notRegex(error.message, /\n/);
        t.deepEqual(readdirSync(folder).sort(), before);
    }
});

const modules = ["self_attn.q_proj"];

/** A memory, and the base of another. */
const onto = (base: TrainedOptions) => async (t: ExecutionContext) => {
    const trained = await makeTrained(t, { modules });
    return { ...trained, base: (await makeTrained(t, base)).base };
};

test(
    "another model",
    refused,
    onto({ modules, tiny: { ffn: 96 } }),
    /trained for "Tiny" \(llama, 3 layers of 32, 40 tokens\).*differs in names and shapes of the tensors \(`fingerprint\.tensors`\): it is another model/
);
test(
    "a fine-tune",
    refused,
    onto({ modules, tiny: { seed: 2 } }),
    /differs in weights of the norms \(`fingerprint\.norms`\): it is a fine-tune, or damaged/
);
test(
    "another vocabulary",
    refused,
    async (t) => {
        const trained = await makeTrained(t, { modules });
        const bytes = readFileSync(trained.base);
        const at = bytes.indexOf("\u2581t17");
        bytes.write("\u2581u17", at);
        writeFileSync(trained.base, bytes);
        return trained;
    },
    /differs in the vocabulary \(`fingerprint\.vocabulary`\): its tokens are others/
);
test(
    "a base with a damaged norm",
    refused,
    async (t) => {
        const trained = await makeTrained(t, { modules });
        const file = await openGguf(trained.base);
        const { offset } = file.tensors.get("blk.1.ffn_norm.weight")!;
        await file.close();
        const bytes = readFileSync(trained.base);
        bytes[offset]! ^= 1;
        writeFileSync(trained.base, bytes);
        return trained;
    },
    /`fingerprint\.norms`/
);
test(
    "a memory of a newer format",
    refused,
    (t) => makeTrained(t, { modules, edit: (about) => ({ ...about, format_version: 2 }) }),
    /`format_version` is 2, expected 1 at most; update node-llama-cpp-armt/
);
test(
    "LoRA without its numbers",
    refused,
    (t) => makeTrained(t, { modules, edit: (about) => ({ ...about, lora: null }) }),
    /`lora` is null, but there are LoRA tensors/
);
test(
    "LoRA of another rank than said",
    refused,
    (t) => makeTrained(t, { modules, edit: (about) => ({ ...about, lora: { r: 3, alpha: 4 } }) }),
    /LoRA update of rank 2, .* says 3/
);
test(
    "a fingerprint that is none",
    refused,
    (t) =>
        makeTrained(t, {
            modules,
            edit: (about) => ({ ...about, base: { ...(about.base as object), fingerprint: { tensors: "1" } } })
        }),
    /`tensors` is "1", expected 64 hex digits/
);
test(
    "a GGUF file that holds no memory",
    refused,
    async (t) => {
        const trained = await makeTrained(t, { modules });
        const memory = path.join(path.dirname(trained.base), "copy.gguf");
        copyFileSync(trained.base, memory);
        return { ...trained, memory };
    },
    /copy\.gguf" is not a memory's file: `general\.architecture` is not "armt-memory"/
);
test(
    "a memory's file that was cut off",
    refused,
    async (t) => {
        const trained = await makeTrained(t, { modules, container: "gguf" });
        writeFileSync(trained.memory, readFileSync(trained.memory).subarray(0, -4000));
        t.true(existsSync(trained.memory));
        return trained;
    },
    /memory\.gguf/
);
