import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { ArmtEvalError, type Token } from "../../plugin/index.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import type { TinyOptions } from "../../src/tiny/options.js";
import { generateGreedy, loadCheckpoint, loadTiny, withContext, withSequence } from "../helpers/contexts.js";
import { fillEmbedding } from "../helpers/damage-weights.js";
import { scaleWeights } from "../helpers/rewrite-checkpoint.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

const segmentSize = 16;
const long = textIds(segmentSize * 150, 96) as Token[];
const short = textIds(9, 96, 2);
const cases = [
    { schedule: "sequential" },
    { schedule: "diagonal", textsPerLayer: 0 },
    { schedule: "diagonal", textsPerLayer: 1 },
    { schedule: "diagonal", textsPerLayer: 2 }
] as const;

const unbounded =
    /^the memory of layer [12] is no longer finite after (\d+) tokens: it grew without bound while .*; read the text in shorter parts, with sequence\.clearHistory\(\) between them, or use another model; the sequence was cleared$/;

/** Keys so long that each write multiplies what is in memory, until it exceeds the range of float32. */
async function loadGrowing(t: ExecutionContext, options: TinyOptions = {}) {
    const folder = temporaryFolder(t);
    await makeTinyCheckpoint(folder, { vocab: 96, layers: 3, useDenom: false, normalizeKeys: false, ...options });
    await scaleWeights(folder, /\.1\.W_mk\.weight$/, 3);
    return (await loadCheckpoint(t, folder)).model;
}

/** The first write to layer 1 exceeds the range, and layer 2 shows it only after another segment. */
async function loadOverflowing(t: ExecutionContext) {
    const folder = temporaryFolder(t);
    await makeTinyCheckpoint(folder, { vocab: 96, layers: 3 });
    await scaleWeights(folder, /\.1\.W_mv\.weight$/, 5e38);
    return (await loadCheckpoint(t, folder)).model;
}

for (const options of cases) {
    for (const stateType of ["f32", "bf16"] as const) {
        const how = `${JSON.stringify(options)}, ${stateType}`;
        test(`a memory that grows without bound ends its own read, soon, ${how}`, async (t) => {
            const model = await loadGrowing(t);
            await withContext(model, { ...options, stateType, sequences: 3, batchSize: 48 }, async (context) => {
                const [first, second, other] = Array.from({ length: 3 }, () => context.getSequence());
                const expected = await generateGreedy(other!, short, 6);
                await other!.clearHistory();
                const fails = (reading: Promise<unknown>) => t.throwsAsync(reading, { instanceOf: ArmtEvalError });
                const [alone, fed, kept] = await Promise.all([
                    fails(first!.evaluateWithoutGeneratingNewTokens(long)),
                    fails(second!.armt!.feed([long])),
                    generateGreedy(other!, short, 6)
                ]);
                t.deepEqual(kept, expected);
                for (const error of [alone, fed]) {
                    t.regex(error!.message, unbounded);
                    const tokens = Number(unbounded.exec(error!.message)![1]);
                    t.true(tokens > 2 * segmentSize && tokens < long.length / 2, String(tokens));
                }
                for (const sequence of [first!, second!]) {
                    t.like(sequence.armt, { tokens: 0, segmentsClosed: 0 });
                    t.is(sequence.nextTokenIndex, 0);
                    t.deepEqual(await generateGreedy(sequence, short, 6), expected);
                }
            });
        });
    }
}

