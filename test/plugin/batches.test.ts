import path from "node:path";
import test, { type ExecutionContext } from "ava";
import {
    ArmtMemoryStore,
    type CustomBatchingPrioritizationStrategy,
    DisposedError,
    type LlamaContext,
    type LlamaContextSequence,
    type LlamaModel,
    type Token
} from "../../plugin/index.js";
import { fairBatching } from "../../src/server/engine/batching.js";
import { assertClose } from "../helpers/compare.js";
import { generateGreedy, loadTiny, readLogits, readMemories, withContext } from "../helpers/contexts.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";
import { until } from "../helpers/until.js";

const vocab = 96;
const segmentSize = 16;
const batchSize = 64;
const long = textIds(200_000, vocab, 7) as Token[];
const prefix = textIds(5 * segmentSize + 3, vocab, 2) as Token[];
const question = textIds(9, vocab, 3) as Token[];

/** A context whose batches are counted. */
async function createCountedContext(t: ExecutionContext, model: LlamaModel, memoryStore?: ArmtMemoryStore) {
    const counter = { batches: 0 };
    const strategy: CustomBatchingPrioritizationStrategy = (options) => {
        counter.batches++;
        return fairBatching(options);
    };
    const context = await model.createContext({
        batchSize,
        sequences: 2,
        threads: 1,
        batching: { itemPrioritizationStrategy: strategy },
        armt: { memoryStore }
    });
    t.teardown(() => context.dispose());
    return { context, counter };
}

/** Only who is known to wait ends the addon's turns then. */
function letTurnsLast(sequence: LlamaContextSequence): void {
    const { engine } = sequence.armt!.context.parts;
    const read = engine.read.bind(engine);
    engine.read = (parts, size) => read(parts, size, 2 ** 30);
}

type Chat = (sequence: LlamaContextSequence) => Promise<() => Promise<void>>;

async function firstToken(sequence: LlamaContextSequence, tokens: Token[]): Promise<void> {
    for await (const _ of sequence.evaluate(tokens, { temperature: 0, yieldEogToken: true })) return;
}

/** Each prepares a sequence and returns what a request does with it until its first token. */
const chats: Record<string, Chat> = {
    "a warm chat": async (sequence) => {
        await sequence.clearHistory();
        await sequence.evaluateWithoutGeneratingNewTokens([...prefix, ...textIds(5, vocab, 4)] as Token[]);
        return async () => {
            await sequence.adaptStateToTokens([...prefix, ...question], false);
            await firstToken(sequence, [...prefix, ...question].slice(sequence.nextTokenIndex));
        };
    },
    "a chat with a memory": async (sequence) => {
        await sequence.clearHistory();
        await sequence.evaluateWithoutGeneratingNewTokens(prefix);
        const memory = await sequence.armt!.snapshot();
        return async () => {
            await sequence.armt!.restore(memory);
            await firstToken(sequence, question);
        };
    },
    "a new chat": async (sequence) => async () => {
        await sequence.clearHistory();
        await firstToken(sequence, question);
    }
};

for (const withStore of [false, true])
    test(`chats wait two batches at most for a long read ${withStore ? "with" : "without"} a store`, async (t) => {
        const { model } = await loadTiny(t, { segmentSize, vocab, layers: 2 });
        const store = withStore ? await ArmtMemoryStore.open({ checkpointInterval: 64 }) : undefined;
        if (store !== undefined) t.teardown(() => store.dispose());
        const { context, counter } = await createCountedContext(t, model, store);
        const reader = context.getSequence();
        const sequence = context.getSequence();
        const count = async (chat: Chat) => {
            const work = await chat(sequence);
            const before = counter.batches;
            await work();
            return counter.batches - before;
        };
        const alone = new Map<Chat, number>();
        // the chats' own checkpoints exist from the second time on
        for (let round = 0; round < 2; round++)
            for (const chat of Object.values(chats)) alone.set(chat, await count(chat));

        const reading = reader.evaluateWithoutGeneratingNewTokens(long);
        for (const part of [0, 0.5, 0.95]) {
            await until(() => reader.armt!.tokens > part * long.length, `${part} of the long text is read`, 280);
            for (const [what, chat] of Object.entries(chats)) {
                const beside = await count(chat);
                t.true(reader.armt!.tokens < long.length, "the long read covers the chat");
                t.true(beside <= alone.get(chat)! + 2, `${what} at ${part}: ${beside}, ${alone.get(chat)} alone`);
            }
        }
        await reading;
        t.is(reader.nextTokenIndex, long.length);
        t.is(reader.armt!.tokens, long.length);
    });

