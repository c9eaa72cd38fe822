import { existsSync } from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import test from "ava";
import {
    ArmtMemoryStore,
    type ArmtProgress,
    ArmtSnapshot,
    getLlama,
    type LlamaContextSequence,
    LlamaLogLevel,
    type LlamaModel,
    type Token
} from "../../plugin/index.js";
import { sequenceInternals } from "../../plugin/node-llama-cpp/internals.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import { assertMemories } from "../helpers/assert-memories.js";
import { assertClose } from "../helpers/compare.js";
import {
    generateGreedy,
    loadTiny,
    readLogits,
    readMemories,
    testGpu,
    withContext,
    withSequence
} from "../helpers/contexts.js";
import { generateReference, runReference } from "../helpers/reference.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

const LOGIT_TOLERANCE = 5e-4;
const schedules = ["sequential", "diagonal"] as const;
const answer = { segmentOverflow: "answer" } as const;
const tiny = { segmentSize: 8, memTokens: 3, seed: 4 };

/** What a sequence holds after it has read these tokens at once and closed its segments. */
async function freshly(model: LlamaModel, tokens: readonly number[]) {
    return await withSequence(model, { segmentOverflow: "close" }, async (sequence) => {
        await sequence.evaluateWithoutGeneratingNewTokens(tokens as Token[]);
        await sequence.armt!.closeSegment();
        return { memories: await readMemories(sequence), closed: sequence.armt!.segmentsClosed };
    });
}

/** Generates, and returns all tokens that the sequence holds then. The last generated one has not been read. */
async function answered(sequence: LlamaContextSequence, ids: readonly number[], count: number): Promise<number[]> {
    const tokens = await generateGreedy(sequence, ids, count);
    return [...ids, ...tokens.slice(0, -1)];
}

test("an answer lets its segment grow, and gets the tokens of the authors' way", async (t) => {
    const { model, reference } = await loadTiny(t, tiny);
    for (const promptLength of [1, 7, 8, 9, 21]) {
        const ids = textIds(promptLength, 96, promptLength);
        const { tokens, margins } = generateReference(reference, ids, { count: 30, overflow: "extend" });
        const steady = margins.findIndex((margin) => margin < 1e-3);
        const count = steady < 0 ? tokens.length : steady;
        t.true(count > 12, "the case has to go past the end of a segment");
        for (const schedule of schedules) {
            await withSequence(model, { ...answer, schedule }, async (sequence) => {
                t.deepEqual(await generateGreedy(sequence, ids, count), tokens.slice(0, count), `${promptLength}`);
                t.is(sequence.armt!.segmentsClosed, Math.floor((promptLength - 1) / 8));
            });
        }
    }
});

test("what follows an answer finds the memory of the same text read at once", async (t) => {
    const { model, reference } = await loadTiny(t, tiny);
    const ids = textIds(21, 96, 2);
    const more = textIds(11, 96, 3);
    for (const schedule of schedules) {
        await withSequence(model, { ...answer, schedule }, async (sequence) => {
            const held = await answered(sequence, ids, 20);
            t.is(sequence.armt!.segmentsClosed, 2);
            const after = await readLogits(sequence, more);
            const all = [...held, ...more];
            const expected = runReference(reference, all).logits.subarray(held.length * 96);
            assertClose(t, after, expected, { within: LOGIT_TOLERANCE, rowLength: 96, what: `${schedule}:` });
            t.is(sequence.nextTokenIndex, all.length);

            // a second answer, then text through node-llama-cpp's own evaluation
            const again = await answered(sequence, textIds(3, 96, 5), 12);
            await sequence.evaluateWithoutGeneratingNewTokens(more as Token[]);
            await sequence.armt!.closeSegment();
            const { memories, closed } = await freshly(model, [...all, ...again, ...more]);
            t.is(sequence.armt!.segmentsClosed, closed);
            assertMemories(t, await readMemories(sequence), memories, reference, { what: schedule });
        });
    }
});

test("closing a grown segment writes what the same text read at once writes", async (t) => {
    const { model, reference } = await loadTiny(t, tiny);
    await withSequence(model, answer, async (sequence) => {
        const held = await answered(sequence, textIds(5, 96), 25);
        t.is(sequence.armt!.openTokens, 29);
        await sequence.armt!.closeSegment();
        const { memories, closed } = await freshly(model, held);
        t.is(sequence.armt!.segmentsClosed, closed);
        assertMemories(t, await readMemories(sequence), memories, reference, { what: "closed" });
    });
});

