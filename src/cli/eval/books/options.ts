import type { QuestionOptions } from "../questions/options.js";

export interface BooksOptions extends QuestionOptions {
    books: string;
}
