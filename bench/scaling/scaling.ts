// `npm run bench:scaling`: reads a text with the layers of a random model on one and on two RPC servers of this
// machine, compares the times with the simulation, and simulates more devices from times that were measured on a GPU.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import type { ArmtModelOptions, Token } from "../../plugin/index.js";
import { describeMachine } from "../../src/bench/machine.js";
import { readResults } from "../../src/bench/results.js";
import { resolveShape, type ShapeName, shapeNames } from "../../src/bench/shapes.js";
import { ratios, summarize } from "../../src/bench/statistics.js";
import { writeSyntheticModel } from "../../src/bench/synthetic.js";
import { writeAtomically } from "../../src/util/atomic-file.js";
import { textTable } from "../../src/util/table.js";
import { quietLlama } from "../quiet-llama.js";
import { evenly, fitStepTime, simulate } from "./simulate.js";

const args = await yargs(hideBin(process.argv))
    .usage("Times the layers of a model on one server and on two, and simulates more devices.")
    .options({
        shape: { choices: shapeNames, default: "15m" as ShapeName, describe: "Shape of the random model" },
        segment: { type: "number", default: 128, describe: "Tokens in a segment" },
        segments: { type: "number", default: 48, describe: "Length of the text, in segments" },
        runs: { type: "number", default: 5, describe: "Rounds; every case runs once in each" },
        gpu: {
            type: "string",
            default: "bench/results/h100-2026-11-27.json",
            describe: "Result of `armt bench` on one GPU, whose times the table for more devices is computed from"
        },
        links: { type: "string", default: "100,25,10,1", describe: "Speeds between the devices. Unit: Gbit/s" },
        out: { type: "string", default: "bench/results", describe: "Folder for the JSON file" }
    })
    .strict()
    .parse();

const shape = resolveShape(args.shape);
const lengths = [1, Math.ceil(args.segments / 4), args.segments];

/** Starts `armt rpc-server` with one thread. */
async function startServer(port: number) {
    const script = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
    const child = spawn(process.execPath, [script, "rpc-server", "--port", String(port), "--threads", "1"], {
        stdio: ["ignore", "pipe", "inherit"]
    });
    const [line] = await once(createInterface(child.stdout), "line");
    if (!String(line).startsWith("listening on")) throw new Error(`armt rpc-server: ${line}`);
    return { endpoint: `127.0.0.1:${port}`, stop: () => child.kill("SIGKILL") };
}

const folder = await mkdtemp(path.join(os.tmpdir(), "armt-scaling-"));
const servers = [await startServer(50052), await startServer(50053)];
try {
    const measured = await measure(path.join(folder, "model.gguf"));
    const simulated = await simulateGpus();
    const date = new Date().toISOString();
    const result = {
        format: "armt bench scaling 1",
        date,
        command: ["node", path.relative(process.cwd(), process.argv[1]!), ...process.argv.slice(2)].join(" "),
        machine: await describeMachine(),
        settings: { ...args, _: undefined, $0: undefined },
        measured,
        simulated
    };
    await mkdir(args.out, { recursive: true });
    const file = path.join(args.out, `scaling-${date.slice(0, 10)}.json`);
    await writeAtomically(file, {}, (target) => target.write(Buffer.from(`${JSON.stringify(result, undefined, 4)}\n`)));
    process.stdout.write(`written to ${file}\n`);
} finally {
    for (const { stop } of servers) stop();
    await rm(folder, { recursive: true });
}