for (const itemPrioritizationStrategy of ["maximumParallelism", "firstInFirstOut"] as const)
    test(`a short read during a long one with node-llama-cpp's strategy ${itemPrioritizationStrategy}`, async (t) => {
        const { model } = await loadTiny(t, { segmentSize, vocab });
        const context = await model.createContext({
            batchSize,
            sequences: 2,
            threads: 1,
            batching: { itemPrioritizationStrategy }
        });
        t.teardown(() => context.dispose());
        const [reader, asker] = [context.getSequence(), context.getSequence()];
        const order: string[] = [];
        const read = reader.evaluateWithoutGeneratingNewTokens(long.slice(0, 20_000)).then(() => order.push("long"));
        await asker.evaluateWithoutGeneratingNewTokens(question).then(() => order.push("short"));
        await firstToken(asker, question).then(() => order.push("token"));
        await read;
        const last = itemPrioritizationStrategy === "maximumParallelism" ? ["short", "token", "long"] : ["long"];
        t.deepEqual(order.slice(0, last.length), last);
    });

test("what needs the context runs between two batches of a long read", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab, layers: 2 });
    const { context, counter } = await createCountedContext(t, model);
    const [reader, other] = [context.getSequence(), context.getSequence()];
    const file = path.join(temporaryFolder(t), "state");
    letTurnsLast(reader);
    await other.evaluateWithoutGeneratingNewTokens(prefix);
    const snapshot = await other.armt!.snapshot();
    const reading = reader.evaluateWithoutGeneratingNewTokens(long);
    await until(() => reader.armt!.tokens > 0, "the read has begun");
    const works: Record<string, () => Promise<unknown>> = {
        restore: () => other.armt!.restore(snapshot),
        erase: () => other.eraseContextTokenRanges([{ start: prefix.length - 1, end: prefix.length }]),
        snapshot: () => other.armt!.snapshot(),
        "close a segment": () => other.armt!.closeSegment(),
        "read a memory": () => other.armt!.readMemory(0),
        "save to a file": () => other.saveStateToFile(file),
        "load from a file": () => other.loadStateFromFile(file, { acceptRisk: true }),
        clear: () => other.clearHistory(),
        dispose: () => other.dispose()
    };
    for (const [what, work] of Object.entries(works)) {
        const held = reader.armt!.tokens;
        await until(() => reader.armt!.tokens > held, "the addon reads");
        const before = counter.batches;
        await work();
        t.true(counter.batches - before <= 1, `${what}: ${counter.batches - before} batches`);
        t.true(reader.armt!.tokens < long.length, `${what} waits for the end of the read`);
    }
    reader.armt!.cancelEvaluation(new Error("enough"));
    await t.throwsAsync(reading, { message: "enough" });
});

test("another context gets the only thread between two batches of a long read", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab, layers: 2 });
    const contexts = await Promise.all([0, 1].map(() => model.createContext({ batchSize })));
    for (const context of contexts) t.teardown(() => context.dispose());
    const [reader, other] = contexts.map((context) => context.getSequence()) as [
        LlamaContextSequence,
        LlamaContextSequence
    ];
    letTurnsLast(reader);
    const reading = reader.evaluateWithoutGeneratingNewTokens(long);
    for (const work of [firstToken, firstToken, readLogits]) {
        const held = reader.armt!.tokens;
        await until(() => reader.armt!.tokens > held, "the addon reads");
        await work(other, question);
        t.true(reader.armt!.tokens < long.length);
    }
    reader.armt!.cancelEvaluation(new Error("enough"));
    await t.throwsAsync(reading, { message: "enough" });
});

