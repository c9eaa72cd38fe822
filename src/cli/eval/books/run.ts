import type { Writable } from "node:stream";
import { bookLength, bookTexts, readBooks } from "../../../eval/books/books.js";
import { readForms, readLengths } from "../questions/options.js";
import { evaluateQuestions } from "../questions/run.js";
import type { BooksOptions } from "./options.js";

/** Measures what a model knows about books that it read. */
export async function evaluateBooks(options: BooksOptions, signal: AbortSignal, output: Writable): Promise<void> {
    const lengths = options.lengths === "all" ? undefined : readLengths(options.lengths);
    const forms = readForms(options.form, ["chat", "plain"]);
    const kinds = (await readBooks(options.books)).map((book) => ({
        name: book.name,
        makeText: bookTexts(book),
        lengths: (countTokens: (text: string) => number) => lengths ?? [bookLength(book, countTokens)],
        perText: book.questions.length
    }));
    // a book is read once
    const once = { ...options, questions: 1 };
    await evaluateQuestions(once, { command: "books", title: "books", kinds, forms, settings: {} }, signal, output);
}
