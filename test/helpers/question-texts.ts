import type { MakeText, QuestionedText } from "../../src/eval/questions/question.js";

/** About as many as a tokenizer makes of English. */
const countTokens = (text: string) => Math.ceil(text.length / 4);

/** Texts of `tokens` tokens with their questions. */
export function makeTexts(makeText: MakeText, count: number, tokens = 4096): QuestionedText[] {
    return Array.from({ length: count }, (_, index) => makeText({ tokens, seed: 100 + index, index, countTokens }));
}

/** The whole text. */
export function wholeText(text: QuestionedText): string {
    return [...text.sentences()].join("");
}

/** How often one text is in another. */
export function countOf(text: string, part: string): number {
    return text.split(part).length - 1;
}