test("logits and memories of reads that share batches are those of the same reads alone", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab, layers: 3 });
    const prompts = [long.slice(0, 700), long.slice(1000, 1333), long.slice(2000, 2005)];
    for (const schedule of ["sequential", "diagonal"] as const) {
        const run = async (context: LlamaContext, prompt: Token[], sequence = context.getSequence()) => {
            const output: number[][] = [];
            const generateNext = { logits: true };
            const result = await sequence.controlledEvaluate(
                prompt.map((token, i) => (i % 50 === 49 ? [token, { generateNext }] : token))
            );
            for (const [i, item] of result.entries())
                if (item?.next.logits !== undefined) output.push([i, ...item.next.logits.values()]);
            return {
                output,
                tokens: await generateGreedy(sequence, question, 6),
                memories: await readMemories(sequence),
                logits: await readLogits(sequence, question)
            };
        };
        const options = { schedule, batchSize, sequences: prompts.length };
        const alone = [];
        for (const prompt of prompts) alone.push(await withContext(model, options, (context) => run(context, prompt)));
        const together = await withContext(model, options, (context) =>
            Promise.all(prompts.map((prompt) => run(context, prompt)))
        );
        t.is(alone[0]!.output.length, 14);
        for (const [i, one] of alone.entries()) {
            const other = together[i]!;
            t.deepEqual(other.tokens, one.tokens);
            t.deepEqual(
                other.output.map(([index]) => index),
                one.output.map(([index]) => index)
            );
            assertClose(t, other.logits, one.logits, { within: 1e-4, rowLength: vocab, what: schedule });
            for (const [layer, { a, z }] of one.memories.entries()) {
                assertClose(t, other.memories[layer]!.a, a, { within: 1e-4, rowLength: a.length, what: schedule });
                assertClose(t, other.memories[layer]!.z, z, { within: 1e-4, rowLength: z.length, what: schedule });
            }
        }
    }
});

test("a read that waits with a checkpoint for its segments ends at an abort and with its context", async (t) => {
    const layers = 5;
    const { model } = await loadTiny(t, { layers, segmentSize });
    const store = await ArmtMemoryStore.open({ checkpointInterval: segmentSize });
    t.teardown(() => store.dispose());
    const context = await model.createContext({
        sequences: 2,
        batchSize,
        threads: 1,
        batching: { itemPrioritizationStrategy: fairBatching },
        armt: { schedule: "diagonal", maxCells: layers }
    });
    t.is(context.armt!.textsPerLayer, 1);
    const text = long.slice(500, 500 + 20 * segmentSize + 3);
    const [a, b] = [context.getSequence(), context.getSequence()];
    await a.evaluateWithoutGeneratingNewTokens(text);
    const expected = await readLogits(a, question);
    await a.clearHistory();
    const other = b.evaluateWithoutGeneratingNewTokens(long);
    other.catch(() => {});
    await until(() => b.armt!.tokens > 0, "the other text is being read");
    const controller = new AbortController();
    const aborted = store.prefill(a, text, { signal: controller.signal });
    await until(() => a.armt!.tokens > 0, "it has begun");
    controller.abort(new Error("enough"));
    await t.throwsAsync(aborted, { message: "enough" });
    await store.prefill(a, text);
    t.true(b.armt!.tokens < long.length, "the other text is still being read");
    const logits = await readLogits(a, question);
    assertClose(t, logits, expected, { within: 1e-4, rowLength: vocab, what: "after an abort" });
    await a.clearHistory();
    const ended = t.throwsAsync(store.prefill(a, long.slice(1000, 100_000)), { instanceOf: DisposedError });
    await until(() => a.armt!.tokens > 0, "another has begun");
    await context.dispose();
    await ended;
});

