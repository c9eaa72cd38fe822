import path from "node:path";
import test, { type ExecutionContext } from "ava";
import {
    type CustomBatchingPrioritizationStrategy,
    DisposedError,
    getLlama,
    InputLookupTokenPredictor,
    type Llama,
    LlamaLogLevel,
    type LlamaModel,
    type Token
} from "node-llama-cpp";
import { ArmtEvalError, ArmtNativeError, ArmtUnsupportedError } from "../../plugin/errors.js";
import type { ArmtModelInfo } from "../../plugin/index.js";
import { decorateModel } from "../../plugin/model/decorate-model.js";
import { FakeAddon } from "../helpers/fake-addon.js";
import { writePlainModel } from "../helpers/plain-model.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { until } from "../helpers/until.js";

let llama: Llama;
test.before(async () => {
    llama = await getLlama({ gpu: false, build: "never", maxThreads: 1, logLevel: LlamaLogLevel.disabled });
});
test.after.always(() => llama?.dispose());

const fakeInfo: ArmtModelInfo = {
    baseArchitecture: "llama",
    segmentSize: 8,
    segmentAlignment: "left",
    memoryKind: "associative",
    memoryTokens: 2,
    keyLength: 1,
    dpfpOrder: 3,
    memoryHeads: 1,
    normalizeKeys: true,
    useDenom: true,
    correction: true,
    gating: false,
    sinkTokens: 0,
    seesPreviousSegment: false,
    rereadsPreviousSegment: false,
    layers: 1,
    embeddingLength: 32,
    vocabSize: 260,
    ask: undefined,
    fingerprint: "",
    earlierFingerprints: []
};

/** A plain model, decorated as an ARMT model, with an engine that only records its calls. */
async function fakeModel(
    t: ExecutionContext,
    alignment: "left" | "right" | "center" = "left",
    vocabSize = 260
): Promise<{ model: LlamaModel; addon: FakeAddon }> {
    const file = path.join(temporaryFolder(t), "plain.gguf");
    await writePlainModel(file);
    const model = await llama.loadModel({ modelPath: file });
    t.teardown(() => model.dispose());
    const addon = new FakeAddon();
    return { model: decorateModel(model, addon, { ...fakeInfo, segmentAlignment: alignment, vocabSize }), addon };
}

const ids = (...values: number[]) => values as Token[];

test("options reach the engine before the context is created, and are reset afterwards", async (t) => {
    const { model, addon } = await fakeModel(t);
    await model.createContext({ contextSize: 64, armt: { schedule: "diagonal", maxCells: 3 } });
    const expected = {
        schedule: 2,
        segmentOverflow: 0,
        segmentSize: 0,
        openSegmentLimit: 0,
        maxCells: 3,
        textsPerLayer: 0,
        stateType: 0,
        precision: 0,
        fp8Products: 0
    };
    t.deepEqual(addon.calls, [
        ["setContextOptions", expected],
        ["setContextOptions", null]
    ]);
});

test("contexts created at the same time do not mix up their options", async (t) => {
    const { model, addon } = await fakeModel(t);
    await Promise.all([1, 2, 3].map((maxCells) => model.createContext({ contextSize: 64, armt: { maxCells } })));
    const cells = addon.calls.map(([, options]) => (options as { maxCells: number } | null)?.maxCells);
    t.deepEqual(cells, [1, undefined, 2, undefined, 3, undefined]);
});

test("a bad option is refused before any native call", async (t) => {
    const { model, addon } = await fakeModel(t);
    await t.throwsAsync(model.createContext({ armt: { segmentSize: 0 } }), { instanceOf: RangeError });
    t.deepEqual(addon.calls, []);
});

test("a context created by another library is an error", async (t) => {
    const { model, addon } = await fakeModel(t);
    addon.knowsContexts = false;
    await t.throwsAsync(model.createContext({ contextSize: 64 }), {
        instanceOf: ArmtNativeError,
        message: /another libllama.*armt doctor/
    });
});

test("the numbers of a context and its sequence come from the engine", async (t) => {
    const { model, addon } = await fakeModel(t);
    const context = await model.createContext({ contextSize: 64 });
    const { armt } = context.getSequence();
    addon.stats = {
        ...addon.stats,
        tokens: 20,
        openTokens: 4,
        segmentsClosed: 2,
        cells: 2,
        graphs: 5,
        graphsReused: 3
    };
    t.like(armt, { tokens: 20, openTokens: 4, segmentsClosed: 2, cells: 2, graphs: 5, graphsReused: 3 });
    t.like(armt, { schedule: "diagonal", segmentSize: 8, memoryBytes: 792 });
    t.like(context.armt, { segmentOverflow: "extend", openSegmentLimit: 16, maxCells: 4, totalBytes: 2000 });
    t.like(context.armt, { graphs: 9, graphsReused: 7, graphsReplayed: 6, graphParts: 12 });
    t.deepEqual(context.armt!.fp8Counts, { computed: 40, left: 8 });
});

