// `npm run bench:drift`: how far a 16-bit memory drifts from a float32 one, by the number of segments read.

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import {
    type ArmtStateType,
    getLlama,
    type Llama,
    type LlamaContext,
    type LlamaContextSequence,
    LlamaLogLevel,
    type LlamaModel,
    type Token
} from "../plugin/index.js";
import { stateTypes } from "../plugin/native/enums.js";
import { describeMachine } from "../src/bench/machine.js";
import { convertCheckpoint } from "../src/convert/convert.js";
import { makeHaystack } from "../src/eval/recall/haystack.js";
import { readRecallTexts } from "../src/eval/recall/task.js";
import { recallModelPath } from "../src/model/embedded-model.js";
import { makeTinyCheckpoint } from "../src/tiny/checkpoint.js";
import type { TinyOptions } from "../src/tiny/options.js";
import { writeAtomically } from "../src/util/atomic-file.js";
import { seededRandom } from "../src/util/random.js";
import { type ChartLine, colours, logChart, svg } from "../src/util/svg.js";
import { textTable } from "../src/util/table.js";
import { relativeError } from "./relative-error.js";

const args = await yargs(hideBin(process.argv))
    .usage("Compares memories and logits of contexts that keep A and z in different types.")
    .options({
        segments: { type: "number", default: 1000, describe: "Segments to read" },
        facts: { type: "number", default: 400, describe: "Facts in the text" },
        probe: { type: "number", default: 32, describe: "Tokens whose logits are compared" },
        seed: { type: "number", default: 1, describe: "Of the text" },
        out: { type: "string", default: "bench/results", describe: "Folder for the JSON file and the picture" }
    })
    .strict()
    .parse();

/**
 * A random model to compare with the trained one. Its weights have scales at which rounding does not grow, and its
 * numbers stay within f16's range.
 */
const randomModel: TinyOptions = {
    layers: 8,
    hidden: 128,
    heads: 4,
    kvHeads: 2,
    segmentSize: 32,
    memTokens: 8,
    dMem: 64,
    vocab: 512,
    tokenizer: false
};

const schedules = ["sequential", "diagonal"] as const;
const narrowTypes = stateTypes.filter((type) => type !== "f32");

/** Numbers of segments to compare after: 1, 2, 5, 10, … and the last. */
function checkpoints(last: number): number[] {
    const steps: number[] = [];
    for (let decade = 1; decade <= last; decade *= 10) steps.push(decade, 2 * decade, 5 * decade);
    return [...new Set([...steps.filter((n) => n < last), last])];
}

interface Row {
    stateType: ArmtStateType;
    schedule: "sequential" | "diagonal";
    segments: number;
    a: number;
    aByLayer: number[];
    z: number;
    logits: number;
    changedChoices: number;
}

/** A context that the engine refused to continue. */
interface Failure {
    stateType: ArmtStateType;
    schedule: "sequential" | "diagonal";
    /** The checkpoint that it did not reach. Unit: segments. */
    segments: number;
    reason: string;
}

interface State {
    /** A of each layer. */
    readonly a: readonly Float32Array[];
    readonly z: readonly Float32Array[];
    readonly logits: Float32Array;
}

/** Returns the sequence's memory and its logits for the probe. Leaves the sequence unchanged. */
async function look(sequence: LlamaContextSequence, layers: number, probe: readonly Token[]): Promise<State> {
    const armt = sequence.armt!;
    const a = [];
    const z = [];
    for (let layer = 0; layer < layers; layer++) {
        const memory = await armt.readMemory(layer);
        a.push(memory.a);
        z.push(memory.z ?? new Float32Array());
    }
    using snapshot = await armt.snapshot();
    const rows: Float32Array[] = [];
    for await (const piece of armt.evaluateLogits(probe)) rows.push(piece);
    await armt.restore(snapshot);
    return { a, z, logits: Float32Array.from(rows.flatMap((piece) => [...piece])) };
}

