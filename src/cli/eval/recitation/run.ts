import type { Writable } from "node:stream";
import { readProse } from "../../../eval/questions/prose.js";
import { type QuestionForm, questionForms } from "../../../eval/questions/question.js";
import { recitationTexts } from "../../../eval/recitation/recitation.js";
import { readForms, readLengths } from "../questions/options.js";
import { evaluateQuestions } from "../questions/run.js";
import type { RecitationOptions } from "./options.js";

/** Measures whether a model continues sentences that it read. */
export async function evaluateRecitation(
    options: RecitationOptions,
    signal: AbortSignal,
    output: Writable
): Promise<void> {
    const lengths = readLengths(options.lengths);
    const forms: readonly QuestionForm[] = readForms(options.form, questionForms) ?? ["completion"];
    const { perText, seed } = options;
    const makeText = recitationTexts(await readProse(), { count: perText, seed });
    const kinds = [{ makeText, lengths: () => lengths, perText }];
    const evaluation = { command: "recitation", title: "sentences", kinds, forms, settings: { perText } };
    await evaluateQuestions(options, evaluation, signal, output);
}
