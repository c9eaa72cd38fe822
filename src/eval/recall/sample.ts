import { makeHaystack } from "./haystack.js";
import { readRecallTexts } from "./task.js";

/** A text to try the included model with. */
export interface RecallSample {
    readonly name: string;
    readonly text: string;
    /** Questions that the text answers. */
    readonly questions: readonly string[];
    /** The right answers, in the order of the questions. */
    readonly answers: readonly string[];
}

/** What the included model can do, for its users. */
export const recallDescription =
    "A small model that was trained for one task: it reads a text of any length and answers short questions about " +
    "places, codes, colours, jobs and owners that the text names. It cannot hold a conversation, summarize or explain.";

const sampleOptions = { tokens: 20_000, facts: 10, seed: 1 };

/** Makes the same text each time: about 20,000 tokens, which a CPU reads in seconds. */
export async function makeRecallSample(countTokens: (text: string) => number): Promise<RecallSample> {
    const haystack = makeHaystack(await readRecallTexts(), { ...sampleOptions, countTokens });
    return {
        name: "sample.txt",
        text: [...haystack.sentences()].join(""),
        questions: haystack.questions.map(({ text }) => text),
        answers: haystack.questions.map(({ expected }) => expected)
    };
}
