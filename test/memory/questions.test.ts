import test, { type ExecutionContext } from "ava";
import { QuestionCuts } from "../../plugin/context/question-cuts.js";
import {
    ArmtMemoryStore,
    LlamaChatSession,
    type LlamaContext,
    type LlamaContextSequence,
    type LlamaModel,
    type Token
} from "../../plugin/index.js";
import { segmentEnds } from "../../plugin/memory/segment-keys.js";
import { assertClose } from "../helpers/compare.js";
import { loadRecallModel, recallText } from "../helpers/recall.js";

const greedy = { maxTokens: 12, temperature: 0 };

async function openContext(
    t: ExecutionContext,
    model: LlamaModel,
    options: Parameters<LlamaModel["createContext"]>[0] = {}
): Promise<LlamaContext> {
    const context = await model.createContext({ threads: 1, batchSize: 256, ...options });
    t.teardown(() => context.dispose());
    return context;
}

/** Reads tokens in pieces. */
async function readIn(sequence: LlamaContextSequence, tokens: readonly Token[], size: number): Promise<void> {
    for (let at = 0; at < tokens.length; at += size)
        await sequence.evaluateWithoutGeneratingNewTokens(tokens.slice(at, at + size));
}

/** What decides about everything that follows: the segments and the last layer's memory. */
async function stateOf({ armt }: LlamaContextSequence) {
    const { tokens, openTokens, segmentsClosed } = armt!;
    // computes what is pending; a probe in the open segment would show no difference of rounding
    const { a } = await armt!.readMemory(3);
    return { counts: { tokens, openTokens, segmentsClosed }, a };
}

async function assertSame(t: ExecutionContext, found: LlamaContextSequence, expected: LlamaContextSequence) {
    const [one, other] = [await stateOf(found), await stateOf(expected)];
    t.deepEqual(one.counts, other.counts);
    assertClose(t, one.a, other.a, { within: 1e-3, relative: true, rowLength: one.a.length, what: "memory" });
}

test("questions are found by their tokens", (t) => {
    const cuts = new QuestionCuts([7, 8] as Token[]);
    t.deepEqual(cuts.find([7, 8, 1, 7, 8, 7, 7, 8, 7]), [3, 6]);
    t.true(cuts.opens([7, 8]));
    t.false(cuts.opens([7]));
});

test("an early close moves the ends of the segments after it", (t) => {
    const cut = { first: 4, each: 4, until: 0 };
    t.deepEqual(segmentEnds(12, { ...cut, closes: [] }), [4, 8]);
    t.deepEqual(segmentEnds(12, { ...cut, closes: [5] }), [4, 5, 9]);
    t.deepEqual(segmentEnds(13, { ...cut, closes: [4, 6] }), [4, 6, 10]);
    t.deepEqual(segmentEnds(6, { ...cut, closes: [6, 9] }), [4]);
});

test("text before a question is tokenized apart from it", async (t) => {
    const model = await loadRecallModel(t);
    const question = model.tokenize("\nQuestion: Where is the lamp?\nAnswer:");
    const text = model.tokenize("The end.");
    t.deepEqual(model.tokenize("The end.\nQuestion: Where is the lamp?\nAnswer:"), [...text, ...question]);
});

test("equal tokens are cut alike, whichever reads they come in", async (t) => {
    const model = await loadRecallModel(t);
    const context = await openContext(t, model, { sequences: 2 });
    const { tokens } = await recallText(model, 1, 20, 1);
    const question = model.tokenize("\nQuestion: Where is the lamp?\nAnswer: here");
    const all = [...tokens, ...question, ...tokens.slice(0, 30), ...question];
    const whole = context.getSequence();
    await readIn(whole, all, all.length);
    t.is(whole.armt!.openTokens, question.length);
    t.is(whole.armt!.segmentsClosed, 3);
    for (const size of [2, 3, 64, tokens.length + 1, tokens.length + 2]) {
        const other = context.getSequence();
        await readIn(other, all, size);
        await assertSame(t, other, whole);
        await other.dispose();
    }
    const fed = context.getSequence();
    await fed.armt!.feed([all.slice(0, tokens.length + 1), all.slice(tokens.length + 1)]);
    await assertSame(t, fed, whole);
});

test("a segment that was closed for a question is opened again if other text follows", async (t) => {
    const model = await loadRecallModel(t);
    const context = await openContext(t, model, { sequences: 2 });
    const { tokens } = await recallText(model, 1, 20, 1);
    const question = model.tokenize("\nQuestion: Where is the lamp?");
    const other = [...tokens, question[0]!, ...model.tokenize("The lamp is here.")];
    const fresh = context.getSequence();
    await readIn(fresh, other, other.length);
    const warm = context.getSequence();
    await readIn(warm, [...tokens, ...question], 500);
    await warm.adaptStateToTokens(other, false);
    t.is(warm.nextTokenIndex, tokens.length + 1);
    await readIn(warm, other.slice(warm.nextTokenIndex), 500);
    await assertSame(t, warm, fresh);
});

