import path from "node:path";
import type { Writable } from "node:stream";
import { measureRecall } from "../../../eval/recall/measure.js";
import { type ModelRecall, recallPlot, recallTable } from "../../../eval/recall/report.js";
import { readRecallTexts } from "../../../eval/recall/task.js";
import { embeddedModel } from "../../../model/embedded-model.js";
import { openModel } from "../../../model/open-model.js";
import { withoutMemory } from "../../../model/without-memory.js";
import { UsageError } from "../../../util/failure.js";
import { formatLength, parseLength } from "../../../util/lengths.js";
import { createProgressBar } from "../../../util/progress.js";
import { writeText } from "../../shared/write-text.js";
import type { RecallOptions } from "./options.js";

/** Measures the recall of one or more models and writes a table, plus JSON and a plot on request. */
export async function evaluateRecall(options: RecallOptions, signal: AbortSignal, output: Writable): Promise<void> {
    const lengths = readLengths(options.lengths);
    const models = options.model === undefined ? [embeddedModel()] : [options.model].flat();
    const texts = await readRecallTexts();
    const results: ModelRecall[] = [];
    for (const file of models) {
        const { llama, model, createContext } = await openModel({
            ...options,
            model: file,
            kvType: "f16"
        });
        try {
            if (model.armt === undefined) throw withoutMemory(file);
            const context = await createContext();
            const rows = [];
            for (const tokens of lengths) {
                const bar = createProgressBar(`${path.basename(file)} ${formatLength(tokens)}`);
                try {
                    const { questions, facts, seed, split } = options;
                    // not every fact of a haystack is asked about: some are overridden
                    const expected = Math.ceil(questions / Math.max(1, facts * 0.8)) * tokens;
                    const onProgress = (done: number) => bar.update(Math.min(done, expected), expected);
                    rows.push(
                        await measureRecall(model, context, texts, {
                            tokens,
                            questions,
                            facts,
                            seed,
                            split,
                            signal,
                            onProgress
                        })
                    );
                } finally {
                    bar.stop();
                }
            }
            results.push({ model: path.basename(file), rows });
        } finally {
            await llama.dispose();
        }
    }
    output.write(recallTable(results));
    const { questions, facts, seed, split, json, plot } = options;
    if (json !== undefined)
        await writeText(
            json,
            `${JSON.stringify({ task: "recall", questions, facts, seed, split, results }, undefined, 4)}\n`
        );
    if (plot !== undefined) await writeText(plot, recallPlot(results));
}

function readLengths(text: string): number[] {
    try {
        return text.split(",").map(parseLength);
    } catch (error) {
        throw new UsageError(`--lengths: ${error instanceof Error ? error.message : String(error)}`);
    }
}
