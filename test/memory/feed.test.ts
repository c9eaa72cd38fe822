import path from "node:path";
import test from "ava";
import { ArmtError, type LlamaContextSequence, type Token } from "../../plugin/index.js";
import { runNode } from "../helpers/armt-command.js";
import { assertClose } from "../helpers/compare.js";
import { loadTiny, readLogits, withContext, withSequence } from "../helpers/contexts.js";
import { repositoryRoot } from "../helpers/repository.js";
import { textIds } from "../helpers/tokens.js";
import { until } from "../helpers/until.js";

const probe = textIds(11, 96, 5);
const paragraph = "It was the best of times, it was the worst of times.\nIt was the age of wisdom — 1789, naïve.\n\n";

test("a fed text gets the tokens of the whole text, however it arrives", async (t) => {
    const { model } = await loadTiny(t, { vocab: 288 });
    const text = paragraph.repeat(200);
    const whole = model.tokenize(text);
    const expected = [model.tokens.bos, ...whole];
    const characters = async function* () {
        for (let start = 0; start < text.length; start += 997) yield text.slice(start, start + 997);
    };
    const sources = {
        "one string": [text],
        "an async generator": characters(),
        "a stream of ids": [expected as Token[]]
    };
    for (const [what, source] of Object.entries(sources)) {
        await withSequence(model, { schedule: "diagonal" }, async (sequence) => {
            const steps: number[] = [];
            const result = await sequence.armt!.feed(source, { onProgress: ({ tokens }) => steps.push(tokens) });
            t.is(result.tokens, expected.length, what);
            t.is(result.characters, what === "a stream of ids" ? 0 : text.length, what);
            t.deepEqual(sequence.contextTokens, expected as Token[], what);
            t.true(steps.length > 1 && steps.every((step, i) => i === 0 || step > steps[i - 1]!), what);
            t.is(steps.at(-1), expected.length);
        });
    }
});

test("a feed continues after what the sequence holds, and ids and text may alternate", async (t) => {
    const { model } = await loadTiny(t, { vocab: 288 });
    await withSequence(model, {}, async (sequence) => {
        await sequence.armt!.feed(["Hello ", "wor", "ld"]);
        const first = [model.tokens.bos!, ...model.tokenize("Hello world")];
        t.deepEqual(sequence.contextTokens, first);
        t.deepEqual(await sequence.armt!.feed([[5, 6] as Token[], "again", [] as Token[]]), {
            tokens: 2 + model.tokenize("again").length,
            characters: 5
        });
        t.deepEqual(sequence.contextTokens, [...first, 5, 6, ...model.tokenize("again")] as Token[]);
        t.deepEqual(await sequence.armt!.feed([]), { tokens: 0, characters: 0 });
        t.deepEqual(await sequence.armt!.feed([""]), { tokens: 0, characters: 0 });
    });
});

const goesOn = (sequence: LlamaContextSequence) => readLogits(sequence, probe);

test("an abort stops a feed at a known token, and the sequence continues from there", async (t) => {
    const { model } = await loadTiny(t);
    const ids = textIds(60_000, 96) as Token[];
    for (const schedule of ["sequential", "diagonal"] as const) {
        await withContext(model, { schedule, sequences: 2, batchSize: 64 }, async (context) => {
            const sequence = context.getSequence();
            const controller = new AbortController();
            const feeding = sequence.armt!.feed([ids], { signal: controller.signal });
            await until(() => sequence.armt!.tokens > 100, "some tokens are read");
            controller.abort(new Error("enough"));
            await t.throwsAsync(feeding, { message: "enough" });
            const { tokens } = sequence.armt!;
            t.true(tokens > 0 && tokens < ids.length);
            t.deepEqual(sequence.contextTokens, ids.slice(0, tokens));
            const truth = context.getSequence();
            await truth.evaluateWithoutGeneratingNewTokens(ids.slice(0, tokens));
            const close = { within: 1e-4, rowLength: 96, what: schedule };
            assertClose(t, await goesOn(sequence), await goesOn(truth), close);
        });
    }
});

test("an abort ends a feed whose source is stuck, and a feed that is already aborted never starts", async (t) => {
    const { model } = await loadTiny(t);
    const stalled = async function* () {
        yield textIds(20, 96) as Token[];
        await new Promise(() => {});
    };
    await withSequence(model, {}, async (sequence) => {
        const controller = new AbortController();
        const onProgress = () => controller.abort(new Error("enough"));
        await t.throwsAsync(sequence.armt!.feed(stalled(), { signal: controller.signal, onProgress }), {
            message: "enough"
        });
        t.is(sequence.nextTokenIndex, 20);
        await t.throwsAsync(sequence.armt!.feed([[1] as Token[]], { signal: controller.signal }), {
            message: "enough"
        });
        t.is(sequence.nextTokenIndex, 20);
    });
});