test("a store finds prefixes behind an early close", async (t) => {
    const model = await loadRecallModel(t);
    const store = await ArmtMemoryStore.open({ checkpointInterval: 1 });
    t.teardown(() => store.dispose());
    const context = await openContext(t, model, { sequences: 2, armt: { memoryStore: store } });
    const { tokens } = await recallText(model, 1, 20, 1);
    const question = model.tokenize("\nQuestion: Where is the lamp?\nAnswer: here");
    const turns = [...tokens, ...question, ...question];
    const first = context.getSequence();
    await readIn(first, turns, turns.length);
    const second = context.getSequence();
    await readIn(second, [...turns, ...question], 500);
    // everything up to the second question, which is not a multiple of the segment size
    t.is(second.armt!.cachedTokens, tokens.length + question.length);
    await first.clearHistory();
    // another text with the same prefix
    await readIn(first, [...tokens, ...model.tokenize(" And more of it.")], 500);
    t.is(first.armt!.cachedTokens, model.armt!.segmentSize);
    t.is(first.armt!.segmentsClosed, 1);
});

test("closing before questions can be turned off and on, for a context and a sequence", async (t) => {
    const model = await loadRecallModel(t);
    t.is(model.armt!.ask!.close, true);
    const context = await openContext(t, model, { sequences: 2, armt: { closeBeforeQuestion: false } });
    const question = model.tokenize("\nQuestion: Where?");
    const all = [...model.tokenize("Some text."), ...question];
    const sequence = context.getSequence();
    await readIn(sequence, all, 100);
    t.is(sequence.armt!.segmentsClosed, 0);
    await sequence.clearHistory();
    sequence.armt!.closeBeforeQuestion = true;
    await readIn(sequence, all, 100);
    t.is(sequence.armt!.segmentsClosed, 1);
    const fork = await sequence.armt!.fork();
    t.is(fork.armt!.closeBeforeQuestion, true);
    await fork.armt!.startQuestion(model.tokenize("Not in the trained form"));
    t.is(fork.armt!.openTokens, 0);
    t.throws(
        () => {
            sequence.armt!.closeBeforeQuestion = "yes" as never;
        },
        { message: /closeBeforeQuestion/ }
    );
    await t.throwsAsync(model.createContext({ armt: { closeBeforeQuestion: 1 as never } }), {
        message: /`armt.closeBeforeQuestion` must be a boolean/
    });
});

test("a chat session has the trained form token for token, and remembers with a nearly full open segment", async (t) => {
    const model = await loadRecallModel(t);
    const context = await openContext(t, model, { sequences: 1 });
    const unclosed = await openContext(t, model, { armt: { closeBeforeQuestion: false } });
    const right = { closed: 0, open: 0 };
    let asked = 0;
    for (const seed of [1, 2]) {
        const { text, tokens, questions } = await recallText(model, 5, 120, seed);
        for (const name of ["closed", "open"] as const) {
            const sequence = (name === "closed" ? context : unclosed).getSequence();
            await sequence.armt!.feed([tokens]);
            using snapshot = await sequence.armt!.snapshot();
            for (const question of questions) {
                await sequence.armt!.restore(snapshot);
                const session = new LlamaChatSession({ contextSequence: sequence, systemPrompt: text });
                const answer = (await session.prompt(question.text, greedy)).trim();
                if (answer === question.expected) right[name]++;
                const form = model.tokenize(`\nQuestion: ${question.text}\nAnswer:`);
                t.deepEqual(sequence.contextTokens.slice(0, tokens.length + form.length), [...tokens, ...form]);
                if (name === "closed") {
                    asked++;
                    t.is(sequence.armt!.tokens - sequence.armt!.openTokens, tokens.length);
                }
                session.dispose({ disposeSequence: false });
            }
            await sequence.dispose();
        }
    }
    t.log(right, asked);
    t.true(asked >= 8);
    t.true(right.closed >= 0.85 * asked, `${right.closed} of ${asked}`);
    t.true(right.open <= 0.5 * asked, `${right.open} of ${asked}`);
});

test("a warm chat holds what a fresh one reads", async (t) => {
    const model = await loadRecallModel(t);
    const context = await openContext(t, model, { sequences: 2 });
    const { text, questions } = await recallText(model, 2, 60, 3);
    const warm = new LlamaChatSession({ contextSequence: context.getSequence(), systemPrompt: text });
    const answers = [];
    for (const { text: question } of questions.slice(0, 2)) answers.push(await warm.prompt(question, greedy));
    const history = warm.getChatHistory();
    const fresh = new LlamaChatSession({ contextSequence: context.getSequence(), systemPrompt: text });
    fresh.setChatHistory(history);
    t.is(await fresh.prompt("Where is it?", greedy), await warm.prompt("Where is it?", greedy));
    await assertSame(t, warm.sequence, fresh.sequence);
});
