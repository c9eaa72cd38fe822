import { z } from "zod";
import { writeAtomically } from "../util/atomic-file.js";
import { ArmtError, quote } from "../util/errors.js";
import { readJsonAs } from "./read-json.js";

const summary = z.strictObject({
    median: z.number(),
    min: z.number(),
    max: z.number(),
    samples: z.array(z.number()).min(1)
});

const graphs = z.strictObject({
    graphs: z.number(),
    reused: z.number(),
    replayed: z.number(),
    fp8: z.strictObject({ computed: z.number(), left: z.number() }).optional()
});

const caseName = z.enum(["stock", "sequential", "diagonal", "sequential fp8", "diagonal fp8", "together"]);

const measuredCase = z.strictObject({
    name: caseName,
    /** Time from the start to the first token after the prompt; for a decode, to its last token. */
    milliseconds: summary,
    tokensPerSecond: z.number(),
    /** Largest resident set of the process. Unit: bytes. */
    peakBytes: z.number(),
    /** Device memory that the model and its context use. Unit: bytes. */
    deviceBytes: z.number().optional(),
    /** Graph evaluations of the last prompt. */
    graphs: graphs.optional(),
    /** Measured time divided by the time that the operations take at the rate measured in the same round. */
    overFloor: summary.optional()
});

const ratio = z.strictObject({ name: z.string(), ...summary.shape });

const promptGroup = z.strictObject({
    kind: z.literal("prompt"),
    tokens: z.number(),
    segmentSize: z.number(),
    cases: z.array(measuredCase).min(1),
    /** Cases that could not be measured. */
    failures: z.array(z.strictObject({ name: caseName, reason: z.string() })),
    ratios: z.array(ratio),
    floor: z.strictObject({
        device: z.string(),
        /** The best rate of several weight layouts in each round. Unit: operations/s. */
        rate: summary,
        operations: z.strictObject({ armt: z.number(), stock: z.number() }),
        /** Time that the operations take at the median rate. */
        milliseconds: z.strictObject({ armt: z.number(), stock: z.number() })
    })
});

const decodeGroup = z.strictObject({
    kind: z.literal("decode"),
    segmentSize: z.number(),
    sequences: z.number(),
    /** Tokens in the K/V cache at the start, the same in ARMT's open segment and in stock. */
    kvTokens: z.number(),
    /** Tokens generated in each sequence. */
    tokens: z.number(),
    cases: z.array(measuredCase).min(1),
    failures: z.array(z.strictObject({ name: caseName, reason: z.string() })),
    ratios: z.array(ratio)
});

const documentsGroup = z.strictObject({
    kind: z.literal("documents"),
    segmentSize: z.number(),
    /** Whole segments of each document, which has one token more. */
    documents: z.array(z.number()).min(1),
    /** What the case `together` was given; 0: the engine chooses. */
    textsPerLayer: z.number(),
    /** What it then used. */
    usedTextsPerLayer: z.number(),
    cases: z.array(measuredCase).min(1),
    failures: z.array(z.strictObject({ name: caseName, reason: z.string() })),
    ratios: z.array(ratio)
});

const settings = z.strictObject({
    gpu: z.union([z.enum(["cuda", "vulkan", "metal"]), z.literal(false)]),
    threads: z.number(),
    runs: z.number(),
    lengths: z.array(z.number()),
    segments: z.array(z.number()),
    batchSize: z.number(),
    stockBatchSize: z.number(),
    maxCells: z.number().optional(),
    schedules: z.array(z.enum(["sequential", "diagonal"])),
    /** Products that prompts and generation are also measured with in FP8. */
    fp8Products: z.array(z.enum(["qkv", "o", "gate_up", "down"])).optional(),
    stock: z.boolean(),
    stockLimit: z.number().optional(),
    stockLibrary: z.enum(["published", "engine"]),
    decode: z.boolean(),
    /** Number of documents to read one after the other and together. */
    documents: z.number().optional()
});

const results = z.strictObject({
    format: z.literal("armt bench 1"),
    date: z.string(),
    command: z.string(),
    device: z.string(),
    machine: z.strictObject({
        cpu: z.string(),
        cores: z.number(),
        memoryGiB: z.number(),
        platform: z.string(),
        versions: z.record(z.string(), z.string())
    }),
    model: z.strictObject({
        name: z.string(),
        type: z.string(),
        fingerprint: z.string(),
        bytes: z.number(),
        layers: z.number(),
        hidden: z.number(),
        memoryTokens: z.number(),
        memoryKeyLength: z.number()
    }),
    settings,
    groups: z.array(z.discriminatedUnion("kind", [promptGroup, decodeGroup, documentsGroup]))
});

export type CaseName = z.infer<typeof caseName>;
export type MeasuredCase = z.infer<typeof measuredCase>;
export type PromptGroup = z.infer<typeof promptGroup>;
export type DecodeGroup = z.infer<typeof decodeGroup>;
export type DocumentsGroup = z.infer<typeof documentsGroup>;
export type BenchSettings = z.infer<typeof settings>;
/**
 * What `armt bench` writes. A group has one length and one segment size. One run measures its cases in rotation, so
 * ratios never span two runs.
 */
export type BenchResults = z.infer<typeof results>;

export async function writeResults(file: string, value: BenchResults): Promise<void> {
    const text = Buffer.from(`${JSON.stringify(value, undefined, 4)}\n`);
    await writeAtomically(file, {}, (target) => target.write(text));
}

/** @throws {ArmtError} if the file cannot be read or was not written by `armt bench` */
export async function readResults(file: string): Promise<BenchResults> {
    return await readJsonAs(file, results, "result of armt bench");
}

/**
 * The groups of an earlier run that a new one may keep.
 * @throws {ArmtError} that names the difference if the settings differ: one table must not mix two settings
 */
export function keptGroups(
    earlier: BenchResults,
    now: Omit<BenchResults, "groups">,
    file: string
): BenchResults["groups"] {
    const differing = (name: string, a: unknown, b: unknown) => {
        if (JSON.stringify(a) !== JSON.stringify(b))
            throw new ArmtError(
                `${quote(file)} cannot be resumed: its ${name} is ${JSON.stringify(a)}, now it is ` +
                    `${JSON.stringify(b)}; take the same options, or --force to begin again`
            );
    };
    differing("device", earlier.device, now.device);
    differing("CPU", earlier.machine.cpu, now.machine.cpu);
    for (const name of Object.keys(now.machine.versions))
        differing(`version of ${name}`, earlier.machine.versions[name], now.machine.versions[name]);
    differing("model", earlier.model.fingerprint, now.model.fingerprint);
    // a new run may add lengths and sizes
    for (const name of Object.keys(now.settings) as (keyof BenchSettings)[])
        if (name !== "lengths" && name !== "segments" && name !== "decode")
            differing(name, earlier.settings[name], now.settings[name]);
    return earlier.groups;
}
