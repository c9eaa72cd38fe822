import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import { describeMachine } from "../../src/bench/machine.js";
import { writePlainGguf } from "../../src/bench/plain-gguf.js";
import { summarize } from "../../src/bench/statistics.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import { resolveTinyOptions } from "../../src/tiny/options.js";
import { writeAtomically } from "../../src/util/atomic-file.js";
import { ask, load, randomPrompt, type Timing } from "./load.js";
import type { ServerWorkerOptions, ServerWorkerReply } from "./worker.js";

const args = await yargs(hideBin(process.argv))
    .usage(
        "Measures the server with an ARMT model and with stock node-llama-cpp on the same base model, behind the " +
            "same routes."
    )
    .options({
        layers: { type: "number", default: 4 },
        hidden: { type: "number", default: 256 },
        ffn: { type: "number", default: 704 },
        vocab: { type: "number", default: 4096 },
        "segment-size": { type: "number", default: 256 },
        "mem-tokens": { type: "number", default: 16 },
        clients: { type: "number", array: true, default: [1, 8, 32] },
        sequences: { type: "number", default: 8 },
        threads: { type: "number", describe: "CPU threads [default: the cores that are there]" },
        seconds: { type: "number", default: 6, describe: "Length of each load" },
        rounds: { type: "number", default: 3, describe: "Each case runs once a round" },
        "prompt-tokens": { type: "number", default: 64 },
        "max-tokens": { type: "number", default: 16 },
        "long-prompt": {
            type: "number",
            default: 100_000,
            describe: "Tokens of the long prompt that short ones run with"
        },
        out: { type: "string", default: "bench/results", describe: "Folder for the JSON file" }
    })
    .strict()
    .parse();

const model = resolveTinyOptions({
    layers: args.layers,
    hidden: args.hidden,
    heads: args.hidden / 64,
    ffn: args.ffn,
    vocab: args.vocab,
    segmentSize: args.segmentSize,
    memTokens: args.memTokens,
    dMem: 64,
    dtype: "F16"
});

type Server = { name: string; url: string; threads: number; child: ChildProcess };

const folder = await mkdtemp(path.join(os.tmpdir(), "armt-bench-"));
const servers: Server[] = [];
try {
    const files = { armt: path.join(folder, "armt.gguf"), plain: path.join(folder, "plain.gguf") };
    await makeTinyCheckpoint(folder, model);
    await convertCheckpoint({ checkpoint: folder, output: files.armt, outType: "f16" });
    await writePlainGguf(files.armt, files.plain);
    servers.push(await start("stock", files.plain, false), await start("ARMT", files.armt, true));
    await report(await measureLoads(), await measureBesideLongPrompt());
} finally {
    for (const { child } of servers) {
        child.disconnect();
        if (child.exitCode === null) await once(child, "exit");
    }
    await rm(folder, { recursive: true, force: true });
}

async function start(name: string, modelPath: string, armt: boolean): Promise<Server> {
    const options: ServerWorkerOptions = {
        modelPath,
        armt,
        sequences: args.sequences,
        contextSize: args.longPrompt + 1024,
        batchSize: 512,
        threads: args.threads
    };
    const child = fork(fileURLToPath(new URL("worker.js", import.meta.url)), [JSON.stringify(options)]);
    const [reply] = (await Promise.race([
        once(child, "message"),
        once(child, "exit").then(([code]) => {
            throw new Error(`the server ended with exit code ${code}; see its message above`);
        })
    ])) as [ServerWorkerReply];
    return { name, child, ...reply };
}

async function measureLoads() {
    const cases = args.clients.flatMap((clients) =>
        servers.map(({ name, url }) => ({
            name,
            url,
            clients,
            requestsPerSecond: [] as number[],
            timings: [] as Timing[]
        }))
    );
    // the first round is a warm-up and is discarded
    for (let round = 0; round <= args.rounds; round++)
        for (const one of cases) {
            const milliseconds = round === 0 ? 1000 : args.seconds * 1000;
            const { promptTokens, maxTokens } = args;
            const { timings, requestsPerSecond } = await load(one.url, one.clients, {
                milliseconds,
                promptTokens,
                maxTokens
            });
            if (round === 0) continue;
            one.requestsPerSecond.push(requestsPerSecond);
            one.timings.push(...timings);
        }
    return cases.map(({ name, clients, requestsPerSecond, timings }) => ({
        name,
        clients,
        requestsPerSecond: summarize(requestsPerSecond),
        firstTokenMs: quantiles(timings.map(({ firstToken }) => firstToken))
    }));
}