test("with right alignment the engine gets the size of the first segment, for the first prompt only", async (t) => {
    const { model, addon } = await fakeModel(t, "right");
    const sequence = (await model.createContext({ contextSize: 64 })).getSequence();
    addon.calls.length = 0;
    await sequence.evaluateWithoutGeneratingNewTokens(ids(1, 5, 6, 7, 8, 9, 10, 11, 12, 13));
    await sequence.evaluateWithoutGeneratingNewTokens(ids(14, 15));
    t.deepEqual(addon.calls, [
        ["planSegments", 0, 2, 8, 10],
        ["read", [0, 0, [1, 5, 6, 7, 8, 9, 10, 11, 12, 13]]],
        ["read", [0, 10, [14, 15]]]
    ]);
});

test("left alignment needs no plan", async (t) => {
    const { model, addon } = await fakeModel(t);
    const sequence = (await model.createContext({ contextSize: 64 })).getSequence();
    addon.calls.length = 0;
    await sequence.evaluateWithoutGeneratingNewTokens(ids(1, 5, 6));
    t.deepEqual(addon.calls, [["read", [0, 0, [1, 5, 6]]]]);
});

for (const through of ["node-llama-cpp", "the addon"])
    test(`a failed evaluation through ${through} gives the engine's reason, and the sequence counts what it holds`, async (t) => {
        // node-llama-cpp's library has 260 tokens and fails for others
        const { model, addon } = await fakeModel(t, "left", 100_000);
        const sequence = (await model.createContext({ contextSize: 64, batchSize: 4 })).getSequence();
        const reason = "armt: the engine's reason";
        addon.message = reason;
        if (through === "the addon") addon.readFailure = reason;
        addon.stats = { ...addon.stats, tokens: 2 };
        const tokens = ids(1, 5, 6, 99999);
        const evaluation =
            through === "the addon"
                ? sequence.evaluateWithoutGeneratingNewTokens(tokens)
                : sequence.evaluate(tokens).next();
        const error = await t.throwsAsync<Error>(evaluation, { instanceOf: ArmtEvalError, message: reason });
        if (through === "node-llama-cpp") t.true(error?.cause instanceof Error);
        t.deepEqual(sequence.contextTokens, ids(1, 5));
        t.is(sequence.nextTokenIndex, 2);
    });

test("a cancelled evaluation rejects with its reason", async (t) => {
    const { model, addon } = await fakeModel(t);
    addon.readMs = 10;
    let batches = 0;
    const itemPrioritizationStrategy: CustomBatchingPrioritizationStrategy = ({ items }) => {
        batches++;
        return items.map((item) => ({ item, processAmount: 1 }));
    };
    const batching = { itemPrioritizationStrategy };
    // a batch holds more than the strategy chooses, so that it chooses each of them
    const sequence = (await model.createContext({ contextSize: 4096, batchSize: 2, batching })).getSequence();
    const reason = new Error("enough");
    const evaluation = sequence.evaluateWithoutGeneratingNewTokens(ids(...Array.from({ length: 4000 }, () => 5)));
    await until(() => batches > 3, "some tokens are read");
    sequence.armt!.cancelEvaluation(reason);
    t.is(await t.throwsAsync(evaluation), reason);
    t.true(addon.stats.tokens < 4000);
});

test("token predictors are refused", async (t) => {
    const { model } = await fakeModel(t);
    const context = await model.createContext({ contextSize: 64 });
    t.throws(() => context.getSequence({ tokenPredictor: new InputLookupTokenPredictor() }), {
        instanceOf: ArmtUnsupportedError,
        message: /token predictors/
    });
});

test("contexts for embeddings and ranking are refused", async (t) => {
    const { model } = await fakeModel(t);
    await t.throwsAsync(model.createEmbeddingContext(), { message: /do not support createEmbeddingContext/ });
    await t.throwsAsync(model.createRankingContext(), { message: /do not support createRankingContext/ });
});

test("logits come in batches, and the sequence counts their tokens", async (t) => {
    const { model, addon } = await fakeModel(t);
    const sequence = (await model.createContext({ contextSize: 64, batchSize: 2 })).getSequence();
    addon.calls.length = 0;
    const pieces: number[][] = [];
    for await (const piece of sequence.armt!.evaluateLogits(ids(1, 5, 6))) pieces.push([...piece]);
    t.deepEqual(pieces, [[1, 5], [6]]);
    t.deepEqual(addon.calls, [
        ["decode", [1, 5], 0],
        ["decode", [6], 2]
    ]);
    t.deepEqual(sequence.contextTokens, ids(1, 5, 6));
});

test("an error of the engine reaches the caller unchanged", async (t) => {
    const { model } = await fakeModel(t);
    const { armt } = (await model.createContext({ contextSize: 64 })).getSequence();
    await t.throwsAsync(armt!.readMemory(9), { instanceOf: ArmtEvalError, message: "layer 9 does not exist" });
});

test("a disposed sequence refuses every call", async (t) => {
    const { model, addon } = await fakeModel(t);
    const sequence = (await model.createContext({ contextSize: 64 })).getSequence();
    await sequence.dispose();
    addon.calls.length = 0;
    t.throws(() => sequence.armt!.tokens, { instanceOf: DisposedError });
    await t.throwsAsync(sequence.armt!.closeSegment(), { instanceOf: DisposedError });
    t.deepEqual(addon.calls, []);
});
