import { mkdir, mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import {
    ArmtMemoryStore,
    type CustomBatchingPrioritizationStrategy,
    getLlama,
    LlamaLogLevel
} from "../../plugin/index.js";
import { describeMachine } from "../../src/bench/machine.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { createApp } from "../../src/server/app.js";
import { createServer } from "../../src/server/create-server.js";
import { fairBatching } from "../../src/server/engine/batching.js";
import { listen } from "../../src/server/listen.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import { resolveTinyOptions } from "../../src/tiny/options.js";
import { writeAtomically } from "../../src/util/atomic-file.js";
import { printable, randomPrompt } from "./load.js";

const args = await yargs(hideBin(process.argv))
    .usage("Measures how long requests wait for a long prompt: a warm chat, one with a memory, and a new one.")
    .options({
        layers: { type: "number", default: 4 },
        hidden: { type: "number", default: 256 },
        ffn: { type: "number", default: 704 },
        vocab: { type: "number", default: 4096 },
        "segment-size": { type: "number", default: 256 },
        "batch-size": { type: "number", default: 512 },
        threads: { type: "number", default: 1 },
        "prompt-tokens": { type: "number", default: 64, describe: "Tokens of each short request" },
        "long-prompt": { type: "number", default: 200_000, describe: "Tokens of the prompt that they run with" },
        rounds: { type: "number", default: 5, describe: "Requests of each kind, alone and at each point" },
        out: { type: "string", default: "bench/results", describe: "Folder for the JSON file" }
    })
    .strict()
    .parse();

/** Share of the long prompt that the server has read when the short requests arrive. */
const points = { beginning: 0.02, middle: 0.5, end: 0.9 };

/**
 * Measurements of one request. `batches` counts all batches of the context until its first token: those that the
 * strategy shared out, or those that the long prompt's tokens filled meanwhile, whichever are more. The addon may read
 * several batches of a lone prompt in a row, for which the strategy is called once.
 */
type Sample = { firstTokenMs: number; batches: number };

/** Measurements of all requests of one kind. */
type Result = { chat: string; firstTokenMs: { median: number; max: number }; batches: number[] };

const model = resolveTinyOptions({
    layers: args.layers,
    hidden: args.hidden,
    heads: args.hidden / 64,
    ffn: args.ffn,
    vocab: args.vocab,
    segmentSize: args.segmentSize,
    memTokens: 16,
    dMem: 64,
    dtype: "F16"
});
let batches = 0;
/** Tokens in the sequence with the long prompt, which has the most. */
let tokensRead = () => 0;
const countedBatching: CustomBatchingPrioritizationStrategy = (options) => {
    batches++;
    return fairBatching(options);
};

const folder = await mkdtemp(path.join(os.tmpdir(), "armt-bench-"));
try {
    const modelPath = path.join(folder, "armt.gguf");
    await makeTinyCheckpoint(folder, model);
    await convertCheckpoint({ checkpoint: folder, output: modelPath, outType: "f16" });
    const llama = await getLlama({ gpu: false, maxThreads: args.threads, logLevel: LlamaLogLevel.error });
    const context = await (await llama.loadModel({ modelPath })).createContext({
        sequences: 4,
        batchSize: args.batchSize,
        threads: args.threads,
        batching: { itemPrioritizationStrategy: countedBatching }
    });
    const store = await ArmtMemoryStore.open();
    const server = createServer({ modelId: "bench", context, store });
    const { pool } = server.models.peek("bench")!.engine;
    const { url, close } = await listen(createApp(server, "0.0.0"), { host: "127.0.0.1", port: 0 }, server.limits);
    tokensRead = () => {
        const { sequences } = pool as unknown as { sequences: { armt: { tokens: number } }[] };
        return Math.max(...sequences.map((sequence) => sequence.armt.tokens));
    };
    const chats = await prepareChats(url);
    await measure(url, chats);
    const alone = await measure(url, chats);
    let isRead = false;
    const started = performance.now();
    const reading = ask(url, { prompt: randomPrompt(args.longPrompt) }).then(() => {
        isRead = true;
    });
    const beside: Record<string, Result[]> = {};
    for (const [point, share] of Object.entries(points)) {
        while (tokensRead() < share * args.longPrompt) await new Promise((resolve) => setTimeout(resolve, 20));
        beside[point] = await measure(url, chats);
        if (isRead) throw new Error(`the long prompt was read before its ${point} was measured; use a longer one`);
    }
    await reading;
    await report(alone, beside, performance.now() - started);
    await close();
    await server.models.drain();
    await llama.dispose();
} finally {
    await rm(folder, { recursive: true, force: true });
}

/** Sends a prompt and waits for the first token of the answer. */
async function ask(url: string, body: object): Promise<Sample> {
    const [before, tokensBefore, started] = [batches, tokensRead(), performance.now()];
    const response = await fetch(`${url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ max_tokens: 1, logit_bias: printable, ...body })
    });
    if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
    await response.text();
    const filled = Math.ceil((tokensRead() - tokensBefore) / args.batchSize);
    return { firstTokenMs: performance.now() - started, batches: Math.max(batches - before, filled) };
}

/** Makes each kind's prompts. */
async function prepareChats(url: string): Promise<Record<string, () => object>> {
    const history = randomPrompt(16 * args.promptTokens);
    await ask(url, { prompt: history });
    const response = await fetch(`${url}/v1/armt/memories`, {
        method: "POST",
        headers: { "content-type": "text/plain" },
        body: "The memory of a document. ".repeat(500)
    });
    if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
    const { id } = (await response.json()) as { id: string };
    return {
        warm: () => ({ prompt: [...history, ...randomPrompt(args.promptTokens)] }),
        memory: () => ({ prompt: randomPrompt(args.promptTokens), armt: { memory: id } }),
        new: () => ({ prompt: randomPrompt(args.promptTokens) })
    };
}

async function measure(url: string, chats: Record<string, () => object>): Promise<Result[]> {
    const results: Result[] = [];
    for (const [chat, body] of Object.entries(chats)) {
        const samples: Sample[] = [];
        for (let i = 0; i < args.rounds; i++) samples.push(await ask(url, body()));
        const ms = samples.map(({ firstTokenMs }) => firstTokenMs).sort((a, b) => a - b);
        results.push({
            chat,
            firstTokenMs: { median: ms[Math.floor(ms.length / 2)]!, max: ms.at(-1)! },
            batches: samples.map((sample) => sample.batches)
        });
    }
    return results;
}

async function report(alone: Result[], beside: Record<string, Result[]>, longPromptReadMs: number): Promise<void> {
    const date = new Date().toISOString();
    const result = {
        date,
        command: ["node", path.relative(process.cwd(), process.argv[1]!), ...process.argv.slice(2)].join(" "),
        machine: await describeMachine(),
        threads: args.threads,
        // the machine's load over the last minute: other processes slow the server down
        loadAverage: os.loadavg()[0],
        model,
        requests: { promptTokens: args.promptTokens, longPrompt: args.longPrompt, batchSize: args.batchSize },
        longPromptReadMs,
        alone,
        beside
    };
    const rows = Object.entries({ alone, ...beside }).flatMap(([point, results]) =>
        results.map(({ chat, firstTokenMs, batches: counts }) => ({
            point,
            chat,
            "first token, median ms": firstTokenMs.median.toFixed(0),
            "max ms": firstTokenMs.max.toFixed(0),
            batches: counts.join(", ")
        }))
    );
    console.table(rows);
    await mkdir(args.out, { recursive: true });
    const file = path.join(args.out, `waiting-${date.slice(0, 10)}.json`);
    const text = Buffer.from(`${JSON.stringify(result, undefined, 4)}\n`);
    await writeAtomically(file, {}, (target) => target.write(text));
    console.log(`written to ${file}`);
}