for (const options of cases) {
    test(`a memory that no later segment shows is neither copied nor saved, ${JSON.stringify(options)}`, async (t) => {
        const model = await loadOverflowing(t);
        const file = path.join(temporaryFolder(t), "memory.armt");
        const found = { f16: /has left the range of f16/, bf16: /is no longer finite/, f32: /is no longer finite/ };
        for (const stateType of ["f32", "f16", "bf16"] as const) {
            await withContext(model, { ...options, stateType, sequences: 2 }, async (context) => {
                const [sequence, other] = [context.getSequence(), context.getSequence()];
                const expected = await generateGreedy(sequence, short, 6);
                await sequence.clearHistory();
                await other.evaluateWithoutGeneratingNewTokens(short as Token[]);
                const before = await other.armt!.snapshot();
                const missing = path.join(temporaryFolder(t), "none");
                const attempts: Record<string, () => Promise<unknown>> = {
                    snapshot: () => sequence.armt!.snapshot(),
                    "snapshot of closed segments": () => sequence.armt!.snapshot({ closedOnly: true }),
                    save: () => sequence.armt!.save(file),
                    "save to a new file": () => sequence.armt!.save(missing),
                    "node-llama-cpp's save": () => sequence.saveStateToFile(file),
                    "node-llama-cpp's save to a new file": () => sequence.saveStateToFile(missing)
                };
                for (const [what, attempt] of Object.entries(attempts)) {
                    const how = `${what}, ${stateType}`;
                    writeFileSync(file, "as it was");
                    await sequence.evaluateWithoutGeneratingNewTokens(long.slice(0, segmentSize + 1));
                    const error = await t.throwsAsync(attempt(), { instanceOf: ArmtEvalError }, how);
                    t.regex(error!.message, /^the memory of layer 1 .*; the sequence was cleared$/, how);
                    t.regex(error!.message, found[stateType], how);
                    t.is(readFileSync(file, "latin1"), "as it was", how);
                    t.false(existsSync(missing), how);
                    t.is(sequence.armt!.tokens, 0, how);
                    t.is(sequence.nextTokenIndex, 0, how);
                }
                const after = await other.armt!.snapshot();
                t.deepEqual(after.parts.state, before.parts.state);
                t.deepEqual(await generateGreedy(sequence, short, 6), expected);
            });
        }
    });
}

for (const options of cases) {
    test(`closing a segment, reading the memory and forking end with the error, ${JSON.stringify(options)}`, async (t) => {
        const model = await loadOverflowing(t);
        await withContext(model, { ...options, sequences: 2 }, async (context) => {
            const sequence = context.getSequence();
            const expected = await generateGreedy(sequence, short, 6);
            const fails = async (segments: number, work: () => Promise<unknown>, what: string) => {
                await sequence.clearHistory();
                await sequence.evaluateWithoutGeneratingNewTokens(long.slice(0, segments * segmentSize + 1));
                const error = await t.throwsAsync(work(), { instanceOf: ArmtEvalError }, what);
                t.regex(error!.message, /^the memory of layer 1 is no longer finite after \d+ tokens/, what);
                t.is(sequence.nextTokenIndex, 0, what);
                t.deepEqual(await generateGreedy(sequence, short, 6), expected, what);
            };
            await fails(1, () => sequence.armt!.closeSegment(), "close");
            if (options.schedule === "sequential") return;
            // the second segment is in flight, and shows it when it reaches the last layer
            await fails(2, () => sequence.armt!.readMemory(0), "read a layer");
            if (options.textsPerLayer > 0) await fails(2, () => sequence.armt!.fork(), "fork");
            t.is(context.sequencesLeft, 1);
        });
    });
}

test("keys and values that no logits show are not saved", async (t) => {
    const { model: good, file } = await loadTiny(t, { segmentSize });
    const expected = await withSequence(good, {}, (sequence) => generateGreedy(sequence, short, 6));
    await fillEmbedding(file, 95, Number.NaN);
    const llama = good.llama;
    await using model = await llama.loadModel({ modelPath: file });
    await withSequence(model, {}, async (sequence) => {
        await sequence.controlledEvaluate([[3 as Token, { generateNext: { token: true } }], 95 as Token]);
        await t.throwsAsync(sequence.armt!.snapshot(), {
            instanceOf: ArmtEvalError,
            message: /^the keys and values of the open segment are not finite.*; the sequence was cleared$/
        });
        t.is(sequence.nextTokenIndex, 0);
        t.deepEqual(await generateGreedy(sequence, short, 6), expected);
    });
});
