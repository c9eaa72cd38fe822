import { writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import {
    ArmtEvalError,
    type ArmtProgress,
    DisposedError,
    LlamaChatSession,
    LlamaCompletion,
    type Token
} from "../../plugin/index.js";
import { generateGreedy, loadTiny, readLogits, withContext, withSequence } from "../helpers/contexts.js";
import { textIds } from "../helpers/tokens.js";

const ids = textIds(40, 96) as Token[];

test("the model's info matches the checkpoint", async (t) => {
    const { model } = await loadTiny(t, { layers: 3, segmentSize: 12, memTokens: 5, dMem: 8, alignment: "right" });
    t.like(model.armt, {
        baseArchitecture: "llama",
        layers: 3,
        segmentSize: 12,
        memoryTokens: 5,
        keyLength: 8,
        segmentAlignment: "right",
        vocabSize: 96
    });
});

test("a sequence counts tokens, segments and cells", async (t) => {
    const { model } = await loadTiny(t, { layers: 3 });
    for (const schedule of ["sequential", "diagonal"] as const) {
        await withSequence(model, { schedule }, async (sequence) => {
            const armt = sequence.armt!;
            t.like(armt, { tokens: 0, openTokens: 0, segmentsClosed: 0, cells: 0, graphs: 0 });
            await generateGreedy(sequence, ids, 1);
            t.like(armt, { schedule, segmentSize: 16, tokens: 40, openTokens: 8, segmentsClosed: 2, cells: 6 });
            t.true(armt.graphs > 0);
            // A is K x D, z is K, in each of 3 layers, of four bytes
            t.is(armt.memoryBytes, 3 * 4 * (2 * 3 * 16) * (64 + 1));
        });
    }
});

test("the context size of an ARMT model is unbounded by default", async (t) => {
    const { model } = await loadTiny(t);
    await withContext(model, {}, async (context) => t.is(context.contextSize, 2 ** 30));
    await withContext(model, { sequences: 3 }, async (context) => {
        t.true(context.contextSize * 3 < 2 ** 31);
        t.true(context.contextSize * 3 > 2 ** 31 - 2 ** 11);
    });
});

test("no state is saved while a prompt is read, unless an interval is given", async (t) => {
    const { model } = await loadTiny(t, { layers: 3 });
    const prompt = textIds(16 * 40 + 3, 96) as Token[];
    await withContext(model, { schedule: "diagonal", batchSize: 64, sequences: 2 }, async (context) => {
        const [plain, asked] = [context.getSequence(), context.getSequence({ checkpoints: { interval: 100 } })];
        for (const sequence of [plain, asked]) {
            await sequence.evaluateWithoutGeneratingNewTokens(prompt.slice(0, 16));
            await generateGreedy(sequence, prompt.slice(16), 1);
        }
        t.is(plain.checkpointsMemoryUsage, 0);
        t.true(asked.checkpointsMemoryUsage > 0);
        // 40 segments take one diagonal each, plus two to drain the pipeline; the open segment takes one graph
        t.is(plain.armt!.graphs, 40 + 2 + 1);
        t.true(asked.armt!.graphs > plain.armt!.graphs);
    });
});

test("progress grows to the whole prompt and counts its segments", async (t) => {
    const { model } = await loadTiny(t, { layers: 3 });
    const reports: ArmtProgress[] = [];
    const onProgress = (report: ArmtProgress) => reports.push(report);
    await withSequence(model, { onProgress, batchSize: 8 }, async (sequence) => {
        await generateGreedy(sequence, ids, 3);
        t.deepEqual(reports.at(-1), { tokensDone: 40, tokensTotal: 40, segments: 2, cells: 6 });
        for (const [i, { tokensDone }] of reports.entries()) t.true(i === 0 || tokensDone > reports[i - 1]!.tokensDone);
        // a generated token is not a prompt
        t.is(reports.filter(({ tokensTotal }) => tokensTotal !== 40).length, 0);
    });
});

test("a full open segment with extend is an error, and the sequence works again after it is cleared", async (t) => {
    const { model } = await loadTiny(t);
    await withSequence(model, { segmentOverflow: "extend", openSegmentLimit: 20 }, async (sequence) => {
        const expected = await generateGreedy(sequence, ids, 4);
        const error = await t.throwsAsync(generateGreedy(sequence, [...ids.slice(0, 1)], 30), {
            instanceOf: ArmtEvalError
        });
        t.regex(error!.message, /20/);
        t.is(sequence.nextTokenIndex, sequence.armt!.tokens);
        await sequence.clearHistory();
        t.is(sequence.armt!.tokens, 0);
        t.deepEqual(await generateGreedy(sequence, ids, 4), expected);
    });
});

test("a token outside the vocabulary is an error, and nothing is lost", async (t) => {
    const { model } = await loadTiny(t);
    await withSequence(model, {}, async (sequence) => {
        await readLogits(sequence, ids.slice(0, 20));
        await t.throwsAsync(readLogits(sequence, [5, 96]), {
            instanceOf: ArmtEvalError,
            message: /token id 96.*96 tokens/
        });
        await t.throwsAsync(generateGreedy(sequence, [5, 96], 1), {
            instanceOf: ArmtEvalError,
            message: /token id 96.*96 tokens/
        });
        t.is(sequence.nextTokenIndex, sequence.armt!.tokens);
    });
});

test("options that do not fit the model are an error with the engine's reason", async (t) => {
    const { model } = await loadTiny(t);
    await t.throwsAsync(model.createContext({ armt: { segmentOverflow: "extend", openSegmentLimit: 3 } }), {
        message: /open.?segment.?limit/i
    });
});

test("a segment whose mask does not fit into memory is an error with both sizes", async (t) => {
    const { model } = await loadTiny(t);
    await t.throwsAsync(model.createContext({ armt: { segmentSize: 2 ** 20 } }), {
        name: "ArmtError",
        message: /a segment of 10485\d\d rows needs 20\d\d\.\d GiB for its mask, and \d+\.\d GiB of memory are free/
    });
});

test("a sequence of a disposed context throws DisposedError", async (t) => {
    const { model } = await loadTiny(t);
    const context = await model.createContext();
    const sequence = context.getSequence();
    const { armt } = sequence;
    await context.dispose();
    t.throws(() => armt!.tokens, { instanceOf: DisposedError });
    await t.throwsAsync(armt!.closeSegment(), { instanceOf: DisposedError });
});

test("a chat session and a completion run over several segments", async (t) => {
    const { model } = await loadTiny(t, { vocab: 288 });
    await withSequence(model, {}, async (sequence) => {
        const session = new LlamaChatSession({ contextSequence: sequence });
        const answer = await session.prompt("What is in the box? ".repeat(4), { maxTokens: 24 });
        t.is(typeof answer, "string");
        t.true(sequence.armt!.segmentsClosed >= 3);
        await session.prompt("And now?", { maxTokens: 8 });
    });
    await withSequence(model, {}, async (sequence) => {
        const completion = new LlamaCompletion({ contextSequence: sequence });
        await completion.generateCompletion("Once upon a time ".repeat(8), { maxTokens: 24 });
        t.true(sequence.armt!.segmentsClosed >= 3);
    });
});

test("a saved sequence continues in another context as if it had never left", async (t) => {
    const { model, file } = await loadTiny(t);
    const state = path.join(path.dirname(file), "state.bin");
    const last = ids.slice(-1);
    const expected = await withSequence(model, {}, async (sequence) => {
        await sequence.evaluateWithoutGeneratingNewTokens(ids.slice(0, -1));
        await sequence.saveStateToFile(state);
        return await generateGreedy(sequence, last, 20);
    });
    await withSequence(model, {}, async (sequence) => {
        await sequence.loadStateFromFile(state, { acceptRisk: true });
        t.deepEqual(sequence.contextTokens, ids.slice(0, -1));
        t.deepEqual(await generateGreedy(sequence, last, 20), expected);
    });
    const { model: other } = await loadTiny(t, { seed: 2 });
    await withSequence(other, {}, async (sequence) => {
        await t.throwsAsync(sequence.loadStateFromFile(state, { acceptRisk: true }));
    });
    writeFileSync(state, "no state at all");
    await withSequence(model, {}, async (sequence) => {
        await t.throwsAsync(sequence.loadStateFromFile(state, { acceptRisk: true }));
    });
});