test("an aborted read ends within a batch, keeps what it read, and leaves others alone", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab, layers: 2 });
    const { context, counter } = await createCountedContext(t, model);
    const [first, second] = [context.getSequence(), context.getSequence()];
    const reading = first.evaluateWithoutGeneratingNewTokens(long);
    const other = second.evaluateWithoutGeneratingNewTokens(long.slice(0, 2000));
    await until(() => first.armt!.tokens > 500, "something is read");
    const before = counter.batches;
    first.armt!.cancelEvaluation(new Error("enough"));
    await t.throwsAsync(reading, { message: "enough" });
    t.true(counter.batches - before <= 1);
    const { tokens } = first.armt!;
    t.is(first.nextTokenIndex, tokens);
    await other;
    t.is(second.armt!.tokens, 2000);
    t.is(first.armt!.tokens, tokens);
    const logits = await readLogits(first, question);
    await second.clearHistory();
    await second.evaluateWithoutGeneratingNewTokens(long.slice(0, tokens));
    assertClose(t, logits, await readLogits(second, question), { within: 1e-4, rowLength: vocab, what: "continued" });
});

test("a sequence that is disposed in the middle of its read ends it, and its successor starts empty", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab, layers: 2 });
    const { context } = await createCountedContext(t, model);
    const [first, second] = [context.getSequence(), context.getSequence()];
    const reading = first.evaluateWithoutGeneratingNewTokens(long);
    const other = second.evaluateWithoutGeneratingNewTokens(long.slice(0, 3000));
    await until(() => first.armt!.tokens > 500, "something is read");
    await Promise.all([first.dispose(), t.throwsAsync(reading, { instanceOf: DisposedError })]);
    const successor = context.getSequence();
    t.is(successor.armt!.tokens, 0);
    const logits = await readLogits(successor, question);
    await other;
    await second.clearHistory();
    assertClose(t, logits, await readLogits(second, question), { within: 1e-4, rowLength: vocab, what: "successor" });
});

test("a context that is disposed in the middle of reads ends all of them", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab, layers: 2 });
    const { context } = await createCountedContext(t, model);
    const sequences = [context.getSequence(), context.getSequence()];
    const readings = sequences.map((sequence) => sequence.evaluateWithoutGeneratingNewTokens(long));
    await until(() => sequences[1]!.armt!.tokens > 500, "something is read");
    await Promise.all([
        context.dispose(),
        ...readings.map((reading) => t.throwsAsync(reading, { instanceOf: DisposedError }))
    ]);
});

test("tokens are erased only after the sequence's own read", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab, layers: 2 });
    const { context } = await createCountedContext(t, model);
    const sequence = context.getSequence();
    const reading = sequence.evaluateWithoutGeneratingNewTokens(long.slice(0, 5000));
    await until(() => sequence.armt!.tokens > 500, "something is read");
    const erasing = sequence.eraseContextTokenRanges([{ start: 4995, end: 5000 }]);
    await Promise.all([reading, erasing]);
    t.is(sequence.nextTokenIndex, 4995);
    t.is(sequence.armt!.tokens, 4995);
});

test("a full segment ends its own sequence's evaluation, with the reason", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab, layers: 2 });
    const options = {
        segmentOverflow: "extend",
        openSegmentLimit: 20,
        schedule: "sequential",
        sequences: 3,
        batchSize
    } as const;
    const start = question.slice(0, 3);
    const expected = await withContext(model, options, (context) => generateGreedy(context.getSequence(), start, 15));
    await withContext(model, options, async (context) => {
        const [full, well, wrong] = [context.getSequence(), context.getSequence(), context.getSequence()];
        const failing = t.throwsAsync(generateGreedy(full, textIds(14, vocab, 9), 30), {
            message: /the open segment is full: it can grow to 20 tokens/
        });
        const refused = t.throwsAsync(wrong.evaluateWithoutGeneratingNewTokens([vocab] as Token[]), {
            message: /token id 96 is out of range/
        });
        t.deepEqual(await generateGreedy(well, start, 15), expected);
        await failing;
        await refused;
        t.is(full.armt!.tokens, 20);
        await full.clearHistory();
        t.deepEqual(await generateGreedy(full, start, 15), expected);
    });
});