/** Measures a short chat's time to its first token and to its end, alone and while the server reads a long prompt. */
async function measureBesideLongPrompt() {
    const results = [];
    for (const { name, url } of servers) {
        const short = async (milliseconds: number) => {
            const timings: Timing[] = [];
            const end = performance.now() + milliseconds;
            while (performance.now() < end)
                timings.push(await ask(url, randomPrompt(args.promptTokens), args.maxTokens));
            return describe(timings);
        };
        const alone = await short(args.seconds * 1000);
        const given = new AbortController();
        const started = performance.now();
        let readMs: number | undefined;
        const reading = ask(url, randomPrompt(args.longPrompt), 1, given.signal).then(
            () => {
                readMs = performance.now() - started;
            },
            (error) => {
                if (!given.signal.aborted) throw error;
            }
        );
        await new Promise((resolve) => setTimeout(resolve, 500));
        const beside = [];
        for (let i = 0; i < args.rounds && readMs === undefined; i++) beside.push(await short(args.seconds * 1000));
        const covered = readMs === undefined ? performance.now() - started : readMs;
        given.abort();
        await reading;
        results.push({
            name,
            longPrompt: args.longPrompt,
            alone,
            beside,
            longPromptReadMs: readMs ?? null,
            coveredMs: covered
        });
    }
    return results;
}

function describe(timings: Timing[]) {
    return {
        requests: timings.length,
        firstTokenMs: quantiles(timings.map(({ firstToken }) => firstToken)),
        totalMs: quantiles(timings.map(({ total }) => total))
    };
}

function quantiles(values: number[]) {
    const sorted = [...values].sort((a, b) => a - b);
    const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN;
    return { median: at(0.5), p95: at(0.95), max: at(1), requests: sorted.length };
}

async function report(
    loads: Awaited<ReturnType<typeof measureLoads>>,
    besideLongPrompt: Awaited<ReturnType<typeof measureBesideLongPrompt>>
): Promise<void> {
    const date = new Date().toISOString();
    const { promptTokens, maxTokens, sequences } = args;
    const result = {
        date,
        command: ["node", path.relative(process.cwd(), process.argv[1]!), ...process.argv.slice(2)].join(" "),
        machine: await describeMachine(),
        threads: servers[0]!.threads,
        // the machine's load over the last minute: other processes slow both servers down
        loadAverage: os.loadavg()[0],
        model,
        requests: { promptTokens, maxTokens, sequences },
        loads,
        besideLongPrompt
    };
    console.table(
        loads.map(({ name, clients, requestsPerSecond, firstTokenMs }) => ({
            server: name,
            clients,
            "requests/s": requestsPerSecond.median.toFixed(1),
            "first token, median ms": firstTokenMs.median.toFixed(0),
            "first token, p95 ms": firstTokenMs.p95.toFixed(0)
        }))
    );
    console.table(
        besideLongPrompt.map(({ name, alone, beside, longPromptReadMs }) => ({
            server: name,
            "alone, first token ms": alone.firstTokenMs.median.toFixed(0),
            "beside, first token ms": beside.map(({ firstTokenMs }) => firstTokenMs.median.toFixed(0)).join(", "),
            "beside, whole ms": beside.map(({ totalMs }) => totalMs.median.toFixed(0)).join(", "),
            "long prompt read after s": longPromptReadMs === null ? "given up" : (longPromptReadMs / 1000).toFixed(1)
        }))
    );
    await mkdir(args.out, { recursive: true });
    const file = path.join(args.out, `server-${date.slice(0, 10)}.json`);
    const text = Buffer.from(`${JSON.stringify(result, undefined, 4)}\n`);
    await writeAtomically(file, {}, (target) => target.write(text));
    console.log(`written to ${file}`);
}
