import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { type ConvertOptions, convertCheckpoint } from "../../../src/convert/convert.js";
import { addUpdate } from "../../../src/convert/lora/lora.js";
import type { TensorData } from "../../../src/formats/safetensors/writer.js";
import { makeTinyCheckpoint } from "../../../src/tiny/checkpoint.js";
import type { TinyOptions } from "../../../src/tiny/options.js";
import { decodeNumbers } from "../../helpers/decode-numbers.js";
import { type LoadedTensor, rewriteCheckpoint } from "../../helpers/rewrite-checkpoint.js";
import { temporaryFolder } from "../../helpers/temporary.js";

const rank = 4;
const alpha = 6;

async function makeTiny(t: ExecutionContext, options: TinyOptions = {}): Promise<string> {
    const folder = path.join(temporaryFolder(t), "checkpoint");
    await makeTinyCheckpoint(folder, { layers: 2, hidden: 32, vocab: 40, dMem: 8, memTokens: 4, ...options });
    return folder;
}

async function digest(folder: string, options: Partial<ConvertOptions> = {}): Promise<string> {
    const output = path.join(folder, "..", "model.gguf");
    await convertCheckpoint({ checkpoint: folder, output, outType: "f32", overwrite: true, ...options });
    return createHash("sha256").update(readFileSync(output)).digest("hex");
}

const adapterConfig = (folder: string, values: Record<string, unknown> = {}) =>
    writeFileSync(
        path.join(folder, "adapter_config.json"),
        JSON.stringify({ peft_type: "LORA", r: rank, lora_alpha: alpha, ...values })
    );

/**
 * Multiples of 1/8, whose sums of products float64 and float32 hold exactly, so that the order of a sum makes no
 * difference.
 */
function eighths(rows: number, columns: number, seed: number): Float32Array {
    return Float32Array.from({ length: rows * columns }, (_, i) => (((i * 7 + seed) % 11) - 5) / 8);
}

const f32 = (name: string, shape: number[], data: Float32Array): TensorData => ({ name, dtype: "F32", shape, data });

type Dialect = {
    /** Whether a weight, by the end of its name, is updated. */
    isUpdated: (name: string) => boolean;
    /** Whether it is [inputs, outputs]. */
    transposed?: boolean;
    scale?: number;
    /** Names of the weight, A and B. */
    names?: (name: string) => [string, string, string];
};

const peftNames = (name: string): [string, string, string] => {
    const inner = name.replace("memory_cell.model.", "memory_cell.model.base_model.model.");
    return ["base_layer", "lora_A.default", "lora_B.default"].map((part) =>
        inner.replace(/weight$/, `${part}.weight`)
    ) as [string, string, string];
};

/** The same checkpoint with separate updates and with merged updates. */
function dialects({ isUpdated, transposed = false, scale = alpha / rank, names = peftNames }: Dialect) {
    const inputsOf = ([rows, columns]: readonly number[]) => (transposed ? rows! : columns!);
    const outputsOf = ([rows, columns]: readonly number[]) => (transposed ? columns! : rows!);
    const factors = (shape: readonly number[]) => ({
        a: eighths(rank, inputsOf(shape), 1),
        b: eighths(outputsOf(shape), rank, 4)
    });
    const merged = (tensor: LoadedTensor): TensorData[] => {
        if (!isUpdated(tensor.name)) return [tensor];
        const { a, b } = factors(tensor.shape);
        const [, columns] = tensor.shape as [number, number];
        const values = Float32Array.from(decodeNumbers("F32", tensor.data), (x, i) => {
            const [row, column] = [Math.floor(i / columns), i % columns];
            const [output, input] = transposed ? [column, row] : [row, column];
            let sum = 0;
            for (let k = 0; k < rank; k++) sum += b[output * rank + k]! * a[k * inputsOf(tensor.shape) + input]!;
            return x + scale * sum;
        });
        return [f32(tensor.name, [...tensor.shape], values)];
    };
    const apart = (tensor: LoadedTensor): TensorData[] => {
        if (!isUpdated(tensor.name)) return [tensor];
        const { a, b } = factors(tensor.shape);
        const [weight, nameA, nameB] = names(tensor.name);
        return [
            { ...tensor, name: weight },
            f32(nameA, [rank, inputsOf(tensor.shape)], a),
            f32(nameB, [outputsOf(tensor.shape), rank], b)
        ];
    };
    return { merged, apart };
}

