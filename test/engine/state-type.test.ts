import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { ArmtEvalError, type Token } from "../../plugin/index.js";
import { decodeFloats } from "../../src/convert/float-decode.js";
import { encodeFloats } from "../../src/convert/float-encode.js";
import { fairBatching } from "../../src/server/engine/batching.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import type { AssociativeMemory } from "../helpers/associative-memory.js";
import type { ReferenceModel } from "../helpers/checkpoint.js";
import { largestDifference, relativeDifference } from "../helpers/compare.js";
import {
    generateGreedy,
    loadCheckpoint,
    loadTiny,
    readLogits,
    readMemories,
    withSequence
} from "../helpers/contexts.js";
import { ReferenceSequence } from "../helpers/reference.js";
import { scaleWeights } from "../helpers/rewrite-checkpoint.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

const schedules = ["sequential", "diagonal"] as const;
const types = ["f16", "bf16"] as const;
const dtypes = { f16: "F16", bf16: "BF16" } as const;
const segmentSize = 16;
/** Few, since the effect of one different rounding grows with each segment. */
const segments = 4;
const prompt = textIds(segmentSize * segments, 96);
const rest = textIds(9, 96, 2);

function rounded(values: ArrayLike<number>, type: (typeof types)[number]): Float32Array {
    const bytes = encodeFloats(Float32Array.from(values), dtypes[type])!;
    return Float32Array.from(decodeFloats(Buffer.from(bytes), dtypes[type]));
}

/** The recurrence in float64, with A and z rounded once after each write of a segment. */
function runRounded(model: ReferenceModel, round: (values: Float64Array) => ArrayLike<number>) {
    const sequence = new ReferenceSequence(model);
    for (let start = 0; start < prompt.length; start += segmentSize) {
        sequence.append(prompt.slice(start, start + segmentSize));
        sequence.close();
        sequence.memories = sequence.memories.map(
            ({ a, z }): AssociativeMemory => ({ a: Float64Array.from(round(a)), z: Float64Array.from(round(z)) })
        );
    }
    const memories = sequence.memories;
    return { memories, logits: sequence.append(rest) };
}

/** Reads the prompt, closes its segment, and reads further tokens. */
async function run(
    model: Parameters<typeof withSequence>[0],
    options: { schedule: (typeof schedules)[number]; stateType?: "f32" | "f16" | "bf16"; maxCells?: number }
) {
    return await withSequence(model, { ...options, batchSize: 40 }, async (sequence) => {
        await sequence.evaluateWithoutGeneratingNewTokens([...prompt] as Token[]);
        await sequence.armt!.closeSegment();
        const memories = await readMemories(sequence);
        const { memoryBytes, stateType } = sequence.armt!.context;
        return { memories, logits: await readLogits(sequence, rest), memoryBytes, stateType };
    });
}

for (const variant of [{}, { nHeads: 2, gating: true }, { useDenom: false, layers: 3 }]) {
    for (const type of types) {
        test(`only A and z are in ${type}, rounded once per segment, ${JSON.stringify(variant)}`, async (t) => {
            const { model, reference } = await loadTiny(t, variant);
            const exact = runRounded(reference, (values) => values);
            const expected = runRounded(reference, (values) => rounded(values, type));
            const drift = relativeDifference(expected.logits, exact.logits);
            t.true(drift > 1e-5, `rounding matters: ${drift}`);
            for (const schedule of schedules) {
                const { memories, logits } = await run(model, {
                    schedule,
                    stateType: type,
                    maxCells: model.armt!.layers
                });
                for (const [layer, { a, z }] of memories.entries()) {
                    const what = `${schedule}, layer ${layer}`;
                    // the stored numbers are representable in the type
                    t.deepEqual(a, rounded(a, type), what);
                    t.deepEqual(z, rounded(z, type), what);
                    const wanted = expected.memories[layer]!;
                    const lost = relativeDifference(wanted.a, exact.memories[layer]!.a);
                    t.true(
                        relativeDifference(a, wanted.a) < 0.5 * lost,
                        `${what}: ${relativeDifference(a, wanted.a)} of ${lost}`
                    );
                }
                const left = relativeDifference(logits, expected.logits);
                t.true(left < 0.5 * drift, `${schedule}: ${left} from the rounded reference, ${drift} drift`);
            }
        });
    }
}