test("an answer that reaches the limit continues, over segments that were closed", async (t) => {
    const { model, reference } = await loadTiny(t, tiny);
    const ids = textIds(6, 96, 7);
    for (const schedule of schedules) {
        await withSequence(model, { ...answer, openSegmentLimit: 13, schedule }, async (sequence) => {
            const held = await answered(sequence, ids, 40);
            t.is(held.length, 45);
            t.true(sequence.armt!.openTokens <= 13);
            t.true(sequence.armt!.segmentsClosed >= 4);
            await sequence.armt!.closeSegment();
            const { memories, closed } = await freshly(model, held);
            t.is(sequence.armt!.segmentsClosed, closed);
            assertMemories(t, await readMemories(sequence), memories, reference, { what: schedule });
        });
    }
});

test("logits of a whole text do not let its segments grow", async (t) => {
    const { model, reference } = await loadTiny(t, tiny);
    const ids = textIds(60, 96, 1);
    for (const batchSize of [1, 7, 512]) {
        await withSequence(model, { ...answer, batchSize, openSegmentLimit: 20 }, async (sequence) => {
            const close = { within: LOGIT_TOLERANCE, rowLength: 96, what: `batch size ${batchSize}:` };
            assertClose(t, await readLogits(sequence, ids), runReference(reference, ids).logits, close);
            t.is(sequence.armt!.segmentsClosed, 7);
        });
    }
});

test("tokens of an answer can be removed, from the grown part and from before it", async (t) => {
    const { model, reference } = await loadTiny(t, tiny);
    const more = textIds(9, 96, 3);
    for (const kept of [22, 16, 15, 12]) {
        await withSequence(model, answer, async (sequence) => {
            const held = await answered(sequence, textIds(10, 96), 20);
            t.is(sequence.armt!.segmentsClosed, 1);
            await sequence.eraseContextTokenRanges([{ start: kept, end: held.length }]);
            t.is(sequence.nextTokenIndex, kept);
            const after = await readLogits(sequence, more);
            const expected = runReference(reference, [...held.slice(0, kept), ...more]).logits.subarray(kept * 96);
            assertClose(t, after, expected, { within: LOGIT_TOLERANCE, rowLength: 96, what: `${kept} kept:` });
        });
    }
});

test("a snapshot and a copy of a grown segment continue like the original", async (t) => {
    const { model } = await loadTiny(t, tiny);
    const more = textIds(5, 96, 3) as Token[];
    await withContext(model, { ...answer, sequences: 3 }, async (context) => {
        const sequence = context.getSequence();
        await answered(sequence, textIds(10, 96), 20);
        const snapshot = await sequence.armt!.snapshot();
        const fork = await sequence.armt!.fork();
        const restored = context.getSequence();
        await restored.armt!.restore(snapshot);
        t.is(restored.armt!.openTokens, sequence.armt!.openTokens);
        const expected = await generateGreedy(sequence, more, 12);
        t.deepEqual(await generateGreedy(fork, more, 12), expected);
        t.deepEqual(await generateGreedy(restored, more, 12), expected);
        t.is(restored.armt!.segmentsClosed, sequence.armt!.segmentsClosed);
    });
});

/** Appends tokens one by one, each the most likely one after the token before. */
async function appendGreedy(sequence: LlamaContextSequence, token: number, count: number): Promise<number[]> {
    const tokens = [token];
    while (tokens.length <= count) {
        const input = [tokens.at(-1) as Token, { generateNext: { token: true } }] as const;
        const [output] = await sequence.controlledEvaluate([[...input]]);
        tokens.push(output!.next.token!);
    }
    return tokens.slice(1);
}

test("a copy made in the middle of an answer continues it", async (t) => {
    const { model } = await loadTiny(t, tiny);
    await withContext(model, { ...answer, sequences: 2 }, async (context) => {
        const sequence = context.getSequence();
        const tokens = await generateGreedy(sequence, textIds(10, 96), 12);
        const fork = await sequence.armt!.fork();
        t.is(fork.armt!.openTokens, 13);
        const rest = await appendGreedy(fork, tokens.at(-1)!, 20);
        t.is(fork.armt!.openTokens, 33);
        const whole = await withSequence(model, answer, (other) => generateGreedy(other, textIds(10, 96), 32));
        t.deepEqual([...tokens, ...rest], whole);
    });
});