const isProjection = (name: string) => /layer\.self_attn\.[qv]_proj\.weight$|layer\.mlp\.down_proj\.weight$/.test(name);

async function compare(t: ExecutionContext, tiny: TinyOptions, dialect: Dialect, config?: Record<string, unknown>) {
    const { merged, apart } = dialects(dialect);
    const plain = await makeTiny(t, tiny);
    const before = await digest(plain);
    await rewriteCheckpoint(plain, merged);
    const expected = await digest(plain);
    t.not(expected, before);
    const folder = await makeTiny(t, tiny);
    await rewriteCheckpoint(folder, apart);
    adapterConfig(folder, config);
    t.is(await digest(folder), expected);
}

test("an update is added to its weight", compare, {}, { isUpdated: isProjection });
test(
    "an update by the older names, without base_layer and the adapter's name, is added",
    compare,
    {},
    {
        isUpdated: isProjection,
        names: (name) => [
            `base_model.model.${name}`,
            `base_model.model.${name.replace(/weight$/, "lora_A.weight")}`,
            `base_model.model.${name.replace(/weight$/, "lora_B.weight")}`
        ]
    }
);
test(
    "an update of GPT-2's transposed matrices is transposed",
    compare,
    { family: "gpt2" },
    { isUpdated: (name) => /layer\.(attn|mlp)\.c_\w+\.weight$/.test(name), transposed: true }
);
test(
    "an update of the memory's matrices of a GPT-2 is not transposed",
    compare,
    { family: "gpt2" },
    { isUpdated: (name) => /W_m[qv]\.weight$/.test(name) }
);
test(
    "an update of parts of one matrix and of rows that are taken apart is added",
    compare,
    { family: "gpt_neox" },
    { isUpdated: (name) => name.endsWith("query_key_value.weight") }
);
test(
    "an update of the embedding is transposed",
    compare,
    {},
    {
        isUpdated: (name) => name.endsWith("embed_tokens.weight"),
        transposed: true,
        names: (name) => {
            const module = name.replace(/\.weight$/, "");
            return [
                `${module}.base_layer.weight`,
                `${module}.lora_embedding_A.default`,
                `${module}.lora_embedding_B.default`
            ];
        }
    }
);
test(
    "rsLoRA's scale is alpha over the root of the rank",
    compare,
    {},
    { isUpdated: isProjection, scale: alpha / 2 },
    { use_rslora: true }
);
test(
    "alpha_pattern goes before lora_alpha",
    compare,
    {},
    { isUpdated: (name) => name.endsWith("q_proj.weight"), scale: 4 },
    { alpha_pattern: { "self_attn.q_proj": 4 * rank, up_proj: 1 } }
);

test("alpha may be given, and goes before the file's", async (t) => {
    const { merged, apart } = dialects({ isUpdated: isProjection, scale: 5 });
    const plain = await makeTiny(t);
    await rewriteCheckpoint(plain, merged);
    const expected = await digest(plain);
    const folder = await makeTiny(t);
    await rewriteCheckpoint(folder, apart);
    await t.throwsAsync(digest(folder), {
        name: "ArmtError",
        message: /q_proj\.base_layer\.weight" has a LoRA update without an alpha.*--lora-alpha/
    });
    t.is(await digest(folder, { lora: { alpha: 5 * rank } }), expected);
    adapterConfig(folder);
    t.is(await digest(folder, { lora: { alpha: 5 * rank } }), expected);
    t.not(await digest(folder), expected);
});

