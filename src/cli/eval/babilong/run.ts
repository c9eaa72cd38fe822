import path from "node:path";
import type { Writable } from "node:stream";
import {
    type BabilongRow,
    babilongPlot,
    babilongTable,
    findBabilong,
    labelsOf,
    measureBabilong,
    readBabilong
} from "../../../eval/babilong/babilong.js";
import { type BabilongForm, BabilongPrompts, chatTemplate, defaultTemplate } from "../../../eval/babilong/prompt.js";
import { openModel } from "../../../model/open-model.js";
import { withoutMemory } from "../../../model/without-memory.js";
import { ArmtError } from "../../../util/errors.js";
import { UsageError } from "../../../util/failure.js";
import { createProgressBar } from "../../../util/progress.js";
import { readEscapes } from "../../shared/escapes.js";
import { requireWritable, writeText } from "../../shared/write-text.js";
import type { BabilongOptions } from "./options.js";

/** Asks the questions of BABILong files and writes a table, plus JSON and a plot on request. */
export async function evaluateBabilong(options: BabilongOptions, signal: AbortSignal, output: Writable): Promise<void> {
    const { maxTokens, oneWord, segmentAlignment, samples: limit, json, plot } = options;
    const { chat, perSentence, answerToken } = options;
    if (perSentence && (chat || options.template !== undefined))
        throw new UsageError("--per-sentence has neither a template nor a chat");
    const given = options.template === undefined ? undefined : readEscapes(options.template);
    const template = given ?? (chat ? chatTemplate : defaultTemplate);
    const form: BabilongForm = { template, chat, perSentence, answerToken };
    if (!template.includes("{question}")) throw new UsageError("--template must contain {question}");
    const wanted = (list: string | undefined) => list?.split(",").map((name) => name.trim());
    const lengths = wanted(options.lengths);
    const tasks = wanted(options.tasks);
    const found = await findBabilong(options.data);
    const sets = found.filter(
        ({ length, task }) => (lengths?.includes(length) ?? true) && (tasks?.includes(task) ?? true)
    );
    if (sets.length === 0)
        throw new ArmtError(
            "none of the data is left by --lengths and --tasks; there are " +
                `${found.map(({ length, task }) => (length === "" ? task : `${length}/${task}`)).join(", ")}`
        );
    // reads every file first, so that a faulty one is reported before minutes of evaluation
    const data = [];
    for (const set of sets) {
        const samples = await readBabilong(set.file);
        data.push({ set, labels: labelsOf(samples), samples: samples.slice(0, limit) });
    }
    await requireWritable(json, plot);
    const { llama, model, file, createContext } = await openModel(options);
    try {
        if (model.armt === undefined) throw withoutMemory(file);
        const context = await createContext();
        const sequence = context.getSequence();
        await using prompts = new BabilongPrompts(model, form);
        const rows: BabilongRow[] = [];
        for (const { set, labels, samples } of data) {
            const bar = createProgressBar(`${set.length} ${set.task}`.trim());
            try {
                const onProgress = (done: number) => bar.update(done, samples.length);
                rows.push(
                    await measureBabilong(model, sequence, set, samples, labels, {
                        prompts,
                        maxTokens,
                        oneWord,
                        segmentAlignment,
                        signal,
                        onProgress
                    })
                );
            } finally {
                bar.stop();
            }
        }
        const name = path.basename(file);
        output.write(babilongTable(rows));
        if (json !== undefined)
            await writeText(
                json,
                `${JSON.stringify({ task: "babilong", model: name, ...form, rows }, undefined, 4)}\n`
            );
        if (plot !== undefined) await writeText(plot, babilongPlot(name, rows));
    } finally {
        await llama.dispose();
    }
}