test("a failure to use the logits of one sequence does not end the others' reads", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab, layers: 2 });
    await withContext(model, { sequences: 2, batchSize }, async (context) => {
        const [first, second] = [context.getSequence(), context.getSequence()];
        const failing = t.throwsAsync(
            generateGreedy(first, question, 1).then(() =>
                first.controlledEvaluate([
                    [
                        question[0]!,
                        {
                            generateNext: {
                                token: true,
                                options: {
                                    tokenBias: () => {
                                        throw new Error("no bias");
                                    }
                                }
                            }
                        }
                    ]
                ] as never)
            ),
            { message: "no bias" }
        );
        const tokens = await generateGreedy(second, question, 20);
        t.is(tokens.length, 20);
        await failing;
        t.is((await generateGreedy(second, question, 3)).length, 3);
    });
});

test("the size of the state is known during a read", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab, layers: 2 });
    const { context } = await createCountedContext(t, model);
    const sequence = context.getSequence();
    const reading = sequence.evaluateWithoutGeneratingNewTokens(long.slice(0, 20_000));
    await until(() => sequence.armt!.tokens > 0, "the read has begun");
    const sizes = new Set<number>();
    while (sequence.armt!.tokens < 20_000) {
        sizes.add(context.stateSize);
        await new Promise((resolve) => setImmediate(resolve));
    }
    await reading;
    t.deepEqual([...sizes], [context.armt!.totalBytes]);
    await context.dispose();
    t.throws(() => context.stateSize, { instanceOf: DisposedError });
});

test("a read that has the context to itself ends within a batch of the abort, and counts its tokens", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab, layers: 2 });
    const context = await model.createContext({ batchSize, threads: 1 });
    t.teardown(() => context.dispose());
    const sequence = context.getSequence();
    const reading = sequence.evaluateWithoutGeneratingNewTokens(long);
    await until(() => sequence.armt!.tokens > 500, "something is read");
    sequence.armt!.cancelEvaluation(new Error("enough"));
    // after the call, before which this thread may have to wait for a core
    const held = sequence.armt!.tokens;
    await t.throwsAsync(reading, { message: "enough" });
    // the batch that runs, and one that the addon may have begun at the same time
    t.true(sequence.armt!.tokens <= held + 2 * batchSize, `${held} tokens, then ${sequence.armt!.tokens}`);
    t.is(sequence.nextTokenIndex, sequence.armt!.tokens);
    t.is(sequence.tokenMeter.usedInputTokens, sequence.armt!.tokens);
    t.is(sequence.tokenMeter.usedOutputTokens, 0);
});

test("a batching strategy sees the tokens that are left as an array, and which logits are wanted", async (t) => {
    const { model } = await loadTiny(t, { segmentSize, vocab, layers: 2 });
    const left: unknown[] = [];
    const itemPrioritizationStrategy: CustomBatchingPrioritizationStrategy = ({ items, size }) =>
        items.map((item) => {
            const { length } = item.tokens;
            t.true(Array.isArray(item.tokens));
            t.is([...item.tokens].length, length);
            t.is(item.tokens.concat(item.tokens.slice(1)).length, 2 * length - 1);
            t.deepEqual(Object.keys(item.tokens).length, length);
            left.push(JSON.stringify(item.tokens), item.logits.indexOf(true));
            return { item, processAmount: Math.min(40, size, length) };
        });
    const context = await model.createContext({ batchSize, threads: 1, batching: { itemPrioritizationStrategy } });
    t.teardown(() => context.dispose());
    const text = long.slice(0, 100);
    await firstToken(context.getSequence(), text);
    t.deepEqual(left, [
        JSON.stringify(text),
        99,
        JSON.stringify(text.slice(40)),
        59,
        JSON.stringify(text.slice(80)),
        19
    ]);
});