test("merged adapters are reported, as is a missing one", async (t) => {
    const { apart } = dialects({ isUpdated: isProjection });
    const messages: string[] = [];
    const told = {
        onNote: (text: string) => messages.push(`note: ${text}`),
        onWarning: (text: string) => messages.push(text)
    };
    const plain = await makeTiny(t, { vocab: 288 });
    await digest(plain, told);
    t.deepEqual(messages.splice(0), []);
    await digest(plain, { ...told, lora: { alpha: 8 } });
    t.regex(messages.splice(0).join(), /--lora-alpha.*no weight has a LoRA update/);
    adapterConfig(plain);
    await digest(plain, told);
    t.regex(
        messages.splice(0).join(),
        /adapter_config\.json" is there, but no weight has a LoRA update: taken as merged/
    );
    await rewriteCheckpoint(plain, apart);
    await digest(plain, told);
    t.deepEqual(messages, ["note: merged the LoRA updates of 6 weights"]);
});

test("a module that was trained whole takes the place of the one before", async (t) => {
    const plain = await makeTiny(t);
    const expected = await digest(plain);
    await rewriteCheckpoint(plain, (tensor) => {
        if (!tensor.name.endsWith("lm_head.weight")) return [tensor];
        const rename = (part: string) => tensor.name.replace("lm_head.", `base_model.model.lm_head.${part}.`);
        return [
            { ...tensor, name: rename("original_module"), data: Buffer.alloc(tensor.data.length) },
            { ...tensor, name: rename("modules_to_save.default") }
        ];
    });
    t.is(await digest(plain), expected);
});

test("an update in 16 bits on a 16-bit weight is added before rounding to the out type", async (t) => {
    const { merged, apart } = dialects({ isUpdated: isProjection });
    const half = (tensor: TensorData): TensorData => ({
        ...tensor,
        dtype: "BF16",
        // eighths are exact in bfloat16
        data: Buffer.from(
            Uint16Array.from(new Uint32Array((tensor.data as Float32Array).buffer), (bits) => bits >>> 16).buffer
        )
    });
    const plain = await makeTiny(t, { dtype: "BF16" });
    const widen = (tensor: LoadedTensor): LoadedTensor => ({
        ...tensor,
        dtype: "F32",
        data: Buffer.from(Float32Array.from(decodeNumbers("BF16", tensor.data)).buffer)
    });
    await rewriteCheckpoint(plain, (tensor) => merged(widen(tensor)));
    const expected = await digest(plain, { outType: "bf16" });
    const folder = await makeTiny(t, { dtype: "BF16" });
    await rewriteCheckpoint(folder, (tensor) => apart(tensor).map((one) => (/lora_/.test(one.name) ? half(one) : one)));
    adapterConfig(folder);
    t.is(await digest(folder, { outType: undefined }), expected);
});

const refused = test.macro({
    title: (name = "") => `refused: ${name}`,
    async exec(
        t,
        rename: (names: [string, string, string]) => [string, string, string],
        config: Record<string, unknown>,
        message: RegExp
    ) {
        const folder = await makeTiny(t);
        const names = (name: string) => rename(peftNames(name));
        await rewriteCheckpoint(
            folder,
            dialects({ isUpdated: (name) => name.endsWith("0.layer.self_attn.q_proj.weight"), names }).apart
        );
        adapterConfig(folder, config);
        const error = await t.throwsAsync(digest(folder), { name: "ArmtError", message });
        t.notRegex(error.message, /\n/);
    }
});
const same = (names: [string, string, string]) => names;
const third =
    (from: string, to: string) =>
    ([weight, a, b]: [string, string, string]): [string, string, string] => [weight, a, b.replace(from, to)];

