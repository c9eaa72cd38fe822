import type { BookQuestions } from "../../src/eval/books/books.js";

/** A text with all quotes of a book's questions, a paragraph each. */
export function makeBook({ questions }: BookQuestions): string {
    return questions.map(({ quote }, i) => `Paragraph ${i} says this: ${quote}, and more.\n`).join("\n");
}
