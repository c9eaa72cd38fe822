import type { Writable } from "node:stream";
import { haystacks } from "../../../eval/recall/measure.js";
import { readRecallTexts } from "../../../eval/recall/task.js";
import { readLengths } from "../questions/options.js";
import { evaluateQuestions } from "../questions/run.js";
import type { RecallOptions } from "./options.js";

/** Measures the recall of facts. */
export async function evaluateRecall(options: RecallOptions, signal: AbortSignal, output: Writable): Promise<void> {
    const lengths = readLengths(options.lengths);
    const { facts, split } = options;
    const makeText = haystacks(await readRecallTexts(), { facts, split });
    // not every fact of a haystack is asked about: some are overridden
    const kind = { makeText, lengths: () => lengths, perText: Math.max(1, facts * 0.8) };
    const settings = { facts, split };
    const evaluation = {
        command: "recall",
        title: "planted facts",
        kinds: [kind],
        forms: ["plain"],
        settings
    } as const;
    await evaluateQuestions(options, evaluation, signal, output);
}
