import path from "node:path";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import {
    ArmtDeviceError,
    ArmtEvalError,
    ArmtMemoryStore,
    type ArmtModelOptions,
    getLlama,
    type Llama,
    LlamaLogLevel,
    type LlamaModel,
    type Token
} from "../../plugin/index.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import type { TinyOptions } from "../../src/tiny/options.js";
import { assertClose } from "../helpers/compare.js";
import { readLogits, readMemories, type TestContextOptions, withContext, withSequence } from "../helpers/contexts.js";
import { checkModels, tinyShapes } from "../helpers/property.js";
import { scaleWeights } from "../helpers/rewrite-checkpoint.js";
import { FaultyNetwork, startRpcServers } from "../helpers/rpc-servers.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

/** Those of the contexts that results are compared with */
const kvTypes = { experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32" } as const;

/** Largest difference of a logit between one device and several. */
const within = 1e-5;

const shape = { vocab: 96, layers: 6, segmentSize: 16 } as const;
const ids = textIds(16 * 7 + 5, shape.vocab);

/** RPC servers for all tests, which take turns: a server works for one client at a time. */
let all: readonly string[] = [];
let llama: Llama;

test.before(async (t) => {
    t.timeout(600_000);
    const { endpoints, stop } = await startRpcServers(4);
    all = endpoints;
    stopServers = stop;
    llama = await getLlama({ gpu: false, logLevel: LlamaLogLevel.disabled, maxThreads: 1 });
});

let stopServers = async () => {};
test.after.always(() => stopServers());

/** Makes a model file, and returns what loads it on devices. */
async function makeModel(t: ExecutionContext, tiny: TinyOptions = shape) {
    const folder = temporaryFolder(t);
    await makeTinyCheckpoint(path.join(folder, "checkpoint"), tiny);
    const file = path.join(folder, "model.gguf");
    await convertCheckpoint({ checkpoint: path.join(folder, "checkpoint"), output: file, outType: "f32" });
    return async (armt?: ArmtModelOptions, gpuLayers?: number): Promise<LlamaModel> => {
        const model = await llama.loadModel({ modelPath: file, armt, gpuLayers });
        t.teardown(() => model.dispose());
        return model;
    };
}

/** Reads in pieces of a size, and then generates nothing more. */
async function read(model: LlamaModel, options: TestContextOptions, piece = ids.length): Promise<Float32Array> {
    return withSequence(model, options, async (sequence) => {
        const logits = new Float32Array(ids.length * shape.vocab);
        for (let start = 0; start < ids.length; start += piece)
            logits.set(await readLogits(sequence, ids.slice(start, start + piece)), start * shape.vocab);
        return logits;
    });
}

test.serial("layers on 1 to 4 servers, and partly here, give the logits of one device", async (t) => {
    t.timeout(600_000);
    const load = await makeModel(t);
    const local = await load();
    const placements: { armt: ArmtModelOptions; gpuLayers?: number; layers: number[] }[] = [
        { armt: { rpc: all.slice(0, 1) }, layers: [6] },
        { armt: { rpc: all.slice(0, 2), tensorSplit: [1, 1] }, layers: [4, 2] },
        { armt: { rpc: all.slice(0, 3), tensorSplit: [1, 4, 2] }, layers: [1, 4, 1] },
        { armt: { rpc: all, tensorSplit: [2, 2, 2, 1] }, layers: [2, 2, 2] },
        { armt: { rpc: all, tensorSplit: [1, 2, 2, 2] }, layers: [1, 2, 2, 1] },
        { armt: { rpc: all.slice(0, 2), tensorSplit: [1, 1] }, gpuLayers: 4, layers: [3, 2, 1] },
        { armt: { rpc: all.slice(0, 2), splitMode: "none", mainGpu: 1 }, layers: [6] }
    ];
    for (const schedule of ["sequential", "diagonal"] as const) {
        const expected = await read(local, { schedule });
        for (const { armt, gpuLayers, layers } of placements) {
            const model = await load(armt, gpuLayers);
            for (const [piece, flashAttention] of [
                [ids.length, false],
                [23, true]
            ] as const) {
                const what = JSON.stringify({ schedule, armt, gpuLayers, piece });
                const logits = await read(model, { schedule, batchSize: 40, flashAttention }, piece);
                assertClose(t, logits, expected, { within, rowLength: shape.vocab, what });
            }
            await withContext(model, { schedule }, async (context) => {
                const devices = await context.armt!.devices();
                t.deepEqual(
                    devices.map((device) => device.layers),
                    layers,
                    JSON.stringify({ armt, devices })
                );
            });
            await model.dispose();
        }
    }
});

test.serial("sequences share the diagonals where all layers are on one server", async (t) => {
    t.timeout(600_000);
    const load = await makeModel(t);
    const texts = [ids, ids.slice(0, 16 * 4 + 9)];
    const local = await load();
    const expected: Float32Array[] = [];
    for (const text of texts) expected.push(await withSequence(local, {}, (sequence) => readLogits(sequence, text)));
    for (const servers of [1, 2]) {
        const model = await load({ rpc: all.slice(0, servers), tensorSplit: Array(servers).fill(1) });
        await withContext(model, { sequences: 2, batchSize: 40, textsPerLayer: 1 }, async (context) => {
            t.is(context.armt!.schedule, "diagonal");
            t.is(context.armt!.textsPerLayer, servers === 1 ? 1 : 0);
            const sequences = [context.getSequence(), context.getSequence()];
            await Promise.all(
                texts.map(async (text, i) => {
                    await sequences[i]!.evaluateWithoutGeneratingNewTokens(text.slice(0, -3) as Token[]);
                    const logits = await readLogits(sequences[i]!, text.slice(-3));
                    const last = expected[i]!.subarray((text.length - 3) * shape.vocab);
                    assertClose(t, logits, last, { within, rowLength: shape.vocab, what: `${servers}, text ${i}` });
                })
            );
        });
        await model.dispose();
    }
});

test.serial("a state that was saved on some devices continues on others", async (t) => {
    t.timeout(600_000);
    const load = await makeModel(t);
    const servers = all.slice(0, 3);
    const expected = await read(await load(), {});
    const cut = 16 * 4 + 7;
    const wholes = [
        undefined,
        { rpc: servers, tensorSplit: [1, 3, 3] },
        { rpc: servers.slice(1), tensorSplit: [3, 1] }
    ];
    for (const schedule of ["sequential", "diagonal"] as const)
        for (const [i, from] of wholes.entries()) {
            const to = wholes[(i + 1) % wholes.length];
            const first = await load(from);
            const snapshot = await withSequence(first, { schedule }, async (sequence) => {
                await sequence.evaluateWithoutGeneratingNewTokens(ids.slice(0, cut) as Token[]);
                return await sequence.armt!.snapshot();
            });
            await first.dispose();
            const second = await load(to);
            await withSequence(second, { schedule }, async (sequence) => {
                await sequence.armt!.restore(snapshot);
                const logits = await readLogits(sequence, ids.slice(cut));
                const what = JSON.stringify({ schedule, from, to });
                const rest = expected.subarray(cut * shape.vocab);
                assertClose(t, logits, rest, { within, rowLength: shape.vocab, what });
            });
            snapshot.dispose();
            await second.dispose();
        }
});

const cases = fc.record({
    shape: tinyShapes,
    schedule: fc.constantFrom("sequential" as const, "diagonal" as const),
    /** Parts of the devices, the last servers of which may be left out. */
    parts: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }),
    /** Share of the layers that stays here. */
    here: fc.constantFrom(0, 0, 0.5),
    segments: fc.integer({ min: 1, max: 20 }),
    batchSize: fc.integer({ min: 1, max: 64 })
});