test("a new request of one token does not continue an old answer", async (t) => {
    const { model } = await loadTiny(t, tiny);
    for (const count of [7, 12]) {
        await withSequence(model, answer, async (sequence) => {
            const held = await answered(sequence, textIds(10, 96), count);
            const all = [...held, 5];
            const expected = await withSequence(model, answer, (other) => generateGreedy(other, all, 20));
            t.deepEqual(await generateGreedy(sequence, [5], 20), expected, `${count}`);
        });
    }
});

test("a segment does not grow if the ids of its tokens were dropped", async (t) => {
    const { model } = await loadTiny(t, tiny);
    const ids = textIds(13, 96, 2) as Token[];
    const limited = { ...answer, openSegmentLimit: 12 };
    await withSequence(model, limited, async (sequence) => {
        await sequence.armt!.feed([ids], { keepTokens: 0 });
        const close = { ...limited, openSegmentLimit: undefined, segmentOverflow: "close" } as const;
        const expected = await withSequence(model, close, (other) => generateGreedy(other, [...ids, 7], 30));
        t.deepEqual((await generateGreedy(sequence, [7], 30)).slice(0, 3), expected.slice(0, 3));
        t.is(sequence.armt!.tokens, 43);
        // later segments grow again
        t.true(sequence.armt!.openTokens > 8);
        await sequence.evaluateWithoutGeneratingNewTokens(ids);
        t.true(sequence.armt!.openTokens <= 8);
        // without all ids a snapshot could not be cut later
        await generateGreedy(sequence, [7], 12);
        t.true(sequence.armt!.openTokens > 8);
        const snapshot = await sequence.armt!.snapshot();
        t.false(snapshot.hasTokenIds);
        t.true(snapshot.openTokens <= 8);
    });
});

test("what is kept of a grown segment without its end or its ids is cut like any text", async (t) => {
    const { model } = await loadTiny(t, tiny);
    const file = path.join(temporaryFolder(t), "a.armt");
    await withSequence(model, answer, async (sequence) => {
        const held = await answered(sequence, textIds(10, 96), 20);
        t.is(sequence.armt!.openTokens, 21);
        const closed = await sequence.armt!.snapshot({ closedOnly: true });
        t.is(closed.tokensRead, 24);
        t.is(sequence.armt!.openTokens, 5);

        await generateGreedy(sequence, [3], 12);
        t.is(sequence.armt!.openTokens, 17);
        await sequence.armt!.save(file, { tokenIds: false });
        t.is(sequence.armt!.openTokens, 1);
        t.deepEqual(sequence.contextTokens.slice(0, held.length), held as Token[]);
        await sequence.armt!.load(file);
        t.is(sequence.armt!.tokens, 41);
    });
});

test("a sequence whose state was replaced has no answer to continue", async (t) => {
    const { model } = await loadTiny(t, tiny);
    const state = path.join(temporaryFolder(t), "state");
    const ids = textIds(16, 96, 9);
    await withContext(model, { ...answer, sequences: 3 }, async (context) => {
        const [sequence, saved, copy] = [context.getSequence(), context.getSequence(), context.getSequence()];
        await saved.evaluateWithoutGeneratingNewTokens(ids as Token[]);
        await saved.saveStateToFile(state);
        const expected = await appendGreedy(saved, 5, 12);
        t.is(saved.armt!.openTokens, 12);

        await answered(sequence, textIds(9, 96), 8);
        t.is(sequence.armt!.tokens, 16);
        await sequence.loadStateFromFile(state, { acceptRisk: true });
        t.deepEqual(await appendGreedy(sequence, 5, 12), expected);

        // a copy continues what the original would
        await sequence.clearHistory();
        const held = await answered(sequence, textIds(9, 96), 8);
        await sequenceInternals(copy)._copyStateFromOtherSequence(sequence, held.length);
        t.deepEqual(await appendGreedy(copy, 7, 12), await appendGreedy(sequence, 7, 12));
        t.is(copy.armt!.openTokens, 20);
    });
});

test("erasing waits for one token of an answer, not for all", async (t) => {
    const { model } = await loadTiny(t, tiny);
    for (const options of [answer, { segmentOverflow: "close" } as const])
        await withSequence(model, options, async (sequence) => {
            let cleared: Promise<number> | undefined;
            const generated: Token[] = [];
            for await (const token of sequence.evaluate(textIds(10, 96) as Token[], { yieldEogToken: true })) {
                generated.push(token);
                if (generated.length === 5) cleared = sequence.clearHistory().then(() => generated.length);
                if (generated.length === 60) break;
            }
            t.true((await cleared!) < 10);
            t.is(sequence.armt!.tokens, sequence.nextTokenIndex);
            t.true(sequence.nextTokenIndex < 60);
        });
});

