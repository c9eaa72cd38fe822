import type { Writable } from "node:stream";
import { naturalTexts, readNaturalFacts } from "../../../eval/natural/natural.js";
import { readProse } from "../../../eval/questions/prose.js";
import { questionForms } from "../../../eval/questions/question.js";
import { readForms, readLengths } from "../questions/options.js";
import { evaluateQuestions } from "../questions/run.js";
import type { NaturalOptions } from "./options.js";

/** Measures the recall of facts in a person's own words. */
export async function evaluateNatural(options: NaturalOptions, signal: AbortSignal, output: Writable): Promise<void> {
    const lengths = readLengths(options.lengths);
    const forms = readForms(options.form, questionForms);
    const { perText, seed } = options;
    const makeText = naturalTexts(await readNaturalFacts(), await readProse(), { count: perText, seed });
    const kinds = [{ makeText, lengths: () => lengths, perText }];
    const evaluation = { command: "natural", title: "natural facts", kinds, forms, settings: { perText } };
    await evaluateQuestions(options, evaluation, signal, output);
}
