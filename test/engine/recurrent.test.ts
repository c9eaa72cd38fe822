import { writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { ArmtMemoryStore, type Token } from "../../plugin/index.js";
import { openCheckpoint } from "../../src/convert/open-checkpoint.js";
import { describeGguf } from "../../src/formats/gguf/describe.js";
import { ChatTemplate } from "../../src/generation/chat-template/ChatTemplate.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import { runPlainRecurrent } from "../../src/verify/plain-recurrent.js";
import { verifyModel } from "../../src/verify/verify-model.js";
import { runArmt } from "../helpers/armt-command.js";
import { assertClose } from "../helpers/compare.js";
import { generateGreedy, loadModel, readLogits, withContext, withSequence } from "../helpers/contexts.js";
import { readRecurrentGolden, recurrentGoldenNames } from "../helpers/golden.js";
import { rewriteCheckpoint } from "../helpers/rewrite-checkpoint.js";
import { post, send, startServer } from "../helpers/server.js";
import { temporaryFolder } from "../helpers/temporary.js";

const close = { within: 5e-4, rowLength: 64 };
const segmentSize = 12;

for (const name of recurrentGoldenNames) {
    test(`plain RMT: engine and plain model give the logits and the state of NumPy, ${name}`, async (t) => {
        const golden = await readRecurrentGolden(name);
        const checkpoint = await openCheckpoint({ checkpoint: golden.folder });
        t.teardown(() => checkpoint.weights.close());
        const plain = await runPlainRecurrent(checkpoint, golden.ids, { segmentSize });
        const all = Float64Array.from(plain.logits.flatMap((segment) => [...segment]));
        assertClose(t, all, golden.logits, { within: 2e-5, rowLength: 64, what: "plain model: logits" });
        assertClose(t, plain.memories[0]!.a, golden.memories[0]!.a, {
            within: 1e-5,
            rowLength: 32,
            what: "plain model: state"
        });
        const { model, file } = await loadModel(t, golden.folder);
        for (const batchSize of [1, 7, segmentSize, segmentSize + 3, golden.ids.length])
            await withSequence(model, { batchSize }, async (sequence) => {
                const what = `batch size ${batchSize}`;
                assertClose(t, await readLogits(sequence, golden.ids), golden.logits, { ...close, what });
                await sequence.armt!.closeSegment();
                const { a, z, shape } = await sequence.armt!.readMemory(0);
                t.deepEqual([shape, z], [[1, 5, 32], undefined]);
                assertClose(t, a, golden.memories[0]!.a, { within: 1e-4, rowLength: 32, what: `${what}: state` });
                await t.throwsAsync(sequence.armt!.readMemory(1), { message: /one state for all layers/ });
            });
        const report = await verifyModel(
            { model: file, against: golden.folder, segments: 3, json: true, batchSize: 512, verify: true, threads: 1 },
            new AbortController().signal
        );
        t.true(report.passed, JSON.stringify(report));
    });

    test(`plain RMT: states, snapshots and parallel sequences keep their own state, ${name}`, async (t) => {
        const golden = await readRecurrentGolden(name);
        const { model } = await loadModel(t, golden.folder);
        const file = path.join(temporaryFolder(t), "state");
        const cut = 2 * segmentSize + 5;
        const rest = golden.ids.slice(cut);
        await withSequence(model, { batchSize: 9 }, async (sequence) => {
            await sequence.evaluateWithoutGeneratingNewTokens(golden.ids.slice(0, cut) as Token[]);
            await sequence.saveStateToFile(file);
        });
        await withContext(model, { sequences: 3, batchSize: 200 }, async (context) => {
            const [loaded, whole, forked] = [context.getSequence(), context.getSequence(), context.getSequence()];
            await loaded.loadStateFromFile(file, { acceptRisk: true });
            const fork = await loaded.armt!.snapshot();
            await forked.armt!.restore(fork);
            fork.dispose();
            const [one, two, three] = await Promise.all([
                readLogits(loaded, rest),
                readLogits(whole, golden.ids),
                readLogits(forked, rest)
            ]);
            assertClose(t, one, golden.logits.slice(cut * 64), { ...close, what: "loaded" });
            assertClose(t, two, golden.logits, { ...close, what: "whole" });
            assertClose(t, three, golden.logits.slice(cut * 64), { ...close, what: "forked" });
            await whole.clearHistory();
            assertClose(t, await readLogits(whole, golden.ids), golden.logits, { ...close, what: "cleared" });
        });
        await withSequence(model, {}, async (sequence) => {
            t.is((await generateGreedy(sequence, golden.ids, 20)).length, 20);
        });
    });
}

test("plain RMT is sequential, and its file says so", async (t) => {
    const golden = await readRecurrentGolden("rmt");
    const { model, file } = await loadModel(t, golden.folder);
    t.like(model.armt, { memoryKind: "recurrent", memoryTokens: 5, keyLength: 0 });
    t.regex((await describeGguf(file)).toText(), /plain RMT: .* 640 bytes a sequence; read segment by segment/);
    await t.throwsAsync(
        withContext(model, { schedule: "diagonal" }, async () => {}),
        { message: /schedule is "diagonal", but the model is plain RMT/ }
    );
    for (const stateType of ["f16", "bf16"] as const)
        await withSequence(model, { stateType }, async (sequence) => {
            const logits = await readLogits(sequence, golden.ids);
            assertClose(t, logits, golden.logits, { within: 0.3, rowLength: 64, what: stateType });
        });
});

test("plain RMT: a store starts from the longest shared prefix", async (t) => {
    const golden = await readRecurrentGolden("rmt");
    const { model } = await loadModel(t, golden.folder);
    const store = await ArmtMemoryStore.open({ checkpointInterval: 1 });
    t.teardown(() => store.dispose());
    const cut = 3 * segmentSize + 2;
    for (const [length, cached] of [
        [cut, 0],
        [golden.ids.length - 5, 3 * segmentSize]
    ] as const)
        await withSequence(model, { memoryStore: store }, async (sequence) => {
            await sequence.evaluateWithoutGeneratingNewTokens(golden.ids.slice(0, length) as Token[]);
            t.is(sequence.armt!.cachedTokens, cached);
            const rest = await readLogits(sequence, golden.ids.slice(length));
            assertClose(t, rest, golden.logits.slice(length * 64), { ...close, what: `after ${length} tokens` });
        });
});

const book = "The garden was quiet, and nobody walked there until the evening came. ".repeat(3);

/** Plain RMT with random weights and a tokenizer. */
async function makeRecurrent(t: ExecutionContext): Promise<string> {
    const folder = temporaryFolder(t);
    await makeTinyCheckpoint(folder, { layers: 2, segmentSize: 16 });
    await rewriteCheckpoint(folder, (tensor) =>
        /W_m[qkvb]/.test(tensor.name) ? [] : [{ ...tensor, name: tensor.name.replace(/\.layer\./, ".") }]
    );
    return (await loadModel(t, folder)).file;
}

test("plain RMT: the server answers from a memory, in a completion and in a chat", async (t) => {
    const file = await makeRecurrent(t);
    const { url, server } = await startServer(t, { tiny: { file }, sequences: 1 });
    const headers = { "content-type": "text/plain" };
    const memory = (await send(`${url}/v1/armt/memories`, { headers, body: book })).json();
    t.is(memory.status, "complete");
    t.true(Number(memory.segments) > 3);
    const ask = async (route: string, body: object) => {
        const { status, json } = await post(`${url}${route}`, { temperature: 0, max_tokens: 8, ...body });
        t.is(status, 200);
        return json() as unknown as {
            choices: { text?: string; message?: { content: string } }[];
            usage: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } };
        };
    };
    const question = "\nWho walked?";
    const kept = await ask("/v1/completions", { prompt: question, armt: { memory: memory.id } });
    const whole = await ask("/v1/completions", { prompt: book + question });
    t.is(kept.choices[0]!.text, whole.choices[0]!.text);

    const messages = [{ role: "user", content: "Who walked?" }];
    const chat = await ask("/v1/chat/completions", { messages, armt: { memory: memory.id } });
    t.is(chat.usage.prompt_tokens_details.cached_tokens, Number(memory.tokens));
    const { tokens } = await new ChatTemplate(server.engine.model).render([{ role: "user", text: "Who walked?" }]);
    const rest = tokens[0] === server.engine.model.tokens.bos ? tokens.slice(1) : tokens;
    const read = await server.engine.tokenize(book, { begin: true });
    t.is(chat.usage.prompt_tokens, read.length + rest.length);
    const same = await ask("/v1/completions", { prompt: [...read, ...rest] });
    t.is(chat.choices[0]!.message!.content.trim(), same.choices[0]!.text!.trim());
});

test("plain RMT: armt read keeps a text, and armt ask answers as if it were read again", async (t) => {
    const model = await makeRecurrent(t);
    const folder = temporaryFolder(t);
    const memory = path.join(folder, "book.armt");
    const text = path.join(folder, "book.txt");
    writeFileSync(text, book);
    const common = ["--threads", "1", "--json"];
    const read = await runArmt(["read", text, "-m", model, "-o", memory, ...common]);
    t.is(read.code, 0, read.stderr);
    const generation = ["-n", "12", "--ignore-eos", ...common];
    const asked = await runArmt(["ask", memory, "Who walked?", ...generation]);
    t.is(asked.code, 0, asked.stderr);
    const whole = await runArmt(["run", model, "-p", `${book}\nWho walked?`, "--no-cache", ...generation]);
    t.is(whole.code, 0, whole.stderr);
    t.deepEqual(JSON.parse(asked.stdout).tokens, JSON.parse(whole.stdout).tokens);
    const chat = await runArmt(["chat", memory, "--threads", "1", "-n", "4"], { input: "Who walked?\n" });
    t.is(chat.code, 0, chat.stderr);
});