test("one segment's memory is the rounded float32 memory", async (t) => {
    const { model } = await loadTiny(t, { nHeads: 2 });
    for (const schedule of schedules) {
        const after = (stateType: "f32" | "f16" | "bf16") =>
            withSequence(model, { schedule, stateType, batchSize: 40 }, async (sequence) => {
                await sequence.evaluateWithoutGeneratingNewTokens(prompt.slice(0, segmentSize) as Token[]);
                await sequence.armt!.closeSegment();
                return await readMemories(sequence);
            });
        const exact = await after("f32");
        for (const type of types)
            for (const [layer, { a, z }] of (await after(type)).entries()) {
                t.deepEqual(a, rounded(exact[layer]!.a, type));
                t.deepEqual(z, rounded(exact[layer]!.z, type));
            }
    }
});

test("the schedules agree in every state type, within one rounding", async (t) => {
    const { model } = await loadTiny(t, { layers: 5 });
    const plain = await run(model, { schedule: "sequential" });
    t.is(plain.stateType, "f32");
    for (const stateType of types) {
        const sequential = await run(model, { schedule: "sequential", stateType });
        t.is(sequential.stateType, stateType);
        t.is(sequential.memoryBytes, plain.memoryBytes / 2);
        const drift = relativeDifference(sequential.logits, plain.logits);
        for (const maxCells of [1, 2, 5]) {
            const diagonal = await run(model, { schedule: "diagonal", stateType, maxCells });
            const what = `${stateType}, ${maxCells} cells`;
            t.true(relativeDifference(diagonal.logits, sequential.logits) < 0.5 * drift, what);
            t.true(largestDifference(diagonal.logits, sequential.logits, 96).value < 0.02, what);
        }
    }
});

test("a memory beyond the range of f16 is an error that names the range, and works in bf16", async (t) => {
    // values a million times larger, and no denominator that would scale them down
    const folder = temporaryFolder(t);
    await makeTinyCheckpoint(folder, { vocab: 96, layers: 3 });
    await scaleWeights(folder, /\.1\.W_mv\.weight$/, 1e6);
    const { model } = await loadCheckpoint(t, folder);
    for (const schedule of schedules) {
        await withSequence(model, { schedule, stateType: "f16" }, async (sequence) => {
            const reading = async () => {
                await sequence.evaluateWithoutGeneratingNewTokens([...prompt] as Token[]);
                await sequence.armt!.closeSegment();
            };
            await t.throwsAsync(reading(), {
                message:
                    /the memory of layer 1 has left the range of f16; create the context with the stateType bf16 or f32; the sequence was cleared/
            });
        });
        await withSequence(model, { schedule, stateType: "bf16" }, async (sequence) => {
            t.true((await readLogits(sequence, prompt)).every(Number.isFinite));
        });
    }
});

test("a memory beyond the range of f16 ends its own sequence's evaluation alone", async (t) => {
    const folder = temporaryFolder(t);
    await makeTinyCheckpoint(folder, { vocab: 96, layers: 3 });
    await scaleWeights(folder, /\.1\.W_mv\.weight$/, 1e6);
    const { model } = await loadCheckpoint(t, folder);
    for (const schedule of schedules) {
        let inBatch = 0;
        const context = await model.createContext({
            sequences: 2,
            batchSize: 80,
            threads: 1,
            batching: {
                itemPrioritizationStrategy: (options) => {
                    inBatch = options.items.length;
                    return fairBatching(options);
                }
            },
            armt: { schedule, stateType: "f16" }
        });
        t.teardown(() => context.dispose());
        const [first, other] = [context.getSequence(), context.getSequence()];
        // its segment stays open, so nothing is written to its memory
        const expected = await generateGreedy(other, rest, 6);
        await other.clearHistory();
        let failing: Promise<number> | undefined;
        const tokens: number[] = [];
        for await (const token of other.evaluate(rest as Token[], { temperature: 0, yieldEogToken: true })) {
            tokens.push(token);
            failing ??= t
                .throwsAsync(generateGreedy(first, prompt, 2), {
                    instanceOf: ArmtEvalError,
                    message: /the memory of layer 1 has left the range of f16.*; the sequence was cleared/
                })
                .then(() => inBatch);
            if (tokens.length === 6) break;
        }
        t.is(await failing, 2, "both were in the batch that failed");
        t.deepEqual(tokens, expected, schedule);
        t.is(first.armt!.tokens, 0);
        t.deepEqual(await generateGreedy(first, rest, 6), expected, schedule);
    }
});

