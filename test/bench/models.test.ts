import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { getLlama, type LlamaContextSequence, LlamaLogLevel, type Token } from "../../plugin/index.js";
import { writePlainGguf } from "../../src/bench/plain-gguf.js";
import { resolveShape } from "../../src/bench/shapes.js";
import { type WeightType, writeSyntheticModel } from "../../src/bench/synthetic.js";
import { quantizeModel } from "../../src/convert/quantize/quantize.js";
import { validateArmtModel } from "../../src/formats/gguf/armt-model.js";
import { verifyFingerprint } from "../../src/formats/gguf/fingerprint.js";
import { openGguf } from "../../src/formats/gguf/reader.js";
import { loadTiny } from "../helpers/contexts.js";
import { temporaryFolder } from "../helpers/temporary.js";

async function makeModel(t: ExecutionContext, type: WeightType): Promise<string> {
    const output = path.join(temporaryFolder(t), `${type}.gguf`);
    // RoPE factors of type llama3, as in the large shapes
    const shape = { ...resolveShape("tiny", { segmentSize: 32 }), ropeFactor: 8 };
    await writeSyntheticModel({ shape, type, output });
    return output;
}

for (const [type, expected] of [
    ["bf16", "BF16"],
    ["f16", "F16"],
    ["q8_0", "Q8_0"],
    ["q4_0", "Q4_0"]
] as const) {
    test(`a random model is complete, and its large matrices are ${type}`, async (t) => {
        const file = await makeModel(t, type);
        const info = await validateArmtModel(file);
        t.like(info, { blockCount: 2, embeddingLength: 64, headCountKv: 1, segmentSize: 32 });
        const gguf = await openGguf(file);
        t.teardown(() => gguf.close());
        t.is(gguf.tensors.get("blk.0.ffn_up.weight")!.type.name, expected);
        await verifyFingerprint(file);
        t.true(gguf.tensors.has("rope_freqs.weight"));
    });
}

test("the same shape gives the same bytes", async (t) => {
    const [a, b] = [await makeModel(t, "f16"), await makeModel(t, "f16")];
    t.is((await validateArmtModel(a)).fingerprint, (await validateArmtModel(b)).fingerprint);
});

test("the plain file computes the same as the ARMT model with an empty memory", async (t) => {
    // q8_0 kernels also round the activations, in blocks
    for (const [type, tolerance] of [
        ["f16", 1e-2],
        ["q8_0", 5e-2]
    ] as const) {
        const armt = await makeModel(t, type);
        const plain = path.join(temporaryFolder(t), "plain.gguf");
        await writePlainGguf(armt, plain);
        const llama = await getLlama({ logLevel: LlamaLogLevel.error, maxThreads: 1 });
        const ids = [5, 300, 7, 260, 91, 12, 400, 33, 8, 120] as Token[];
        const distributions = [];
        for (const modelPath of [armt, plain]) {
            const model = await llama.loadModel({ modelPath });
            const context = await model.createContext({
                contextSize: 256,
                threads: 1,
                experimentalKvCacheKeyType: "F32",
                experimentalKvCacheValueType: "F32"
            });
            distributions.push(await probabilities(context.getSequence(), ids));
            await model.dispose();
        }
        const [withMemory, stock] = distributions;
        t.is(withMemory!.length, ids.length);
        for (const [i, map] of withMemory!.entries()) {
            // total variation: 0 for equal distributions, 1 for disjoint ones
            const distance =
                [...map].reduce((sum, [token, value]) => sum + Math.abs(value - stock![i]!.get(token)!), 0) / 2;
            t.true(distance < tolerance, `${type}, row ${i}: ${distance}`);
        }
    }
});

/** Of every token after each. */
async function probabilities(sequence: LlamaContextSequence, ids: Token[]): Promise<Map<Token, number>[]> {
    const result = await sequence.controlledEvaluate(
        ids.map((id) => [id, { generateNext: { probabilities: true } }] as const).map(([id, options]) => [id, options])
    );
    return result.map((entry) => entry!.next.probabilities!);
}

test("a model that stock llama.cpp cannot run is refused, with the reason", async (t) => {
    const { file } = await loadTiny(t);
    await t.throwsAsync(writePlainGguf(file, path.join(temporaryFolder(t), "plain.gguf")), {
        message: /has no tokenizer, and its vocabulary of 96 has no room.*--no-stock/
    });
});

test("the plain file of a model with mixed types takes each layer from the right stack", async (t) => {
    const folder = temporaryFolder(t);
    const armt = await makeModel(t, "bf16");
    const mixed = path.join(folder, "mixed.gguf");
    await quantizeModel({ input: armt, output: mixed, mixture: "q4_k_m" });
    const plain = path.join(folder, "plain.gguf");
    await writePlainGguf(mixed, plain);
    const [from, to] = [await openGguf(mixed), await openGguf(plain)];
    t.teardown(async () => Promise.all([from.close(), to.close()]));
    for (let layer = 0; layer < 2; layer++) {
        const stack = [layer, 0].map((first) => `blk.${first}.ffn_down.weight`).find((name) => from.tensors.has(name))!;
        const bytes = to.tensors.get(`blk.${layer}.ffn_down.weight`)!.byteLength;
        const start = stack.startsWith(`blk.${layer}.`) ? 0 : layer * bytes;
        t.is(to.tensors.get(`blk.${layer}.ffn_down.weight`)!.type.name, from.tensors.get(stack)!.type.name);
        t.deepEqual(
            await to.readTensor(`blk.${layer}.ffn_down.weight`),
            await from.readTensor(stack, start, start + bytes)
        );
    }
});