test("node-llama-cpp does not save a sequence whose ids were dropped", async (t) => {
    const { model } = await loadTiny(t, tiny);
    const state = path.join(temporaryFolder(t), "state");
    await withSequence(model, answer, async (sequence) => {
        await sequence.armt!.feed([textIds(13, 96) as Token[]], { keepTokens: 0 });
        await t.throwsAsync(sequence.saveStateToFile(state), { message: /save it with `sequence\.armt\.save`/ });
        t.false(existsSync(state));
    });
});

test("a forged state cannot say whether its segment has grown", async (t) => {
    const { model } = await loadTiny(t, tiny);
    const more = textIds(13, 96, 3);
    await withSequence(model, { ...answer, openSegmentLimit: 40 }, async (sequence) => {
        for (const [count, first] of [
            [11, 1000],
            [11, 2 ** 32 - 1],
            [2, 0],
            [6, 7]
        ] as const) {
            await sequence.clearHistory();
            const held = await answered(sequence, textIds(10, 96), count);
            const { parts } = await sequence.armt!.snapshot();
            const state = Buffer.from(parts.state);
            // magic, version, fingerprint, sizes, type, n_prev; pos_first, pos_open, n_open, n_segments, first_output
            const at = state.indexOf("armt") + 8 + 4 + parts.header.fingerprint.length + 7 * 4 + 8 + 12 + 8;
            t.is(state.readUInt32LE(at - 12), parts.header.openTokens);
            state.writeUInt32LE(first, at);
            const header = { ...parts.header, hasTokenIds: false };
            await sequence.armt!.restore(new ArmtSnapshot({ header, tokens: undefined, state }));
            if (held.length > 17) await sequence.eraseContextTokenRanges([{ start: 18, end: held.length }]);
            await sequence.armt!.closeSegment();
            t.is(sequence.armt!.openTokens, 0);
            await readLogits(sequence, more);
            t.is(sequence.armt!.openTokens, 13 - 8);
        }
    });
});

test("contexts whose answers grow and those whose segments close exchange what both can hold", async (t) => {
    const { model } = await loadTiny(t, tiny);
    const more = textIds(19, 96, 3) as Token[];
    const file = path.join(temporaryFolder(t), "a.armt");
    const state = path.join(temporaryFolder(t), "state");
    const close = { segmentOverflow: "close" } as const;
    const store = await ArmtMemoryStore.open({ checkpointInterval: 1 });
    t.teardown(() => store.dispose());
    for (const [from, to] of [
        [close, answer],
        [answer, close],
        [answer, { ...answer, openSegmentLimit: 20 }]
    ] as const) {
        await withSequence(model, { ...from, memoryStore: store }, async (sequence) => {
            await answered(sequence, textIds(20, 96), 4);
            await sequence.armt!.save(file);
            await sequence.saveStateToFile(state);
            await withSequence(model, { ...to, memoryStore: store }, async (other) => {
                await other.armt!.load(file);
                const expected = await readLogits(sequence, more);
                const what = `${from.segmentOverflow} to ${to.segmentOverflow}:`;
                const same = { within: 1e-5, rowLength: 96, what };
                assertClose(t, await readLogits(other, more), expected, same);
                await other.loadStateFromFile(state, { acceptRisk: true });
                assertClose(t, await readLogits(other, more), expected, same);
                await other.clearHistory();
                await other.evaluateWithoutGeneratingNewTokens(textIds(20, 96) as Token[]);
                t.is(other.armt!.cachedTokens, 16, what);
            });
        });
    }
    const small = { ...answer, openSegmentLimit: 12 };
    await withSequence(model, answer, async (sequence) => {
        await answered(sequence, textIds(10, 96), 20);
        await sequence.armt!.save(file);
        await sequence.saveStateToFile(state);
        const message = /the open segment of the state has 21 tokens, and one of this context at most (8|12);/;
        for (const [to, option] of [
            [close, /segmentOverflow` is answer/],
            [small, /openSegmentLimit` is 2056/]
        ] as const)
            await withSequence(model, to, async (other) => {
                await t.throwsAsync(other.armt!.load(file), { message: option });
                await t.throwsAsync(other.loadStateFromFile(state, { acceptRisk: true }), { message });
            });
    });
});