test.serial("every variant gives the same logits and states on several devices", async (t) => {
    t.timeout(600_000);
    const checked = await checkModels(cases, { most: 40, least: 12, seconds: 60 }, async (value) => {
        const { shape, schedule, parts, here, segments, batchSize } = value;
        const load = await makeModel(t, shape);
        const armt = { rpc: all.slice(0, parts.length), tensorSplit: parts };
        const gpuLayers = here > 0 ? Math.ceil(shape.layers * here) : undefined;
        const text = textIds(segments * shape.segmentSize + 1, shape.vocab);
        const results: { logits: Float32Array; memory: Float32Array[] }[] = [];
        for (const model of [await load(), await load(armt, gpuLayers)]) {
            const options = { schedule, batchSize };
            results.push(
                await withSequence(model, options, async (sequence) => {
                    const logits = await readLogits(sequence, text);
                    await sequence.armt!.closeSegment();
                    return { logits, memory: (await readMemories(sequence)).map(({ a }) => a) };
                })
            );
            await model.dispose();
        }
        const [one, several] = results;
        const what = JSON.stringify(value);
        assertClose(t, several!.logits, one!.logits, { within, rowLength: shape.vocab, what });
        for (const [layer, a] of one!.memory.entries()) {
            const largest = a.reduce((max, x) => Math.max(max, Math.abs(x)), 1);
            const close = { within: within * largest, rowLength: a.length, what: `${what}, layer ${layer}` };
            assertClose(t, several!.memory[layer]!, a, close);
        }
    });
    t.log(`${checked} models`);
});

