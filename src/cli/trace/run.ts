import path from "node:path";
import process from "node:process";
import type { Writable } from "node:stream";
import { packedWeights } from "../../bench/packed-weights.js";
import { openModel } from "../../model/open-model.js";
import { withoutMemory } from "../../model/without-memory.js";
import { chromeTrace } from "../../trace/chrome.js";
import { tracePage, tracePicture } from "../../trace/picture.js";
import { type Trace, traceRead, traceTable } from "../../trace/trace.js";
import { UsageError } from "../../util/failure.js";
import { parseLength } from "../../util/lengths.js";
import { requireWritable, writeText } from "../shared/write-text.js";
import type { TraceOptions } from "./options.js";

/** Reads a random prompt with each schedule and shows the engine's activity over time. */
export async function trace(options: TraceOptions, signal: AbortSignal, output: Writable): Promise<void> {
    const tokens = readTokens(options.tokens);
    const { schedule, svg, html, chrome } = options;
    const schedules =
        schedule === undefined || schedule === "auto" ? (["sequential", "diagonal"] as const) : ([schedule] as const);
    await requireWritable(svg, html, chrome);
    const traces: Trace[] = [];
    let name = "";
    for (const one of schedules) {
        const { llama, model, file, vocabSize, createContext } = await openModel({ ...options, schedule: one });
        try {
            if (model.armt === undefined) throw withoutMemory(file);
            const context = await createContext();
            if (one === "diagonal" && context.armt?.schedule !== one) {
                process.stderr.write(`armt: the diagonal schedule is not drawn: ${packedWeights}\n`);
                if (traces.length > 0) continue;
            }
            const { layers } = model.armt;
            traces.push(await traceRead(context.getSequence(), tokens, { layers, vocab: vocabSize, signal }));
            name = path.basename(file, ".gguf");
        } finally {
            await llama.dispose();
        }
    }
    output.write(traceTable(traces));
    const title = `Schedule of ${name}`;
    if (svg !== undefined) await writeText(svg, tracePicture(title, traces));
    if (html !== undefined) await writeText(html, tracePage(title, traces));
    if (chrome !== undefined) await writeText(chrome, `${JSON.stringify(chromeTrace(traces))}\n`);
}

function readTokens(text: string): number {
    try {
        return parseLength(String(text));
    } catch (error) {
        throw new UsageError(`--tokens: ${error instanceof Error ? error.message : String(error)}`);
    }
}