test("after a failing source or a token outside the vocabulary, what was read stays", async (t) => {
    const { model } = await loadTiny(t);
    const failing = async function* () {
        yield textIds(20, 96) as Token[];
        throw new Error("line is dead");
    };
    await withSequence(model, {}, async (sequence) => {
        await t.throwsAsync(sequence.armt!.feed(failing()), { message: "line is dead" });
        t.is(sequence.nextTokenIndex, 20);
        await t.throwsAsync(sequence.armt!.feed([[1, 2, 96] as Token[]]));
        t.is(sequence.nextTokenIndex, sequence.armt!.tokens);
        await goesOn(sequence);
        await t.throwsAsync(sequence.armt!.feed(["text"]), {
            instanceOf: ArmtError,
            message: /no tokenizer; pass token ids/
        });
        await t.throwsAsync(sequence.armt!.feed([], { keepTokens: -1 }), {
            instanceOf: RangeError,
            message: /keepTokens/
        });
    });
});

test("a feed is cut from the left, since its length is unknown", async (t) => {
    for (const alignment of ["right", "center"] as const) {
        const { model } = await loadTiny(t, { segmentSize: 8, alignment });
        await withContext(model, { sequences: 2 }, async (context) => {
            const [fed, prompted] = [context.getSequence(), context.getSequence()];
            await fed.armt!.feed([textIds(4, 96) as Token[], textIds(16, 96, 2) as Token[]]);
            t.like(fed.armt!, { segmentsClosed: 2, openTokens: 4 });
            await prompted.evaluateWithoutGeneratingNewTokens(textIds(20, 96) as Token[]);
            t.like(prompted.armt!, { segmentsClosed: 2, openTokens: alignment === "right" ? 8 : 6 });
        });
    }
});

test("ids beyond keepTokens are only counted", async (t) => {
    const { model } = await loadTiny(t);
    const ids = textIds(10_000, 96) as Token[];
    await withContext(model, { sequences: 2 }, async (context) => {
        const [sequence, truth] = [context.getSequence(), context.getSequence()];
        await sequence.armt!.feed([ids], { keepTokens: 8000 });
        t.is(sequence.nextTokenIndex, 10_000);
        t.is((await sequence.armt!.snapshot()).hasTokenIds, false);
        await truth.armt!.feed([ids]);
        t.true((await truth.armt!.snapshot()).hasTokenIds);
        const close = { within: 1e-5, rowLength: 96, what: "not kept:" };
        assertClose(t, await goesOn(sequence), await goesOn(truth), close);
        t.is(sequence.nextTokenIndex, 10_000 + probe.length);
        await t.throwsAsync(sequence.eraseContextTokenRanges([{ start: 5, end: 10 }]), {
            instanceOf: ArmtError,
            message: /because their ids were not kept/
        });
        t.is(sequence.nextTokenIndex, 0);
        t.is(sequence.armt!.tokens, 0);
        await sequence.armt!.feed([ids.slice(0, 10)]);
        t.true((await sequence.armt!.snapshot()).hasTokenIds);
    });
});

test("memory does not grow with tokens whose ids are not kept", async (t) => {
    t.timeout(600_000);
    const { file } = await loadTiny(t, { layers: 1, hidden: 32, heads: 2, segmentSize: 256, dMem: 8 });
    const script = path.join(repositoryRoot, "dist", "test", "helpers", "feed-growth-process.js");
    const { stdout, stderr } = await runNode(["--expose-gc", script, file, "40", "160"]);
    t.is(stderr, "");
    const { before, after, tokens } = JSON.parse(stdout);
    t.is(tokens, 160 * 8192);
    // one number for each token would be 7.5 MiB
    t.true(after - before < 2 ** 20, `${((after - before) / 2 ** 20).toFixed(1)} MiB more`);
});

test("a full context is reported before anything is read", async (t) => {
    const { model } = await loadTiny(t);
    const context = await model.createContext({ contextSize: 256, threads: 1 });
    const sequence = context.getSequence();
    await sequence.armt!.feed([textIds(200, 96) as Token[]]);
    await t.throwsAsync(sequence.armt!.feed([textIds(100, 96) as Token[]]), {
        instanceOf: ArmtError,
        message: /the context holds 256 tokens, and 300 are needed; create it with a larger `contextSize`/
    });
    t.is(sequence.armt!.tokens, 200);
    await context.dispose();
    await t.throwsAsync(sequence.armt!.feed([[1] as Token[]]));
});

test("a prompt that does not fit into the context is an error, and no token is silently dropped", async (t) => {
    const { model } = await loadTiny(t);
    const context = await model.createContext({ contextSize: 256, threads: 1 });
    const sequence = context.getSequence();
    await t.throwsAsync(sequence.evaluateWithoutGeneratingNewTokens(textIds(600, 96) as Token[]), {
        instanceOf: ArmtError,
        message: /the context is full: it holds 256 tokens, and ARMT models do not support context shift/
    });
    t.is(sequence.nextTokenIndex, sequence.armt!.tokens);
    await sequence.clearHistory();
    await sequence.evaluateWithoutGeneratingNewTokens(textIds(20, 96) as Token[]);
    t.is(sequence.armt!.tokens, 20);
    await context.dispose();
});
