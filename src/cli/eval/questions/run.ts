import path from "node:path";
import type { Writable } from "node:stream";
import type { ArmtModelInfo, LlamaContext, LlamaModel } from "../../../../plugin/index.js";
import type { Asking } from "../../../eval/questions/ask.js";
import { type MeasureOptions, type MemoryRow, measureAlone, measureMemory } from "../../../eval/questions/measure.js";
import type { MakeText, QuestionForm } from "../../../eval/questions/question.js";
import { type MemorySeries, memoryPlot, memoryTable } from "../../../eval/questions/report.js";
import { type OpenWay, openWay, serverWay, type WayName } from "../../../eval/questions/ways.js";
import { recallPlainForm } from "../../../eval/recall/task.js";
import { embeddedModel } from "../../../model/embedded-model.js";
import { type Fp8Use, fp8Line, fp8Use } from "../../../model/fp8-products.js";
import { openModel } from "../../../model/open-model.js";
import { withoutMemory } from "../../../model/without-memory.js";
import { ArmtError, quote } from "../../../util/errors.js";
import { formatLength } from "../../../util/lengths.js";
import { createProgressBar } from "../../../util/progress.js";
import { refuseRange } from "../../shared/numbers.js";
import { requireWritable, writeText } from "../../shared/write-text.js";
import type { QuestionOptions } from "./options.js";

/** Texts of one kind. */
export interface TextKind {
    /** Name, where a command has several. */
    readonly name?: string;
    readonly makeText: MakeText;
    /** Lengths to read. Unit: tokens. */
    lengths(countTokens: (text: string) => number): readonly number[];
    /** Questions in a text, about, for the progress bar. */
    readonly perText: number;
}

/** What a command measures. */
export interface Evaluation {
    /** Name of the command. */
    readonly command: string;
    /** Subject of the questions, e.g. "planted facts". */
    readonly title: string;
    readonly kinds: readonly TextKind[];
    /** Default: as the model's file says. */
    readonly forms?: readonly QuestionForm[];
    /** Options that the JSON file names, besides the common ones. */
    readonly settings: Readonly<Record<string, unknown>>;
}

/** A measured row, and what it takes to ask the base the same. */
interface Measured {
    readonly kind: TextKind;
    readonly asking: Asking;
    readonly row: MemoryRow;
}

type Series = MemorySeries & { readonly fp8: Fp8Use | undefined };

/**
 * Measures one or more models, prints a table, and writes JSON and a plot on request. The JSON file is written again
 * with each row, so what was measured outlasts an error.
 */
export async function evaluateQuestions(
    options: QuestionOptions,
    evaluation: Evaluation,
    signal: AbortSignal,
    output: Writable
): Promise<void> {
    const models = options.model === undefined ? [embeddedModel()] : [options.model].flat();
    await requireWritable(options.json, options.plot);
    let results: readonly Series[] = [];
    for (const file of models) {
        const before = results;
        let fp8: Fp8Use | undefined;
        const keep = async (measured: readonly Measured[]) => {
            const series = seriesOf(path.basename(file), measured, evaluation).filter(({ rows }) => rows.length > 0);
            results = [...before, ...series.map((one) => ({ ...one, fp8 }))];
            await writeResults(results, options, evaluation);
        };
        const measured = await measureModel(file, options, evaluation, signal, (rows, use) => {
            fp8 = use;
            return keep(rows);
        });
        if (options.base !== undefined) await addBase(options.base, measured, options, signal, keep);
    }
    output.write(memoryTable(results));
    for (const { fp8 } of results) if (fp8 !== undefined) output.write(fp8Line(fp8));
    const { plot } = options;
    if (plot !== undefined) await writeText(plot, memoryPlot(results, evaluation.title));
}

async function writeResults(
    results: readonly Series[],
    { questions, seed, through, base, json }: QuestionOptions,
    { command: task, settings }: Evaluation
): Promise<void> {
    if (json === undefined) return;
    const baseName = base === undefined ? {} : { base: path.basename(base) };
    const all = { task, questions, seed, through, ...settings, ...baseName, results };
    await writeText(json, `${JSON.stringify(all, undefined, 4)}\n`);
}