test("a memory that only the open segment's logits show is named, and the sequence can be used again", async (t) => {
    const folder = temporaryFolder(t);
    await makeTinyCheckpoint(folder, { vocab: 96, layers: 4 });
    await scaleWeights(folder, /\.2\.W_mv\.weight$/, 1e6);
    const { model } = await loadCheckpoint(t, folder);
    for (const schedule of schedules) {
        const options = { schedule, maxCells: 4, stateType: "f16" } as const;
        const expected = await withSequence(model, options, (sequence) => readLogits(sequence, rest));
        await withSequence(model, options, async (sequence) => {
            // one segment is closed, and no other one that would spread its numbers to the last layer
            await t.throwsAsync(readLogits(sequence, prompt.slice(0, segmentSize + 10)), {
                message: /the memory of layer 2 has left the range of f16.*; the sequence was cleared/
            });
            t.like(sequence.armt, { tokens: 0, openTokens: 0, segmentsClosed: 0 });
            t.deepEqual(await readLogits(sequence, rest), expected);
        });
    }
});

test("a state resumes in its own type and is refused in another, with both names", async (t) => {
    const { model } = await loadTiny(t);
    const folder = temporaryFolder(t);
    for (const stateType of ["f32", ...types] as const) {
        const file = path.join(folder, stateType);
        const snapshotFile = path.join(folder, `${stateType}.armt`);
        const expected = await withSequence(model, { schedule: "sequential", stateType }, async (sequence) => {
            await sequence.evaluateWithoutGeneratingNewTokens([...prompt] as Token[]);
            await sequence.saveStateToFile(file);
            await sequence.armt!.save(snapshotFile);
            return await readLogits(sequence, rest);
        });
        await withSequence(model, { schedule: "diagonal", stateType }, async (sequence) => {
            await sequence.loadStateFromFile(file, { acceptRisk: true });
            t.true(largestDifference(await readLogits(sequence, rest), expected, 96).value < 1e-4);
            await sequence.armt!.load(snapshotFile);
            t.true(largestDifference(await readLogits(sequence, rest), expected, 96).value < 1e-4);
        });
        const other = stateType === "f32" ? "bf16" : "f32";
        await withSequence(model, { stateType: other }, async (sequence) => {
            await t.throwsAsync(sequence.loadStateFromFile(file, { acceptRisk: true }), {
                message: new RegExp(
                    `stateType is ${stateType}, and this context's is ${other}; create the context with`
                )
            });
            await t.throwsAsync(sequence.armt!.load(snapshotFile), {
                message: new RegExp(`its \`armt\\.stateType\` is ${stateType}, and that of this context is ${other}`)
            });
            t.is(sequence.armt!.tokens, 0);
        });
    }
});

test("a state of version 1, which names no type, is float32", async (t) => {
    const { model } = await loadTiny(t);
    const file = path.join(temporaryFolder(t), "state");
    const expected = await withSequence(model, {}, async (sequence) => {
        await sequence.evaluateWithoutGeneratingNewTokens([...prompt] as Token[]);
        await sequence.saveStateToFile(file);
        return await readLogits(sequence, rest);
    });
    const bytes = readFileSync(file);
    const start = bytes.indexOf("armt");
    t.is(bytes.readUInt32LE(start + 4), 2);
    bytes.writeUInt32LE(1, start + 4);
    // magic, version, fingerprint with its length, seven sizes, then the type and the previous segment's length
    const typeAt = start + 8 + 4 + bytes.readUInt32LE(start + 8) + 7 * 4;
    t.is(bytes.readUInt32LE(typeAt), 0);
    writeFileSync(file, Buffer.concat([bytes.subarray(0, typeAt), bytes.subarray(typeAt + 8)]));
    await withSequence(model, {}, async (sequence) => {
        await sequence.loadStateFromFile(file, { acceptRisk: true });
        t.deepEqual(await readLogits(sequence, rest), expected);
    });
    await withSequence(model, { stateType: "f16" }, async (sequence) => {
        await t.throwsAsync(sequence.loadStateFromFile(file, { acceptRisk: true }), { message: /stateType is f32/ });
    });
});