test.serial("several sequences, forks and generation work across devices", async (t) => {
    t.timeout(600_000);
    const load = await makeModel(t);
    const servers = all.slice(0, 2);
    const remote = await load({ rpc: servers, tensorSplit: [1, 1] });
    const local = await load();
    const [actual, expected] = await Promise.all(
        [remote, local].map((model) =>
            withContext(model, { sequences: 3, schedule: "diagonal" }, async (context) => {
                const [a, b] = [context.getSequence(), context.getSequence()];
                const both = await Promise.all([readLogits(a, ids), readLogits(b, ids.slice(9))]);
                return [...both, await readLogits(await a.armt!.fork(), [5, 6, 7])];
            })
        )
    );
    for (const [i, logits] of expected!.entries())
        assertClose(t, actual![i]!, logits, { within, rowLength: shape.vocab, what: `result ${i}` });
});

test.serial("servers say how long they worked and waited", async (t) => {
    t.timeout(600_000);
    const load = await makeModel(t);
    const servers = all.slice(0, 2);
    const model = await load({ rpc: servers, tensorSplit: [1, 1] });
    await withContext(model, { schedule: "diagonal" }, async (context) => {
        const before = await context.armt!.devices();
        t.deepEqual(
            before.map(({ name }) => name),
            servers
        );
        await readLogits(context.getSequence(), ids);
        for (const [i, { workedMs, waitedMs }] of (await context.armt!.devices()).entries()) {
            t.true(workedMs! > before[i]!.workedMs!, `device ${i} worked ${workedMs} ms`);
            t.true(waitedMs! > before[i]!.waitedMs!, `device ${i} waited ${waitedMs} ms`);
        }
    });
});

test.serial("a step sends one segment's rows to the next device, and no weights", async (t) => {
    t.timeout(600_000);
    const load = await makeModel(t, { ...shape, hidden: 64 });
    const networks = await Promise.all(all.slice(0, 2).map((server) => FaultyNetwork.open(t, server)));
    const model = await load({ rpc: networks.map(({ endpoint }) => endpoint), tensorSplit: [1, 1] });
    await withSequence(model, { schedule: "diagonal" }, async (sequence) => {
        const segments = 20;
        const read = () => sequence.evaluateWithoutGeneratingNewTokens(textIds(16 * segments, 96) as Token[]);
        await read(); // fills the pipeline
        const before = networks.map(({ bytes }) => bytes);
        await read();
        const rows = (16 + model.armt!.memoryTokens) * 64 * 4;
        const [first, next] = networks.map(({ bytes }, i) => (bytes - before[i]!) / segments);
        // commands, and descriptions of tensors
        const others = 2000;
        t.true(first! > 16 * 4, `the first server got ${first} bytes a step`);
        t.true(first! < 16 * 4 + others, `the first server got ${first} bytes a step for 16 tokens`);
        t.true(next! > 16 * 64 * 4, `the next server got ${next} bytes a step`);
        t.true(next! < rows + others, `the next server got ${next} bytes a step for rows of ${rows}`);
    });
});