/** @param onRows called after each length with all rows so far, one for each form of a text */
async function measureModel(
    file: string,
    options: QuestionOptions,
    { kinds, forms }: Evaluation,
    signal: AbortSignal,
    onRows: (measured: readonly Measured[], fp8: Fp8Use | undefined) => Promise<void>
): Promise<Measured[]> {
    const { llama, model, createContext } = await openModel({ ...options, model: file, kvType: "f16" });
    try {
        if (model.armt === undefined) throw withoutMemory(file);
        const asking = await askingOf(model.armt, forms);
        const context = await createContext();
        const way = await wayTo(context, options.through);
        const measured: Measured[] = [];
        for (const kind of kinds)
            for (const tokens of kind.lengths(countWith(model))) {
                const rows = await withProgress(
                    `${path.basename(file)} ${[kind.name ?? [], formatLength(tokens)].flat().join(" ")}`,
                    Math.ceil(options.questions / kind.perText) * tokens,
                    async (onProgress) => {
                        const { questions } = options;
                        return await measureMemory(model, context, {
                            ...common(options, kind, [...asking], tokens, signal),
                            questions,
                            openWay: way.open,
                            onProgress
                        });
                    }
                );
                measured.push(...rows.map((row, i) => ({ kind, asking: asking[i]!, row })));
                await onRows(measured, fp8Use(context));
            }
        await way.close();
        return measured;
    } finally {
        await llama.dispose();
    }
}

/** How to open a way to a context's model. The server takes the context's sequences, so there is one for all texts. */
async function wayTo(context: LlamaContext, name: WayName): Promise<{ open: OpenWay; close: () => Promise<void> }> {
    if (name !== "server") return { open: openWay(name), close: async () => {} };
    const { startLocalServer } = await import("../../serve/local-server.js");
    const { url, close } = await startLocalServer(context);
    return { open: async ({ model }) => serverWay(url, model), close };
}

/** Asks the base alone what the model was asked. @param onRows called after each row with all rows, asked or not */
async function addBase(
    base: string,
    measured: readonly Measured[],
    options: QuestionOptions,
    signal: AbortSignal,
    onRows: (measured: readonly Measured[]) => Promise<void>
): Promise<void> {
    const { llama, model, createContext } = await openModel({ ...options, model: base, kvType: "f16" });
    try {
        if (model.armt !== undefined) throw new ArmtError(`--base ${quote(base)} is an ARMT model; name a plain one`);
        const sequence = (await createContext()).getSequence();
        const done: Measured[] = [];
        for (const { kind, asking, row } of measured) {
            const measureOptions = common(options, kind, [asking], row.tokens, signal);
            const [baseAlone = null] = await measureAlone(model, sequence, measureOptions, row.haystacks);
            done.push({ kind, asking, row: { ...row, baseAlone } });
            await onRows([...done, ...measured.slice(done.length)]);
        }
    } finally {
        await llama.dispose();
    }
}

function common(
    { seed }: QuestionOptions,
    { makeText }: TextKind,
    asking: readonly Asking[],
    tokens: number,
    signal: AbortSignal
): Omit<MeasureOptions, "questions" | "onProgress"> {
    return { tokens, seed, asking, makeText: (text) => refuseRange(() => makeText(text)), signal };
}

function seriesOf(model: string, measured: readonly Measured[], { kinds }: Evaluation): MemorySeries[] {
    const forms = [...new Set(measured.map(({ row }) => row.form))];
    return kinds.flatMap((kind) =>
        forms.map((form) => {
            const names = [kind.name ?? [], forms.length > 1 ? form : []].flat();
            const rows = measured.filter((one) => one.kind === kind && one.row.form === form).map(({ row }) => row);
            return { model, ...(names.length > 0 ? { task: names.join(", ") } : {}), rows };
        })
    );
}

/** How to ask a model: as its file says, unless the caller chooses the forms. */
async function askingOf({ ask }: ArmtModelInfo, forms: readonly QuestionForm[] | undefined): Promise<Asking[]> {
    const usual = await recallPlainForm();
    const plain = { before: ask?.before ?? usual.before, after: ask?.after ?? usual.after };
    return (forms ?? [ask?.chat ? "chat" : "plain"]).map((form) => ({ form, plain }));
}

async function withProgress<T>(
    title: string,
    expected: number,
    work: (onProgress: (tokens: number) => void) => Promise<T>
): Promise<T> {
    const bar = createProgressBar(title);
    try {
        return await work((done) => bar.update(Math.min(done, expected), expected));
    } finally {
        bar.stop();
    }
}

function countWith(model: LlamaModel): (text: string) => number {
    return (text) => model.tokenize(text).length;
}
