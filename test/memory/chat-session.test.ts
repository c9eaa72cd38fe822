import path from "node:path";
import test, { type ExecutionContext } from "ava";
import {
    ArmtMemoryStore,
    GeneralChatWrapper,
    LlamaChatSession,
    type LlamaContext,
    type LlamaModel
} from "../../plugin/index.js";
import { loadTiny } from "../helpers/contexts.js";
import { temporaryFolder } from "../helpers/temporary.js";

const book = "The lamp is in room 7. The key is in the garden. ".repeat(30);
const answer = { maxTokens: 12, temperature: 0 };

async function withSession<T>(
    model: LlamaModel,
    { memoryStore, ...checkpoints }: { memoryStore?: ArmtMemoryStore; max?: number },
    work: (session: LlamaChatSession, context: LlamaContext) => Promise<T>
): Promise<T> {
    const context = await model.createContext({ threads: 1, batchSize: 64, armt: { memoryStore } });
    const session = new LlamaChatSession({
        contextSequence: context.getSequence({ checkpoints }),
        chatWrapper: new GeneralChatWrapper()
    });
    try {
        return await work(session, context);
    } finally {
        await context.dispose();
    }
}

async function openModel(t: ExecutionContext): Promise<LlamaModel> {
    return (await loadTiny(t, { vocab: 288, layers: 3 })).model;
}

test("an appended turn reads only what is new", async (t) => {
    const model = await openModel(t);
    await withSession(model, {}, async (session) => {
        await session.prompt(`${book}\nWhere is the lamp?`, answer);
        const { sequence } = session;
        const [tokens, { usedInputTokens, usedOutputTokens }] = [sequence.armt!.tokens, sequence.tokenMeter];
        await session.prompt("And the key?", answer);
        const read = sequence.tokenMeter.usedInputTokens - usedInputTokens;
        const written = sequence.tokenMeter.usedOutputTokens - usedOutputTokens;
        // only the growth of the sequence was evaluated, apart from what the chat format removes again
        t.true(sequence.armt!.tokens > tokens);
        t.true(
            read + written <= sequence.armt!.tokens - tokens + sequence.armt!.segmentSize,
            `${read} read, ${written} written`
        );
        t.true(read < 120, `${read} read`);
    });
});

test("going back to an earlier turn restores the nearest checkpoint and answers as from the start", async (t) => {
    const model = await openModel(t);
    const ask = async (session: LlamaChatSession, question: string) => {
        const before = session.sequence.tokenMeter.usedInputTokens;
        const text = await session.prompt(question, answer);
        return { text, read: session.sequence.tokenMeter.usedInputTokens - before };
    };
    const expected = await withSession(model, {}, async (session) => {
        await ask(session, `${book}\nWhere is the lamp?`);
        return (await ask(session, "And where is it today?")).text;
    });
    const goBack = (options: { memoryStore?: ArmtMemoryStore; max?: number }) =>
        withSession(model, options, async (session) => {
            await ask(session, `${book}\nWhere is the lamp?`);
            const history = session.getChatHistory();
            for (const question of ["And the key?", "Is that all?", "Really?"])
                await ask(session, `${question} ${book}`);
            session.setChatHistory(history);
            return await ask(session, "And where is it today?");
        });
    const store = await ArmtMemoryStore.open({ checkpointInterval: 1 });
    // node-llama-cpp's own checkpoints, one for each turn; too few of them; and too few with a store
    const results = [await goBack({}), await goBack({ max: 1 }), await goBack({ max: 1, memoryStore: store })];
    for (const { text } of results) t.is(text, expected);
    const [own, few, stored] = results.map(({ read }) => read) as [number, number, number];
    t.true(own < 100, `${own} read with a checkpoint for each turn`);
    t.true(few > 500, `${few} read with one checkpoint`);
    t.true(stored < 100, `${stored} read with a store`);
    t.true(store.stats.hits > 0);
    await store.dispose();
});

test("a session of another process starts from what the folder holds", async (t) => {
    const model = await openModel(t);
    const folder = path.join(temporaryFolder(t), "store");
    const texts: string[] = [];
    for (const round of [0, 1]) {
        const store = await ArmtMemoryStore.open({ folder, checkpointInterval: 1 });
        await withSession(model, { memoryStore: store }, async (session) => {
            texts.push(await session.prompt(`${book}\nWhere is the lamp?`, answer));
            const { cachedTokens } = store.stats;
            if (round === 0) t.is(cachedTokens, 0);
            else t.true(cachedTokens > 500, `${cachedTokens} cached`);
        });
        await store.dispose();
    }
    t.is(texts[0], texts[1]);
});
