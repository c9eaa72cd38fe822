import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { type ArmtSchedule, getLlama, type Llama, LlamaLogLevel } from "../../plugin/index.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import type { TinyOptions } from "../../src/tiny/options.js";
import { readPage } from "../helpers/docs/blocks.js";
import {
    constantBytes,
    contextBytes,
    memoryBytes,
    type Shape,
    sequenceBytes,
    workingBytes
} from "../helpers/docs/sizes.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { until } from "../helpers/until.js";

// a CPU that packs the weights runs no diagonal, of which half of the formulas are
process.env.ARMT_CPU_EXTRA_BUFFERS = "0";

const log: string[] = [];
let llama: Promise<Llama> | undefined;

async function measure(
    t: ExecutionContext,
    tiny: TinyOptions,
    schedule: ArmtSchedule,
    segmentSize: number,
    extend = false,
    texts?: number
) {
    const folder = temporaryFolder(t);
    const modelPath = path.join(folder, "model.gguf");
    await makeTinyCheckpoint(path.join(folder, "checkpoint"), tiny);
    await convertCheckpoint({ checkpoint: path.join(folder, "checkpoint"), output: modelPath, outType: "f16" });
    llama ??= getLlama({
        logLevel: LlamaLogLevel.info,
        maxThreads: 1,
        logger: (_level, message) => void log.push(message)
    });
    const model = await (await llama).loadModel({ modelPath });
    log.length = 0;
    const context = await model.createContext({
        sequences: 2,
        threads: 1,
        flashAttention: true,
        armt: {
            schedule,
            segmentSize,
            maxCells: tiny.layers,
            textsPerLayer: texts,
            segmentOverflow: extend ? "extend" : "close"
        }
    });
    const { memoryBytes, totalBytes, openSegmentLimit, textsPerLayer } = context.armt!;
    // the log arrives in a later turn
    const logged = () => /CPU compute buffer size = +([\d.]+) MiB/.exec(log.join("\n"));
    await until(() => logged() !== null, "the size of the compute buffer is logged");
    await context.dispose();
    await model.dispose();
    return { memoryBytes, totalBytes, openSegmentLimit, textsPerLayer, working: Number(logged()![1]) * 2 ** 20 };
}

const shapeOf = ({
    layers,
    hidden,
    ffn,
    heads,
    kvHeads,
    memTokens,
    dMem,
    nHeads,
    useDenom
}: Required<TinyOptions>): Shape => ({
    layers,
    width: hidden,
    feedForward: ffn,
    kvHeads,
    headSize: hidden / heads,
    memoryTokens: memTokens,
    keyLength: dMem,
    memoryHeads: nHeads,
    useDenom
});

const base = {
    layers: 16,
    hidden: 256,
    heads: 8,
    kvHeads: 2,
    ffn: 1024,
    memTokens: 16,
    dMem: 16,
    nHeads: 1,
    useDenom: true
};

const bounded = test.macro({
    async exec(
        t,
        _what: string,
        change: TinyOptions,
        schedule: "sequential" | "diagonal",
        segmentSize: number,
        extend?: boolean,
        texts?: number
    ) {
        const tiny = { ...base, ...change } as Required<TinyOptions>;
        const shape = shapeOf(tiny);
        const measured = await measure(t, tiny, schedule, segmentSize, extend, texts);
        const { openSegmentLimit, textsPerLayer } = measured;
        near(t, measured.memoryBytes, memoryBytes(shape), 0.95);
        const context = { segmentSize, openSegmentLimit, schedule, kvBytes: 2, sequences: 2, textsPerLayer };
        near(t, measured.totalBytes, contextBytes(shape, context), 0.85);
    },
    title: (_, what) => `the page's formulas are close upper bounds of the sizes that the engine reports: ${what}`
});
test.serial(bounded, "sequential", {}, "sequential", 512);
test.serial(bounded, "diagonal", {}, "diagonal", 500);
test.serial(bounded, "diagonals of their own", {}, "diagonal", 500, false, 0);
test.serial(bounded, "two texts in a layer", {}, "diagonal", 500, false, 2);
test.serial(bounded, "a growing segment", {}, "sequential", 300, true);
test.serial(bounded, "memory heads", { nHeads: 4, dMem: 32 }, "diagonal", 128);
test.serial(bounded, "no normalizer", { useDenom: false, kvHeads: 8 }, "sequential", 128);

/** The context of the page's tables. */
const context = {
    segmentSize: 1024,
    openSegmentLimit: 1024,
    schedule: "diagonal",
    kvBytes: 2,
    sequences: 1,
    textsPerLayer: 0
} as const;

test.serial("the page's upper bound of the working memory is close", async (t) => {
    for (const change of [{ layers: 4 }, { hidden: 512, layers: 6 }, { layers: 4, ffn: 2048 }]) {
        const tiny = { ...base, ...change } as Required<TinyOptions>;
        for (const textsPerLayer of [0, 1]) {
            const { working } = await measure(t, tiny, "diagonal", 1024, false, textsPerLayer);
            near(t, working, workingBytes(shapeOf(tiny), { ...context, textsPerLayer }, tiny.layers), 0.7);
        }
    }
});

/** Asserts that a bound holds and is close enough to be useful. */
function near(t: ExecutionContext, measured: number, bound: number, part: number): void {
    const message = `${measured} of ${bound}: ${measured / bound}`;
    t.true(measured <= bound, message);
    t.true(measured >= part * bound, message);
}

/** Sizes of the base models, with the memory of the published checkpoints of the first. */
const models: Record<string, Shape & { parameters: number }> = {
    "Llama-3.2-1B": { ...llamaShape(16, 2048, 8192, 64), parameters: 1_235_814_400 },
    "Llama-3.2-3B": { ...llamaShape(28, 3072, 8192, 128), parameters: 3_212_749_824 },
    "Llama-3.1-8B": { ...llamaShape(32, 4096, 14_336, 128), parameters: 8_030_261_248 }
};

function llamaShape(layers: number, width: number, feedForward: number, headSize: number): Shape {
    const memory = { memoryTokens: 16, keyLength: 64, memoryHeads: 1, useDenom: true };
    return { layers, width, feedForward, kvHeads: 8, headSize, ...memory };
}

test("the page's formulas give the numbers in its tables", (t) => {
    const page = readPage("docs/performance.md");
    for (const [name, model] of Object.entries(models)) {
        const { layers, width, keyLength } = model;
        const weights = 2 * (model.parameters + layers * (width * width + 2 * width * keyLength + width));
        const sequence = sequenceBytes(model, context);
        const working = workingBytes(model, context, layers);
        const gib = (bytes: number) => (bytes / 2 ** 30).toFixed(2);
        const fit = (card: number) =>
            Math.max(
                0,
                Math.floor((0.9 * card * 2 ** 30 - weights - working - constantBytes(model, context)) / sequence)
            );
        const row = [gib(weights), gib(working), `${Math.round(sequence / 2 ** 20)} MiB`, fit(8), fit(24), fit(80)];
        t.true(page.includes(`| ${name} | ${row.join(" | ")} |`), `| ${name} | ${row.join(" | ")} |`);
    }
});
