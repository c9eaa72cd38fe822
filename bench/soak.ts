// `npm run soak`: half an hour of mixed load on a server. Every answer must equal the one that the same request got
// when it was alone, nothing may get lost, and the process must not grow.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import { describeMachine } from "../src/bench/machine.js";
import { convertCheckpoint } from "../src/convert/convert.js";
import { makeTinyCheckpoint } from "../src/tiny/checkpoint.js";
import { resolveTinyOptions } from "../src/tiny/options.js";
import { writeAtomically } from "../src/util/atomic-file.js";
import { seededRandom } from "../src/util/random.js";
import type { ServerWorkerFigures, ServerWorkerOptions, ServerWorkerReply } from "./server/worker.js";

const args = await yargs(hideBin(process.argv))
    .usage("Sends mixed requests to a server for a time and checks every answer.")
    .options({
        minutes: { type: "number", default: 30 },
        clients: { type: "number", default: 8 },
        sequences: { type: "number", default: 4 },
        threads: { type: "number", default: 1 },
        prompts: { type: "number", default: 40, describe: "Different requests of each kind" },
        seed: { type: "number", default: 1 },
        out: { type: "string", default: "bench/results", describe: "Folder for the JSON file" }
    })
    .strict()
    .parse();

/** Most that the resident memory may grow after the warm-up. Unit: bytes for 1,000 requests. */
const maxGrowth = 2 ** 20;

/** Share of the time after which growth counts. */
const warmUp = 1 / 3;

const model = resolveTinyOptions({ layers: 4, hidden: 64, heads: 2, segmentSize: 64, memTokens: 8, dMem: 32 });
const random = seededRandom(args.seed, "soak");
const draw = (low: number, high: number) => low + Math.floor(random() * (high - low + 1));
const words = "the lamp is in kitchen and nobody moved it since a count of seven letters lay under green door".split(
    " "
);
const text = (count: number) => Array.from({ length: count }, () => words[draw(0, words.length - 1)]).join(" ");

let url = "";

async function call(route: string, body: unknown, init: RequestInit = {}): Promise<Response> {
    const isText = typeof body === "string";
    return await fetch(`${url}${route}`, {
        method: "POST",
        headers: { "content-type": isText ? "text/plain" : "application/json" },
        body: isText ? body : JSON.stringify(body),
        ...init
    });
}

async function json(route: string, body: unknown, status = 200): Promise<Record<string, unknown>> {
    const response = await call(route, body);
    const answer = (await response.json()) as Record<string, unknown>;
    if (response.status !== status) throw new Error(`${route}: ${response.status} ${JSON.stringify(answer)}`);
    return answer;
}

/** The data of a stream's events. */
async function events(route: string, body: object): Promise<Record<string, unknown>[]> {
    const response = await call(route, { ...body, stream: true });
    const lines = (await response.text()).split("\n").filter((line) => line.startsWith("data: "));
    if (lines.pop() !== "data: [DONE]") throw new Error(`${route}: a stream broke off`);
    return lines.map((line) => JSON.parse(line.slice(6)) as Record<string, unknown>);
}

/** A kind of request. Both functions must depend on the number alone. */
interface Kind {
    readonly name: string;
    /** How often it is sent, relative to the others. */
    readonly weight: number;
    /** Sends request `i` and returns what must be the same each time. */
    readonly send: (i: number) => Promise<unknown>;
}

const numbers = Array.from({ length: args.prompts }, (_, i) => i);
const prompts = numbers.map(() => text(draw(3, 120)));
const chats = numbers.map(() => [{ role: "user", content: text(draw(3, 60)) }]);
const documents = numbers.map(() => `${text(draw(200, 600))}.`);
const tokens = numbers.map((i) => 4 + (i % 29));
const schema = {
    type: "object",
    properties: { name: { type: "string", maxLength: 8 }, count: { type: "integer", minimum: 0, maximum: 99 } },
    required: ["name", "count"],
    additionalProperties: false
};
const badBodies = [
    { prompt: [-1] },
    { prompt: "a", temperature: "hot" },
    { prompt: "a", unknown: 1 },
    { max_tokens: 2 }
];

