// `npm run bench:long`: reads millions of tokens into one sequence of the package's model, writes down how much memory
// the process takes on the way, and asks about facts hidden in the text at the end. SIGTERM ends the reading early.
// With `--gpu`, the model runs there. With `--resume FOLDER`, the memory is saved there at each row, and a later run
// with the same options continues from it.

import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { LRUCache } from "lru-cache";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import { describeMachine } from "../src/bench/machine.js";
import { askAll } from "../src/eval/questions/ask.js";
import { makeHaystack } from "../src/eval/recall/haystack.js";
import { readRecallTexts } from "../src/eval/recall/task.js";
import { recallModelPath } from "../src/model/embedded-model.js";
import { writeAtomically } from "../src/util/atomic-file.js";
import { quietLlama } from "./quiet-llama.js";

const args = await yargs(hideBin(process.argv))
    .usage("Reads a very long text into one sequence and asks about it.")
    .options({
        tokens: { type: "number", default: 10_000_000, describe: "Length of the text" },
        facts: { type: "number", default: 40, describe: "Facts hidden in it, at random depths" },
        "row-every": { type: "number", default: 250_000, describe: "Tokens between two rows of figures" },
        minutes: { type: "number", describe: "Ends the reading after this time [default: reads everything]" },
        threads: { type: "number", default: 1 },
        gpu: {
            choices: ["cuda", "vulkan", "metal", "off"] as const,
            default: "off" as "cuda" | "vulkan" | "metal" | "off"
        },
        seed: { type: "number", default: 1 },
        resume: { type: "string", describe: "Folder to continue from, and to save in [default: none]" },
        out: { type: "string", default: "bench/results", describe: "Folder for the JSON file" }
    })
    .parserConfiguration({ "strip-dashed": true })
    .strict()
    .parse();

const started = performance.now();
let stopped = false;
process.once("SIGTERM", () => {
    stopped = true;
});
const isOver = () => stopped || (args.minutes !== undefined && performance.now() - started > args.minutes * 60_000);

const gpu = args.gpu === "off" ? false : args.gpu;
const llama = await quietLlama(gpu, args.threads);
const model = await llama.loadModel({ modelPath: recallModelPath, gpuLayers: gpu === false ? undefined : "max" });
const context = await model.createContext({ threads: args.threads });
const sequence = context.getSequence();
const armt = sequence.armt!;

const texts = await readRecallTexts();
// sentences come again, and each is counted more than once
const counts = new LRUCache<string, number>({ max: 65_536 });
function countTokens(text: string): number {
    const count = counts.get(text) ?? model.tokenize(text).length;
    counts.set(text, count);
    return count;
}
// no fact overrides an earlier one, so that each can be asked however early the reading ends
const haystack = makeHaystack(texts, { ...args, changes: 0, countTokens });
const sentences = haystack.sentences();

interface Row {
    position: number;
    segmentsClosed: number;
    rssBytes: number;
    heapBytes: number;
    /** Used by all programs on the GPU. */
    deviceBytes?: number;
    /** Of its run alone. */
    cpuSeconds: number;
    seconds: number;
    /** Counts from 1. */
    run: number;
}

/** What is saved with the memory. */
interface Saved {
    /** Sentences read. */
    sentences: number;
    rows: Row[];
}

const folder = args.resume;
const savedFile = folder && path.join(folder, "reading.json");
const memoryFile = folder && path.join(folder, "memory.armt");
let taken = 0;
let rows: Row[] = [];
if (savedFile && memoryFile && existsSync(savedFile)) {
    const saved = JSON.parse(await readFile(savedFile, "utf8")) as Saved;
    await armt.load(memoryFile);
    rows = saved.rows;
    if (sequence.nextTokenIndex !== rows.at(-1)?.position) throw new Error(`${savedFile} is not of ${memoryFile}`);
    for (; taken < saved.sentences; taken++) sentences.next();
}
const run = (rows.at(-1)?.run ?? 0) + 1;

async function save(): Promise<void> {
    if (!savedFile || !memoryFile) return;
    await mkdir(path.dirname(savedFile), { recursive: true });
    await armt.save(memoryFile);
    await writeJson(savedFile, { sentences: taken, rows } satisfies Saved);
}

async function writeJson(file: string, value: unknown): Promise<void> {
    await writeAtomically(file, {}, (target) => target.write(Buffer.from(`${JSON.stringify(value, undefined, 4)}\n`)));
}

/** The next sentences of the text, about `limit` tokens. */
function* nextPart(limit: number): Generator<string, void, void> {
    for (let count = 0; count < limit && !isOver(); ) {
        const next = sentences.next();
        if (next.done === true) return;
        taken++;
        count += countTokens(next.value);
        yield next.value;
    }
}

while (!isOver()) {
    const before = sequence.nextTokenIndex;
    await armt.feed(nextPart(args.rowEvery));
    if (sequence.nextTokenIndex === before) break;
    const { user, system } = process.cpuUsage();
    const row: Row = {
        position: sequence.nextTokenIndex,
        segmentsClosed: armt.segmentsClosed,
        rssBytes: process.memoryUsage.rss(),
        heapBytes: process.memoryUsage().heapUsed,
        deviceBytes: gpu === false ? undefined : (await llama.getVramState()).used,
        cpuSeconds: (user + system) / 1e6,
        seconds: (performance.now() - started) / 1000,
        run
    };
    rows.push(row);
    console.log(JSON.stringify(row));
    await save();
}
// answers can come only from memory
await armt.closeSegment();
const position = sequence.nextTokenIndex;
const asked = haystack.questions.filter(({ depth }) => depth * args.tokens < position);
const answers = await askAll(sequence, model, asked, { form: "plain", plain: texts.task.answer });
if (sequence.nextTokenIndex !== position) throw new Error("the questions changed the sequence");
const last = answers.slice(-10);
const count = (some: typeof answers) => ({
    asked: some.length,
    right: some.filter(({ score }) => score === 1).length
});

const date = new Date().toISOString();
const result = {
    format: "armt bench long 1",
    date,
    machine: await describeMachine(),
    settings: { ...args, out: undefined, resume: undefined, _: undefined, $0: undefined },
    model: { name: "the package's model", fingerprint: model.armt!.fingerprint, segmentSize: armt.segmentSize },
    devices: gpu === false ? undefined : await llama.getGpuDeviceNames(),
    position,
    segmentsClosed: armt.segmentsClosed,
    recall: { all: count(answers), lastTen: count(last) },
    answers: answers.map(({ question, answer }) => ({
        depth: Math.round(question.depth * args.tokens),
        expected: question.expected,
        answer
    })),
    rows
};
await llama.dispose();
await mkdir(args.out, { recursive: true });
const file = path.join(args.out, `long${gpu === false ? "" : `-${gpu}`}-${date.slice(0, 10)}.json`);
await writeJson(file, result);
console.log(`${position} tokens; recall ${JSON.stringify(result.recall)}; written to ${file}`);