test("a prompt after an answer counts no token twice", async (t) => {
    const { model } = await loadTiny(t, tiny);
    const store = await ArmtMemoryStore.open({ checkpointInterval: 1 });
    t.teardown(() => store.dispose());
    const ids = textIds(10, 96);
    const all = await withSequence(model, answer, async (sequence) => {
        const held = await answered(sequence, ids, 30);
        return [...held, ...textIds(9, 96, 3)] as Token[];
    });
    // another sequence has left checkpoints for the whole text
    await withSequence(model, answer, (sequence) => store.prefill(sequence, all));
    const progress: ArmtProgress[] = [];
    await withSequence(model, { ...answer, onProgress: (step) => progress.push(step) }, async (sequence) => {
        await generateGreedy(sequence, ids, 30);
        progress.length = 0;
        const { hits, misses } = store.stats;
        const { cachedTokens, readTokens } = await store.prefill(sequence, all);
        t.is(cachedTokens + readTokens, all.length);
        t.true(readTokens >= 0 && cachedTokens >= 39);
        t.true(store.stats.hits + store.stats.misses <= hits + misses + 1);
        t.true(progress.every(({ tokensTotal, segments }) => tokensTotal === 9 && segments <= 2));

        await sequence.armt!.closeSegment();
        t.is(store.stats.hits + store.stats.misses, hits + misses + 1);
    });
});

test("a read that is cancelled leaves a sequence that continues as its tokens say", async (t) => {
    const { model, reference } = await loadTiny(t, tiny);
    const more = textIds(11, 96, 3);
    const logits = async (sequence: LlamaContextSequence, what: string) => {
        const held = [...sequence.contextTokens];
        t.is(sequence.armt!.tokens, held.length, what);
        const expected = runReference(reference, [...held, ...more]).logits.subarray(held.length * 96);
        assertClose(t, await readLogits(sequence, more), expected, { within: LOGIT_TOLERANCE, rowLength: 96, what });
    };
    for (let turns = 0; turns < 24; turns += 2) {
        // while a full segment takes the next token, and while a grown one is read again
        for (const [count, next] of [
            [7, undefined],
            [25, textIds(21, 96, 6) as Token[]]
        ] as const)
            await withSequence(model, { ...answer, batchSize: 4 }, async (sequence) => {
                const tokens = await generateGreedy(sequence, textIds(10, 96), count);
                const read =
                    next === undefined
                        ? appendGreedy(sequence, tokens.at(-1)!, 1)
                        : sequence.evaluateWithoutGeneratingNewTokens(next);
                const ended = read.then(
                    () => true,
                    () => false
                );
                for (let i = 0; i < turns; i++) await (i % 2 === 0 ? Promise.resolve() : setImmediate());
                const held = sequence.contextTokens.length;
                sequence.armt!.cancelEvaluation(new Error("stopped"));
                await ended;
                t.true(sequence.contextTokens.length >= held, `${count} tokens, ${turns} turns: some were lost`);
                await logits(sequence, `${count} tokens, ${turns} turns:`);
            });
    }
});

for (const [what, options, close, overflow] of [
    ["was trained to answer inside the open segment", {}, false, "answer"],
    ["was trained to answer in a new segment", {}, true, "close"],
    ["does not say how it was trained", {}, undefined, "close"],
    ["goes back into the segment before", { slidingWindow: true }, false, "close"],
    ["reads the segment before again", { rereadsPrevious: true }, false, "close"],
    ["has its prompts cut from the right", { alignment: "right" }, false, "close"]
] as const)
    test(`a model that ${what} has "${overflow}" by default`, async (t) => {
        const folder = temporaryFolder(t);
        await makeTinyCheckpoint(folder, { ...tiny, ...options });
        const file = path.join(folder, "model.gguf");
        await convertCheckpoint({ checkpoint: folder, output: file, ask: { close } });
        const llama = await getLlama({ gpu: testGpu ?? false, logLevel: LlamaLogLevel.error, maxThreads: 1 });
        const model = await llama.loadModel({ modelPath: file });
        t.teardown(() => model.dispose());
        await withContext(model, {}, async (context) => t.is(context.armt!.segmentOverflow, overflow));
        if (overflow === "close" && close === false)
            await withContext(model, { segmentOverflow: "answer", openSegmentLimit: 40 }, async (context) =>
                t.is(context.armt!.openSegmentLimit, 8)
            );
        await withContext(model, { segmentOverflow: "close" }, async (context) =>
            t.is(context.armt!.segmentOverflow, "close")
        );
    });