const kinds: readonly Kind[] = [
    {
        name: "completion",
        weight: 6,
        send: async (i) => {
            const body = { prompt: prompts[i], max_tokens: tokens[i], temperature: 0 };
            return (await json("/v1/completions", body)).choices;
        }
    },
    {
        name: "completion with a seed",
        weight: 3,
        send: async (i) => {
            const body = { prompt: prompts[i], max_tokens: tokens[i], temperature: 1, seed: i };
            return (await json("/v1/completions", body)).choices;
        }
    },
    {
        name: "chat, streamed",
        weight: 4,
        send: async (i) => {
            const body = { messages: chats[i], max_tokens: tokens[i], temperature: 0 };
            const pieces = await events("/v1/chat/completions", body);
            return pieces
                .flatMap(({ choices }) => choices as { delta: { content?: string } }[])
                .map(({ delta }) => delta.content ?? "")
                .join("");
        }
    },
    {
        name: "chat with a schema",
        weight: 2,
        send: async (i) => {
            const response_format = { type: "json_schema", json_schema: { name: "a", schema, strict: true } };
            const body = { messages: chats[i], max_tokens: 60, temperature: 0, response_format };
            return (await json("/v1/chat/completions", body)).choices;
        }
    },
    {
        name: "two responses, the second continues the first",
        weight: 1,
        send: async (i) => {
            const first = await json("/v1/responses", { input: prompts[i], max_output_tokens: 16, temperature: 0 });
            const next = { input: "and then?", max_output_tokens: 16, temperature: 0, previous_response_id: first.id };
            const second = await json("/v1/responses", next);
            const textOf = (response: Record<string, unknown>) =>
                (response.output as { content?: { text?: string }[] }[]).map(({ content }) => content?.[0]?.text);
            return [textOf(first), textOf(second)];
        }
    },
    {
        name: "document, question, deletion",
        weight: 1,
        send: async (i) => {
            const memory = await json("/v1/armt/memories", documents[i], 201);
            const body = { prompt: "where?", max_tokens: 8, temperature: 0, armt: { memory: memory.id } };
            const { choices } = await json("/v1/completions", body);
            const deleted = await fetch(`${url}/v1/armt/memories/${String(memory.id)}`, { method: "DELETE" });
            return [memory.tokens, choices, ((await deleted.json()) as { deleted?: boolean }).deleted];
        }
    },
    {
        name: "client that leaves",
        weight: 2,
        send: async (i) => {
            const gone = AbortSignal.timeout(5 + ((7 * i) % 60));
            const body = { prompt: prompts[i], max_tokens: 400, temperature: 0, stream: true };
            try {
                await (await call("/v1/completions", body, { signal: gone })).text();
            } catch {
                // as intended
            }
            return "left";
        }
    },
    {
        name: "wrong request",
        weight: 1,
        send: async (i) => (await json("/v1/completions", badBodies[i % badBodies.length], 400)).error
    },
    {
        name: "tokenize",
        weight: 1,
        send: async (i) => (await json("/tokenize", { content: prompts[i] })).tokens
    }
];

const requests = kinds.flatMap((kind) => numbers.map((i) => ({ kind, i, expected: undefined as unknown })));
const deck = kinds.flatMap((kind) => Array.from({ length: kind.weight }, () => kind));

type Failure = { kind: string; i: number; reason: string };
type Row = { seconds: number; requests: number } & ServerWorkerFigures;

const folder = await mkdtemp(path.join(os.tmpdir(), "armt-soak-"));
const counts: Record<string, number> = {};
const failures: Failure[] = [];
const rows: Row[] = [];
let sent = 0;
let isStopped = false;
process.once("SIGTERM", () => {
    isStopped = true;
});
try {
    const modelPath = path.join(folder, "model.gguf");
    await makeTinyCheckpoint(folder, model);
    await convertCheckpoint({ checkpoint: folder, output: modelPath, outType: "f32" });
    const child = await start(modelPath);
    // serially, on an idle server
    for (const request of requests) request.expected = await request.kind.send(request.i);
    console.log(`${requests.length} requests were answered one after another`);
    const started = performance.now();
    const seconds = () => (performance.now() - started) / 1000;
    const isOver = () => isStopped || seconds() >= args.minutes * 60;
    const client = async () => {
        while (!isOver()) await sendOne();
    };
    const watch = async () => {
        const every = Math.min(10, args.minutes * 2);
        while (!isOver()) {
            rows.push({ seconds: seconds(), requests: sent, ...(await figuresOf(child)) });
            if (rows.length % 6 === 1) console.log(JSON.stringify(rows.at(-1)));
            await new Promise((resolve) => setTimeout(resolve, every * 1000));
        }
    };
    await Promise.all([watch(), ...Array.from({ length: args.clients }, client)]);
    // clients that left have left no trace: the server is idle, and still answers as before
    for (const request of requests.filter(({ i }) => i === 0)) await check(request);
    child.disconnect();
    const [code] = (await once(child, "exit")) as [number | null];
    if (code !== 0) failures.push({ kind: "end of the server", i: 0, reason: `exit code ${code}` });
} finally {
    await rm(folder, { recursive: true, force: true });
}
await report();

