import path from "node:path";
import type { Writable } from "node:stream";
import { measurePerplexity, perplexityPlot, perplexityTable } from "../../../eval/perplexity/perplexity.js";
import { fp8Line, fp8Use } from "../../../model/fp8-products.js";
import { openModel } from "../../../model/open-model.js";
import { withoutMemory } from "../../../model/without-memory.js";
import { UsageError } from "../../../util/failure.js";
import { parseLength } from "../../../util/lengths.js";
import { createProgressBar } from "../../../util/progress.js";
import { openText } from "../../shared/text-input.js";
import { requireWritable, writeText } from "../../shared/write-text.js";
import type { PerplexityOptions } from "./options.js";

/** Measures the perplexity of a text and writes a table, plus JSON and a plot on request. */
export async function evaluatePerplexity(
    options: PerplexityOptions,
    signal: AbortSignal,
    output: Writable
): Promise<void> {
    const limit = readLimit(options.tokens);
    // yargs turns `-` after a subcommand into an empty string
    const input = await openText(options.text || undefined);
    await requireWritable(options.json, options.plot);
    const { llama, model, file, createContext } = await openModel(options);
    const bar = createProgressBar("reading");
    try {
        if (model.armt === undefined) throw withoutMemory(file);
        let text = "";
        for await (const piece of input.pieces) {
            signal.throwIfAborted();
            text += piece;
        }
        const ids = model.tokenize(text).slice(0, limit);
        const context = await createContext();
        const result = await measurePerplexity(context.getSequence(), ids, {
            signal,
            onProgress: (done, total) => bar.update(done, total)
        });
        bar.stop();
        const name = path.basename(file);
        output.write(perplexityTable(result));
        const fp8 = fp8Use(context);
        if (fp8 !== undefined) output.write(fp8Line(fp8));
        const { json, plot } = options;
        const all = { task: "perplexity", model: name, fp8, ...result };
        if (json !== undefined) await writeText(json, `${JSON.stringify(all, undefined, 4)}\n`);
        if (plot !== undefined) await writeText(plot, perplexityPlot(name, result));
    } finally {
        bar.stop();
        await llama.dispose();
    }
}

function readLimit(text: string | undefined): number | undefined {
    try {
        return text === undefined ? undefined : parseLength(String(text));
    } catch (error) {
        throw new UsageError(`--tokens: ${error instanceof Error ? error.message : String(error)}`);
    }
}