test.serial("a step has one part for each device", async (t) => {
    t.timeout(600_000);
    // a part of the CPU between theirs, or a tensor of one device that another reads, would let them take turns
    const ropeScaling = {
        type: "llama3",
        factor: 8,
        lowFreqFactor: 1,
        highFreqFactor: 4,
        originalMaxPositions: 32
    } as const;
    for (const tied of [true, false]) {
        const load = await makeModel(t, { ...shape, tied, ropeScaling });
        const local = await load();
        for (const servers of [all.slice(0, 2), all.slice(0, 3)])
            for (const schedule of ["diagonal", "sequential"] as const) {
                const what = `${servers.length} servers, ${schedule}, ${tied ? "tied" : "untied"}`;
                const model = await load({ rpc: servers, tensorSplit: servers.map(() => 1) });
                await withContext(model, { schedule }, async (context) => {
                    const sequence = context.getSequence();
                    const text = textIds(16 * 20, shape.vocab) as Token[];
                    await sequence.evaluateWithoutGeneratingNewTokens(text); // fills the pipeline
                    const { graphs, graphsReused, graphParts } = context.armt!;
                    await sequence.evaluateWithoutGeneratingNewTokens(text);
                    const done = context.armt!.graphs - graphs;
                    t.true(done >= 19, `${what}: ${done} graphs`);
                    t.is(context.armt!.graphsReused - graphsReused, done, `${what}: graphs that were reused`);
                    t.is(context.armt!.graphParts - graphParts, done * servers.length, `${what}: parts`);
                });
                const close = { within, rowLength: shape.vocab, what };
                assertClose(t, await read(model, { schedule }), await read(local, { schedule }), close);
                await model.dispose();
            }
    }
});

test.serial("a slow network changes nothing", async (t) => {
    t.timeout(600_000);
    const load = await makeModel(t);
    const servers = all.slice(0, 2);
    const network = await FaultyNetwork.open(t, servers[1]!);
    network.delay = 2;
    const model = await load({ rpc: [servers[0]!, network.endpoint], tensorSplit: [1, 1] });
    const logits = await read(model, { schedule: "diagonal" });
    assertClose(t, logits, await read(await load(), {}), { within, rowLength: shape.vocab, what: "logits" });
});

test.serial("a lost server is an error that names it, and a store keeps what was read", async (t) => {
    t.timeout(600_000);
    const load = await makeModel(t);
    const servers = all.slice(0, 2);
    const network = await FaultyNetwork.open(t, servers[1]!);
    const placement = { rpc: [servers[0]!, network.endpoint], tensorSplit: [1, 1] };
    const memoryStore = await ArmtMemoryStore.open();
    const prompt = ids.slice(0, 16 * 6) as Token[];

    const model = await load(placement);
    const context = await model.createContext({
        sequences: 2,
        batchSize: 16,
        ...kvTypes,
        armt: { memoryStore, schedule: "diagonal" }
    });
    const sequence = context.getSequence();
    const other = context.getSequence();
    await sequence.evaluateWithoutGeneratingNewTokens(prompt);
    t.true(memoryStore.stats.memoryEntries > 0, "the store has what was read");

    network.cutAfter = network.bytes + 20_000;
    const names = new RegExp(network.endpoint.replaceAll(".", "\\."));
    const error = await t.throwsAsync(readLogits(sequence, ids), { instanceOf: ArmtEvalError });
    t.regex(error!.message, names);
    const later = await t.throwsAsync(other.evaluateWithoutGeneratingNewTokens(prompt), { instanceOf: ArmtEvalError });
    t.regex(later!.message, names);
    const saving = await t.throwsAsync(sequence.armt!.snapshot());
    t.regex(saving!.message, names);
    await context.dispose();
    await model.dispose();

    network.cutAfter = Number.POSITIVE_INFINITY;
    const again = await load(placement);
    const hits = memoryStore.stats.hits;
    const next = await again.createContext({ ...kvTypes, armt: { memoryStore, schedule: "diagonal" } });
    const resumed = next.getSequence();
    await resumed.evaluateWithoutGeneratingNewTokens(prompt);
    t.true(memoryStore.stats.hits > hits, "the prompt resumes from the store");
    const logits = await readLogits(resumed, ids.slice(prompt.length));
    const expected = (await read(await load(), {})).subarray(prompt.length * shape.vocab);
    assertClose(t, logits, expected, { within, rowLength: shape.vocab, what: "after the loss" });
});