/** Times readings on one and on two servers in turn, and compares the second with what the first predicts. */
async function measure(file: string) {
    await writeSyntheticModel({ shape, type: "f16", output: file });
    const llama = await quietLlama(false, 1);
    const layers = evenly(shape.layers, 2);
    const endpoints = servers.map(({ endpoint }) => endpoint);
    // the output counts as a layer, the last one
    const placements: ArmtModelOptions[] = [
        { rpc: endpoints.slice(0, 1) },
        { rpc: endpoints, tensorSplit: [layers[0]!, layers[1]! + 1] }
    ];
    const readers = [];
    for (const armt of placements) {
        const model = await llama.loadModel({ modelPath: file, armt });
        for (const schedule of ["diagonal", "sequential"] as const) {
            const context = await model.createContext({
                threads: 1,
                batchSize: args.segment * args.segments,
                armt: { segmentSize: args.segment, schedule }
            });
            const read = async (segments: number) => {
                const sequence = context.getSequence();
                const tokens = Array.from({ length: segments * args.segment }, (_, i) => (i * 7919) % shape.vocab);
                const start = performance.now();
                // a server computes while its client is ahead, so that only a result ends the reading
                const last = [tokens.pop()! as Token, { generateNext: { token: true } }] as const;
                await sequence.controlledEvaluate([...(tokens as Token[]), [...last]]);
                const milliseconds = performance.now() - start;
                await sequence.dispose();
                return milliseconds;
            };
            readers.push({ servers: armt.rpc!.length, schedule, read, context });
        }
    }
    const cases = readers.flatMap(({ servers: count, schedule, read }) =>
        (schedule === "diagonal" && count === 1 ? lengths : [args.segments]).map((segments) => ({
            servers: count,
            schedule,
            segments,
            read,
            samples: [] as number[]
        }))
    );
    for (let round = -1; round < args.runs; round++)
        for (const { read, segments, samples } of cases) {
            const milliseconds = await read(segments);
            // the first round only warms up
            if (round >= 0) samples.push(milliseconds);
        }
    const devices = await readers.at(-2)!.context.armt!.devices();
    await llama.dispose();

    const samplesOf = (count: number, schedule: string, segments = args.segments) =>
        cases.find((one) => one.servers === count && one.schedule === schedule && one.segments === segments)!.samples;
    const time = fitStepTime(
        shape.layers,
        lengths.map((segments) => ({
            segments,
            milliseconds: summarize(samplesOf(1, "diagonal", segments)).median
        }))
    );
    // the rows of a segment go through this machine's memory
    const predicted = simulate({ layers, segments: args.segments, time, transfer: 0 }).total;
    const two = summarize(samplesOf(2, "diagonal"));
    const speedup = ratios(samplesOf(1, "diagonal"), samplesOf(2, "diagonal"));
    process.stdout.write(
        textTable(
            ["servers", "schedule", "segments", "ms"],
            cases.map((one) => [
                String(one.servers),
                one.schedule,
                String(one.segments),
                summarize(one.samples).median.toFixed(1)
            ]),
            2
        ) +
            `two servers: ${two.median.toFixed(0)} ms measured, ${predicted.toFixed(0)} ms predicted; ` +
            `${speedup.median.toFixed(2)} x one server\n`
    );
    return {
        layers,
        devices,
        cases: cases.map(({ servers: count, schedule, segments, samples }) => ({
            servers: count,
            schedule,
            segments,
            milliseconds: summarize(samples)
        })),
        time,
        predicted,
        measuredOverPredicted: two.median / predicted,
        speedup
    };
}

/** Simulates up to 8 GPUs from one GPU's times for several lengths. */
async function simulateGpus() {
    const { device, model, groups, settings } = await readResults(args.gpu);
    const segment = settings.segments[0]!;
    const readings = groups
        .filter((group) => group.kind === "prompt" && group.segmentSize === segment)
        .flatMap((group) =>
            group.cases
                .filter(({ name }) => name === "diagonal")
                .map(({ milliseconds }) => ({
                    segments: (group as { tokens: number }).tokens / segment,
                    milliseconds: milliseconds.median
                }))
        );
    const time = fitStepTime(model.layers, readings);
    const bytes = (segment + model.memoryTokens) * model.hidden * 4;
    const rows: { gigabits: number; tokens: number; devices: number; seconds: number; busy: number[] }[] = [];
    for (const gigabits of args.links.split(",").map(Number))
        for (const tokens of [131_072, 1_048_576, 50_000_000])
            for (const devices of [1, 2, 4, 8]) {
                const segments = Math.ceil(tokens / segment);
                const transfer = (bytes * 8) / (gigabits * 1e6);
                const layers = evenly(model.layers, devices);
                const { total, busy } = simulate({ layers, segments, time, transfer });
                rows.push({ gigabits, tokens, devices, seconds: total / 1000, busy });
            }
    process.stdout.write(
        textTable(
            ["Gbit/s", "tokens", "devices", "seconds", "x one"],
            rows.map(({ gigabits, tokens, devices, seconds }) => {
                const one = rows.find((row) => row.tokens === tokens && row.devices === 1)!;
                return [gigabits, tokens, devices, seconds.toFixed(3), (one.seconds / seconds).toFixed(2)].map(String);
            }),
            0
        )
    );
    return { device, from: args.gpu, time, readings, bytesOfASegment: bytes, rows };
}