/** Share of rows whose most likely token differs. */
function changedChoices(x: Float32Array, y: Float32Array, vocab: number): number {
    const best = (row: Float32Array) => row.reduce((at, value, i) => (value > row[at]! ? i : at), 0);
    let changed = 0;
    for (let row = 0; row < y.length; row += vocab)
        if (best(x.subarray(row, row + vocab)) !== best(y.subarray(row, row + vocab))) changed++;
    return changed / (y.length / vocab);
}

async function contextFor(model: LlamaModel, stateType: ArmtStateType, schedule: "sequential" | "diagonal") {
    return await model.createContext({
        batchSize: 512,
        threads: 1,
        experimentalKvCacheKeyType: "F32",
        experimentalKvCacheValueType: "F32",
        // batch the cells of all layers in one product, as on a GPU
        armt: { schedule, stateType, maxCells: schedule === "diagonal" ? model.armt!.layers : undefined }
    });
}

async function measure(model: LlamaModel, text: readonly Token[], probe: readonly Token[]) {
    const { layers = 0, vocabSize = 0 } = model.armt!;
    const cases = [
        { stateType: "f32", schedule: "sequential" } as const,
        { stateType: "f32", schedule: "diagonal" } as const,
        ...narrowTypes.flatMap((stateType) => schedules.map((schedule) => ({ stateType, schedule })))
    ];
    const contexts: LlamaContext[] = [];
    for (const { stateType, schedule } of cases) contexts.push(await contextFor(model, stateType, schedule));
    const sequences = contexts.map((context) => context.getSequence());
    const { segmentSize } = contexts[0]!.armt!;
    const rows: Row[] = [];
    const failures: Failure[] = [];
    let read = 0;
    for (const segments of checkpoints(args.segments)) {
        const piece = text.slice(read * segmentSize, segments * segmentSize);
        read = segments;
        let reference: State | undefined;
        for (const [i, { stateType, schedule }] of cases.entries()) {
            if (failures.some((failure) => failure.stateType === stateType && failure.schedule === schedule)) continue;
            const armt = sequences[i]!.armt!;
            try {
                await armt.feed([piece]);
                await armt.closeSegment();
            } catch (error) {
                failures.push({ stateType, schedule, segments, reason: (error as Error).message });
                continue;
            }
            if (armt.segmentsClosed !== segments)
                throw new Error(`${armt.segmentsClosed} segments were closed, not ${segments}`);
            const state = await look(sequences[i]!, layers, probe);
            // the first context is the reference: the plain recurrence in float32
            reference ??= state;
            rows.push({
                stateType,
                schedule,
                segments,
                a: relativeError(state.a, reference.a),
                aByLayer: state.a.map((part, layer) => relativeError([part], [reference!.a[layer]!])),
                z: relativeError(state.z, reference.z),
                logits: relativeError([state.logits], [reference.logits]),
                changedChoices: changedChoices(state.logits, reference.logits, vocabSize)
            });
        }
        console.log(`${segments} segments`);
    }
    for (const context of contexts) await context.dispose();
    return { rows, failures };
}

async function measureTrained(llama: Llama) {
    const model = await llama.loadModel({ modelPath: recallModelPath });
    const { segmentSize, fingerprint } = model.armt!;
    const texts = await readRecallTexts();
    const countTokens = (part: string) => model.tokenize(part).length;
    const wanted = args.segments * segmentSize;
    const haystack = makeHaystack(texts, { tokens: wanted + 64, facts: args.facts, seed: args.seed, countTokens });
    const ids = model.tokenize([...haystack.sentences()].join(""));
    if (ids.length < wanted) throw new Error(`the text has ${ids.length} tokens, not ${wanted}`);
    // ask about another text
    const other = makeHaystack(texts, { tokens: 1024, facts: 10, seed: args.seed + 1, countTokens });
    const { before, after } = texts.task.answer;
    const probe = model
        .tokenize(other.questions.map(({ text, expected }) => `${before}${text}${after} ${expected}`).join(""))
        .slice(0, args.probe);
    const measured = await measure(model, ids, probe);
    await model.dispose();
    return { name: "the package's model", fingerprint, segmentSize, ...measured };
}