test.serial("a server that cannot be used is an error that names it", async (t) => {
    t.timeout(600_000);
    const load = await makeModel(t);
    const [server] = all;
    const nobody = await t.throwsAsync(load({ rpc: ["127.0.0.1:1"] }), { instanceOf: ArmtDeviceError });
    t.regex(nobody!.message, /127\.0\.0\.1:1: cannot connect/);
    const unknown = await t.throwsAsync(load({ rpc: ["no-such-host.invalid:50052"] }), { instanceOf: ArmtDeviceError });
    t.regex(unknown!.message, /no-such-host\.invalid:50052: cannot connect/);
    const network = await FaultyNetwork.open(t, server!);
    network.cutAfter = 0;
    const cut = await t.throwsAsync(load({ rpc: [network.endpoint] }), { instanceOf: ArmtDeviceError });
    t.regex(cut!.message, /no answer that this client understands/);
    const many = await t.throwsAsync(load({ rpc: [server!], tensorSplit: [1, 2] }), { instanceOf: ArmtDeviceError });
    t.regex(many!.message, /tensorSplit has 2 parts, and there are 1 devices/);
    for (const armt of [
        { rpc: "127.0.0.1:1" },
        { rpc: ["127.0.0.1"] },
        { rpc: ["::1:50052"] },
        { rpc: ["a:0"] },
        { rpc: ["a:1", "a:1"] },
        { splitMode: "row" },
        { tensorSplit: [0, 0] },
        { tensorSplit: [-1] },
        { other: 1 }
    ] as unknown as ArmtModelOptions[])
        await t.throwsAsync(load(armt), { instanceOf: TypeError }, JSON.stringify(armt));
    await t.throwsAsync(load({ mainGpu: -1 }), { instanceOf: RangeError });
    t.is((await read(await load(), {})).length, ids.length * shape.vocab, "the process continues");
});

test.serial("a memory that grows without bound on servers ends its own read, and names them", async (t) => {
    const folder = temporaryFolder(t);
    const file = path.join(folder, "model.gguf");
    await makeTinyCheckpoint(folder, { ...shape, layers: 4, useDenom: false, normalizeKeys: false });
    await scaleWeights(folder, /\.1\.W_mk\.weight$/, 3);
    await convertCheckpoint({ checkpoint: folder, output: file, outType: "f32" });
    const rpc = all.slice(0, 2);
    const model = await llama.loadModel({ modelPath: file, armt: { rpc } });
    t.teardown(() => model.dispose());
    for (const schedule of ["sequential", "diagonal"] as const) {
        await withContext(model, { schedule, sequences: 2, batchSize: 48 }, async (context) => {
            const [sequence, other] = [context.getSequence(), context.getSequence()];
            const before = await readLogits(other, ids.slice(0, 9));
            const error = await t.throwsAsync(
                sequence.evaluateWithoutGeneratingNewTokens(textIds(16 * 100, shape.vocab) as Token[]),
                { instanceOf: ArmtEvalError }
            );
            t.regex(error!.message, /^the memory of layer [123] is no longer finite after \d+ tokens: /);
            t.true(error!.message.includes(`an RPC server computed wrongly (${rpc.join(", ")})`), error!.message);
            t.is(sequence.armt!.tokens, 0);
            t.is(other.armt!.tokens, 9);
            t.deepEqual(await readLogits(sequence, ids.slice(0, 9)), before);
        });
    }
});