test(
    "DoRA",
    refused,
    third("lora_B.default.weight", "lora_magnitude_vector.default.weight"),
    {},
    /"memory_cell.*belongs to a DoRA adapter: not supported; merge it in PyTorch/
);
test("DoRA in the config", refused, same, { use_dora: true }, /`use_dora` changes LoRA.s computation/);
test("AdaLoRA", refused, third("lora_B.default.weight", "lora_E.default"), {}, /belongs to an AdaLoRA adapter/);
test("VeRA", refused, third("lora_B.default.weight", "vera_lambda_b.default"), {}, /belongs to a VeRA adapter/);
test("LoHa", refused, third("lora_B.default.weight", "hada_w1_a.default"), {}, /belongs to a LoHa adapter/);
test("IA3", refused, third("lora_B.default.weight", "ia3_l.default"), {}, /belongs to an IA3 adapter/);
test("another type in the config", refused, same, { peft_type: "LOHA" }, /the type "LOHA" is not supported/);
test(
    "LoRA with biases",
    refused,
    third("lora_B.default.weight", "lora_B.default.bias"),
    {},
    /LoRA adapter with biases of its own/
);
test(
    "unknown part of LoRA",
    refused,
    third("lora_B.default.weight", "lora_C.default.weight"),
    {},
    /LoRA adapter of an unknown kind/
);
test(
    "A without B",
    refused,
    third("q_proj.lora_B", "k_proj.lora_B"),
    {},
    /"memory_cell.*lora_A\.default\.weight" has no lora_B next to it/
);
test(
    "two adapters",
    refused,
    third("lora_B.default", "lora_B.other"),
    {},
    /belongs to the adapter "other", but there is another, "default"/
);
test(
    "update of another shape",
    refused,
    third("q_proj.lora_B", "q_proj.lora_B"),
    { r: 3 },
    /has a LoRA update of rank 4, ".*adapter_config\.json" says 3/
);
test("pattern that is none", refused, same, { alpha_pattern: { "q_(": 1 } }, /`alpha_pattern` has the pattern "q_\("/);
test(
    "update of a weight of other sizes",
    refused,
    ([weight, a, b]) => [
        weight,
        a.replace("self_attn.q_proj", "mlp.up_proj"),
        b.replace("self_attn.q_proj", "mlp.up_proj")
    ],
    {},
    /mlp\.up_proj\.weight" is \[64, 32\], its LoRA update \[32, 32\]/
);
test(
    "update without its weight",
    refused,
    ([weight, a, b]) => [weight.replace("q_proj", "w_proj"), a, b],
    {},
    /is an update of a weight that the checkpoint lacks/
);

test("refused: an adapter's file along with whole weights", async (t) => {
    const folder = await makeTiny(t);
    writeFileSync(path.join(folder, "adapter_model.safetensors"), "");
    await t.throwsAsync(digest(folder), {
        message: /holds a separate adapter, "adapter_model\.safetensors": merge it/
    });
    t.is(typeof (await digest(folder, { checkpoint: path.join(folder, "model.safetensors") })), "string");
});

test("refused: a tied embedding with an update that the output has not", async (t) => {
    const folder = await makeTiny(t, { tied: true });
    await rewriteCheckpoint(folder, (tensor) => {
        if (!tensor.name.endsWith("embed_tokens.weight")) return [tensor];
        const module = tensor.name.replace(/\.weight$/, "");
        return [
            tensor,
            { ...tensor, name: "memory_cell.model.lm_head.weight" },
            f32(`${module}.lora_embedding_A`, [rank, 40], eighths(rank, 40, 1)),
            f32(`${module}.lora_embedding_B`, [32, rank], eighths(32, rank, 1))
        ];
    });
    adapterConfig(folder);
    await t.throwsAsync(digest(folder), { message: /differs from ".*", but config\.json has `tie_word_embeddings`/ });
});

test("pieces that begin and end within rows add up to the whole", (t) => {
    const [rows, columns] = [7, 10];
    const values = eighths(rows, columns, 2);
    for (const transposed of [false, true]) {
        const [inputs, outputs] = transposed ? [rows, columns] : [columns, rows];
        const [a, b] = [eighths(rank, inputs, 3), eighths(outputs, rank, 5)];
        const update = { rank, scale: 0.5, transposed };
        const expected = Float32Array.from(values, (value, i) => {
            const [row, column] = [Math.floor(i / columns), i % columns];
            const [output, input] = transposed ? [column, row] : [row, column];
            let sum = 0;
            for (let k = 0; k < rank; k++) sum += b[output * rank + k]! * a[k * inputs + input]!;
            return value + 0.5 * sum;
        });
        for (const step of [1, 3, 10, 16, 70]) {
            const sums = new Float32Array(values.length);
            for (let first = 0; first < values.length; first += step)
                sums.set(addUpdate(values.subarray(first, first + step), { first, columns }, update, a, b), first);
            t.deepEqual(sums, expected, `${transposed} ${step}`);
        }
    }
});