async function start(modelPath: string): Promise<ChildProcess> {
    const { sequences, threads } = args;
    const storeBytes = 16 * 2 ** 20;
    const options: ServerWorkerOptions = {
        modelPath,
        armt: true,
        sequences,
        contextSize: 0,
        batchSize: 256,
        threads,
        storeBytes,
        exact: true
    };
    const child = fork(fileURLToPath(new URL("server/worker.js", import.meta.url)), [JSON.stringify(options)]);
    const [reply] = (await Promise.race([
        once(child, "message"),
        once(child, "exit").then(([code]) => {
            throw new Error(`the server ended with exit code ${code}; see its message above`);
        })
    ])) as [ServerWorkerReply];
    url = reply.url;
    return child;
}

async function figuresOf(child: ChildProcess): Promise<ServerWorkerFigures> {
    child.send("figures");
    const [figures] = (await once(child, "message")) as [ServerWorkerFigures];
    return figures;
}

async function sendOne(): Promise<void> {
    const kind = deck[draw(0, deck.length - 1)]!;
    const i = draw(0, args.prompts - 1);
    await check(requests.find((request) => request.kind === kind && request.i === i)!);
}

async function check({ kind, i, expected }: (typeof requests)[number]): Promise<void> {
    try {
        const answer = await kind.send(i);
        if (!isDeepStrictEqual(answer, expected))
            failures.push({
                kind: kind.name,
                i,
                reason: `got ${JSON.stringify(answer)}, expected ${JSON.stringify(expected)}`
            });
    } catch (error) {
        failures.push({ kind: kind.name, i, reason: String(error) });
    }
    sent++;
    counts[kind.name] = (counts[kind.name] ?? 0) + 1;
}

/** Slope of the least-squares line through (x, y). */
function slope(points: readonly { x: number; y: number }[]): number {
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const [x0, y0] = [mean(points.map(({ x }) => x)), mean(points.map(({ y }) => y))];
    const over = points.reduce((sum, { x, y }) => sum + (x - x0) * (y - y0), 0);
    return over / points.reduce((sum, { x }) => sum + (x - x0) ** 2, 0);
}

async function report(): Promise<void> {
    const date = new Date().toISOString();
    const lasted = rows.at(-1)?.seconds ?? 0;
    const after = rows.filter(({ seconds }) => seconds > lasted * warmUp);
    const growth = 1000 * slope(after.map(({ requests: x, rssBytes: y }) => ({ x, y })));
    const result = {
        format: "armt soak 1",
        date,
        machine: await describeMachine(),
        // other processes slow the server down
        loadAverage: os.loadavg()[0],
        model,
        settings: { ...args, _: undefined, $0: undefined },
        seconds: lasted,
        requests: sent,
        counts,
        failures: failures.length,
        firstFailures: failures.slice(0, 20),
        growth: { bytesPer1000Requests: Math.round(growth), bound: maxGrowth, warmUpSeconds: lasted * warmUp },
        rows
    };
    await mkdir(args.out, { recursive: true });
    const file = path.join(args.out, `soak-${date.slice(0, 10)}.json`);
    await writeAtomically(file, {}, (target) => target.write(Buffer.from(`${JSON.stringify(result, undefined, 4)}\n`)));
    console.log(
        `${sent} requests in ${Math.round(lasted)} s, ${failures.length} failures, ` +
            `${(growth / 2 ** 10).toFixed(0)} KiB for 1,000 requests; written to ${file}`
    );
    if (failures.length > 0 || !(growth < maxGrowth)) process.exitCode = 1;
}
