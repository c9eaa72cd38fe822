import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { ArmtEvalError, ArmtMemoryStore, getLlama, type Llama, LlamaLogLevel, type Token } from "../../plugin/index.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import { assertClose } from "../helpers/compare.js";
import { readLogits } from "../helpers/contexts.js";
import { type Answered, answered, type Lie, LyingServer } from "../helpers/lying-server.js";
import { startRpcServers } from "../helpers/rpc-servers.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

// libllama reads it at its first use
process.env.ARMT_RPC_TIMEOUT = "4";

const kvTypes = { experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32" } as const;
const shape = { vocab: 96, layers: 4, segmentSize: 16 } as const;
const ids = textIds(16 * 3 + 5, shape.vocab);

let server = "";
let llama: Llama;
let stopServer = async () => {};

test.before(async (t) => {
    t.timeout(600_000);
    const { endpoints, stop } = await startRpcServers(1);
    server = endpoints[0]!;
    stopServer = stop;
    llama = await getLlama({ gpu: false, logLevel: LlamaLogLevel.disabled, maxThreads: 1 });
});

test.after.always(() => stopServer());

async function makeModel(t: ExecutionContext): Promise<string> {
    const folder = temporaryFolder(t);
    await makeTinyCheckpoint(path.join(folder, "checkpoint"), shape);
    const file = path.join(folder, "model.gguf");
    await convertCheckpoint({ checkpoint: path.join(folder, "checkpoint"), output: file, outType: "q8_0" });
    return file;
}

/** Loads the model with a part of its layers on a server, reads, and asks for what the server knows. */
async function use(file: string, rpc: string): Promise<Float32Array> {
    const model = await llama.loadModel({ modelPath: file, armt: { rpc: [rpc] }, gpuLayers: 3 });
    try {
        const context = await model.createContext({ ...kvTypes, armt: {} });
        const sequence = context.getSequence();
        const logits = await readLogits(sequence, ids);
        (await sequence.armt!.snapshot()).dispose();
        await context.armt!.devices();
        return logits;
    } finally {
        await model.dispose();
    }
}

/** An answer of these numbers, each of 8 bytes. */
const numbers =
    (...values: bigint[]): Lie =>
    () => {
        const answer = Buffer.alloc(8 + 8 * values.length);
        for (const [i, value] of [BigInt(8 * values.length), ...values].entries())
            answer.writeBigUInt64LE(BigInt.asUintN(64, value), 8 * i);
        return answer;
    };

const filled =
    (byte: number): Lie =>
    (answer) =>
        Buffer.concat([answer.subarray(0, 8), Buffer.alloc(answer.length - 8, byte)]);

const withLength =
    (length: bigint): Lie =>
    (answer) => {
        const said = Buffer.from(answer);
        said.writeBigUInt64LE(length, 0);
        return said;
    };

/** Lies about any answer. */
const general: Record<string, Lie> = {
    "no length": withLength(0n),
    "a length of 2^63": withLength(1n << 63n),
    "half an answer": () => "close",
    "the page of a web server": () => Buffer.from("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html>"),
    "an alert of TLS": () => Buffer.from([0x15, 3, 1, 0, 2, 2, 0x16, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    zeros: filled(0),
    ones: filled(0xff)
};

/** Lies about answers of numbers. */
const special: Partial<Record<Answered, Lie[]>> = {
    ALLOC_BUFFER: [
        (answer) => numbers(answer.readBigUInt64LE(8), 1n)(answer),
        (answer) => numbers(answer.readBigUInt64LE(8), -1n)(answer),
        numbers(1n, 1n << 40n)
    ],
    GET_ALIGNMENT: [numbers(3n), numbers(1n << 40n), numbers(1n)],
    GET_MAX_SIZE: [numbers(1n), numbers(1000n)],
    BUFFER_GET_BASE: [numbers(1n), numbers(-32n), numbers(1n << 47n)],
    GET_ALLOC_SIZE: [numbers(1n), numbers(1n << 62n), numbers(1n << 45n)],
    GET_DEVICE_MEMORY: [numbers(-1n, 1n), numbers(1n, 1n << 40n)],
    DEVICE_COUNT: [
        () => Buffer.from([4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        () => Buffer.from([4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0])
    ]
};

/** Answers that no result depends on, or that only say how a server's memory is divided. */
const harmless = new Set<string>([
    "GET_ALIGNMENT: lie 2",
    ...["zeros", "ones", "lie 0", "lie 1"].map((title) => `GET_MAX_SIZE: ${title}`),
    ...["zeros", "ones", "lie 0", "lie 1"].map((title) => `GET_DEVICE_MEMORY: ${title}`),
    ...[...Object.keys(general)].map((title) => `ARMT_TIMES: ${title}`)
]);

/** Nobody can tell these from results. */
const unnoticed = "GET_TENSOR: zeros";

test.serial("whatever a server answers, an error names it, or no result depends on the answer", async (t) => {
    t.timeout(600_000);
    const file = await makeModel(t);
    const expected = await use(file, server);
    const before = process.memoryUsage().rss;
    for (const name of Object.keys(answered) as Answered[]) {
        const lies = [...Object.entries(general), ...(special[name] ?? []).map((lie, i) => [`lie ${i}`, lie] as const)];
        for (const [title, lie] of lies) {
            const what = `${name}: ${title}`;
            const liar = await LyingServer.open(t, server);
            liar.lies = { [name]: lie };
            if (harmless.has(what)) {
                assertClose(t, await use(file, liar.endpoint), expected, {
                    within: 1e-5,
                    rowLength: shape.vocab,
                    what
                });
            } else if (what === unnoticed) await use(file, liar.endpoint);
            else {
                const error = await t.throwsAsync(use(file, liar.endpoint), undefined, what);
                t.true(error!.message.includes(liar.endpoint), `${what}: ${error!.message}`);
            }
            t.true(liar.lied > 0, what);
            liar.close();
        }
    }
    const grown = (process.memoryUsage().rss - before) / 2 ** 20;
    t.true(grown < 300, `${grown} MiB more`);
    assertClose(t, await use(file, server), expected, { within: 1e-5, rowLength: shape.vocab, what: "after all lies" });
});

test.serial("a server that does not answer is an error in the time that is set", async (t) => {
    t.timeout(600_000);
    const file = await makeModel(t);
    for (const name of ["HELLO", "GET_ALIGNMENT", "GET_TENSOR"] as const) {
        const liar = await LyingServer.open(t, server);
        liar.lies = { [name]: () => "silence" };
        const error = await t.throwsAsync(use(file, liar.endpoint), undefined, name);
        t.true(error!.message.includes(liar.endpoint), error!.message);
        t.regex(error!.message, name === "HELLO" ? /no answer that this client understands/ : /no answer in time/);
        liar.close();
    }
});

test.serial("what was read before a server lies is still in the store", async (t) => {
    t.timeout(600_000);
    const file = await makeModel(t);
    const expected = await use(file, server);
    const liar = await LyingServer.open(t, server);
    const memoryStore = await ArmtMemoryStore.open();
    const model = await llama.loadModel({ modelPath: file, armt: { rpc: [liar.endpoint] }, gpuLayers: 3 });
    const context = await model.createContext({ ...kvTypes, batchSize: 16, armt: { memoryStore } });
    const sequence = context.getSequence();
    await sequence.evaluateWithoutGeneratingNewTokens(ids.slice(0, 48) as Token[]);
    liar.lies = { GET_TENSOR: filled(0xff) };
    const error = await t.throwsAsync(readLogits(sequence, ids.slice(48)), { instanceOf: ArmtEvalError });
    t.true(error!.message.includes(liar.endpoint), error!.message);
    await model.dispose();

    const again = await llama.loadModel({ modelPath: file, armt: { rpc: [server] }, gpuLayers: 3 });
    const next = await again.createContext({ ...kvTypes, armt: { memoryStore } });
    const { hits } = memoryStore.stats;
    const resumed = next.getSequence();
    await resumed.evaluateWithoutGeneratingNewTokens(ids.slice(0, 48) as Token[]);
    t.true(memoryStore.stats.hits > hits, "the prompt resumes from the store");
    const logits = await readLogits(resumed, ids.slice(48));
    const rest = expected.subarray(48 * shape.vocab);
    assertClose(t, logits, rest, { within: 1e-5, rowLength: shape.vocab, what: "after the lie" });
    await again.dispose();
});
