import type { Writable } from "node:stream";
import { needleTasks, needleTexts, needleValues, readNeedles } from "../../../eval/needles/needles.js";
import { readProse } from "../../../eval/questions/prose.js";
import { questionForms } from "../../../eval/questions/question.js";
import { readChoices } from "../../../util/choices.js";
import { readForms, readLengths } from "../questions/options.js";
import { evaluateQuestions } from "../questions/run.js";
import type { NeedlesOptions } from "./options.js";

/** Measures the recall of needles. */
export async function evaluateNeedles(options: NeedlesOptions, signal: AbortSignal, output: Writable): Promise<void> {
    const lengths = readLengths(options.lengths);
    const tasks = readChoices("tasks", options.tasks, needleTasks);
    const values = readChoices("values", options.values, needleValues);
    const forms = readForms(options.form, questionForms);
    const { perText } = options;
    const data = await readNeedles();
    const prose = await readProse();
    const kinds = tasks.map((task) => ({
        name: task,
        makeText: needleTexts(data, prose, { task, values, sets: perText }),
        lengths: () => lengths,
        perText
    }));
    const settings = { values, perText };
    await evaluateQuestions(options, { command: "needles", title: "needles", kinds, forms, settings }, signal, output);
}