async function measureRandom(llama: Llama, folder: string) {
    const [checkpoint, file] = [path.join(folder, "checkpoint"), path.join(folder, "model.gguf")];
    await makeTinyCheckpoint(checkpoint, randomModel);
    await convertCheckpoint({ checkpoint, output: file, outType: "f32" });
    const model = await llama.loadModel({ modelPath: file });
    const { segmentSize, fingerprint, vocabSize } = model.armt!;
    const random = seededRandom(args.seed, "drift");
    const draw = (count: number) =>
        Array.from({ length: count }, () => Math.floor(random() * vocabSize)) as unknown as Token[];
    const measured = await measure(model, draw(args.segments * segmentSize), draw(args.probe));
    await model.dispose();
    return { name: "a model of random weights", options: randomModel, fingerprint, segmentSize, ...measured };
}

type Measured = { name: string; rows: Row[]; failures: Failure[] };

const folder = await mkdtemp(path.join(os.tmpdir(), "armt-bench-"));
const llama = await getLlama({
    gpu: false,
    build: "never",
    maxThreads: 1,
    logLevel: LlamaLogLevel.disabled,
    progressLogs: false
});
const models: Measured[] = [];
try {
    models.push(await measureTrained(llama), await measureRandom(llama, folder));
} finally {
    await llama.dispose();
    await rm(folder, { recursive: true, force: true });
}

const date = new Date().toISOString();
const result = {
    format: "armt bench drift 1",
    date,
    machine: await describeMachine(),
    settings: { segments: args.segments, facts: args.facts, probe: args.probe, seed: args.seed },
    unit: "relative L2 distance from the plain recurrence with A and z in float32; K/V are float32 in all contexts",
    models
};
await mkdir(args.out, { recursive: true });
const file = path.join(args.out, `drift-${date.slice(0, 10)}`);
const save = (name: string, content: string) =>
    writeAtomically(name, {}, (target) => target.write(Buffer.from(content)));
await save(`${file}.json`, `${JSON.stringify(result, undefined, 4)}\n`);
await save(`${file}.svg`, plot(models));
const exponent = (x: number) => x.toExponential(1);
for (const { name, rows, failures } of models) {
    console.log(`\n${name}`);
    process.stdout.write(
        textTable(
            ["type", "schedule", "segments", "A", "z", "logits", "other choice"],
            rows.map(({ stateType, schedule, segments, a, z, logits, changedChoices }) => [
                stateType,
                schedule,
                String(segments),
                exponent(a),
                exponent(z),
                exponent(logits),
                `${(100 * changedChoices).toFixed(0)} %`
            ]),
            2
        )
    );
    for (const { stateType, schedule, segments, reason } of failures)
        console.log(`${stateType}, ${schedule}, before ${segments} segments: ${reason}`);
}
console.log(`written to ${file}.json and ${file}.svg`);

function plot(all: readonly Measured[]): string {
    const parts: string[] = [];
    let top = 0;
    for (const [key, what] of [
        ["a", "A"],
        ["logits", "a probe's logits"]
    ] as const) {
        const lines: ChartLine[] = all
            .flatMap(({ name, rows, failures }) =>
                // omit contexts that failed; the table lists them
                narrowTypes
                    .filter((type) => failures.every(({ stateType }) => stateType !== type))
                    .flatMap((type) =>
                        schedules.map((schedule) => ({
                            name: `${type}, ${schedule}: ${name}`,
                            dash: schedule === "sequential" ? "" : "6 4",
                            points: rows
                                .filter((row) => row.stateType === type && row.schedule === schedule && row[key] > 0)
                                .map((row) => ({ x: row.segments, y: row[key] }))
                        }))
                    )
            )
            .filter(({ points }) => points.length > 0)
            .map((line, i) => ({ ...line, colour: colours[Math.floor(i / 2) % colours.length]! }));
        const chart = logChart(lines, {
            title: `Relative distance of ${what} from float32's, by segments read`,
            top,
            width: 640,
            height: 180,
            formatX: String,
            formatY: (value) => value.toExponential(0)
        });
        parts.push(...chart.parts);
        top = chart.bottom + 12;
    }
    return svg(640, top, "Drift of a memory kept in 16 bits", parts);
}
