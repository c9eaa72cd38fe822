import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import { ArmtError, quote, systemErrorText } from "../../util/errors.js";
import { readTextFile } from "../../util/whole-file.js";
import { readTaskData } from "../questions/data.js";
import { namesAny } from "../questions/grading.js";
import type { MakeText, Question } from "../questions/question.js";

/** Questions about a book, from `assets/eval/books.json`. */
export interface BookQuestions {
    /** Name of the book's file, without `.txt`. */
    readonly name: string;
    readonly title: string;
    readonly questions: readonly {
        readonly question: string;
        readonly answers: readonly string[];
        /** What the book says where the answer is. */
        readonly quote: string;
    }[];
}

/** A book and its questions. */
export interface Book extends BookQuestions {
    readonly text: string;
}

export async function readBookQuestions(): Promise<readonly BookQuestions[]> {
    return (await readTaskData<{ books: BookQuestions[] }>("books")).books;
}

/**
 * Reads the books of a folder, or one file.
 * @throws {ArmtError} if there is none with questions, or a text lacks what a question quotes
 */
export async function readBooks(place: string): Promise<Book[]> {
    const known = await readBookQuestions();
    try {
        const isFolder = (await stat(place)).isDirectory();
        const files = isFolder ? (await readdir(place)).map((name) => path.join(place, name)) : [place];
        const books: Book[] = [];
        for (const book of known) {
            const file = files.find((name) => path.basename(name, ".txt") === book.name);
            if (file !== undefined) books.push(withText(book, file, await readTextFile(file)));
        }
        if (books.length > 0) return books;
    } catch (error) {
        if (error instanceof ArmtError) throw error;
        throw new ArmtError(`cannot read ${quote(place)}: ${systemErrorText(error)}`, { cause: error });
    }
    const names = known.map(({ name }) => `${name}.txt`).join(", ");
    throw new ArmtError(`${quote(place)} has none of the books with questions: ${names}`);
}

function withText(book: BookQuestions, file: string, text: string): Book {
    const plain = plainText(text);
    for (const { quote: passage } of book.questions)
        if (placeOf(plain, passage) === -1)
            throw new ArmtError(
                `${quote(file)} is not the text that the questions about ${book.title} were written for; it lacks ` +
                    quote(passage)
            );
    return { ...book, text };
}

/** The book's beginning, up to a length, and the questions about that part. */
export function bookTexts({ name, text, questions }: Book): MakeText {
    return ({ tokens, countTokens }) => {
        const paragraphs = beginningOf(text, tokens, countTokens);
        const part = plainText(paragraphs.join(""));
        const asked = questions
            .map((one) => ({ ...one, place: placeOf(part, one.quote) }))
            .filter(({ place }) => place !== -1);
        if (asked.length === 0) throw new RangeError(`no question is about the first ${tokens} tokens of ${name}`);
        return {
            questions: asked.map(
                ({ question, answers, place }): Question => ({
                    text: question,
                    kind: name,
                    expected: answers[0]!,
                    depth: place / part.length,
                    score: (answer) => Number(namesAny(answer, answers))
                })
            ),
            sentences: () => paragraphs
        };
    };
}

/** Length of a whole book, paragraph by paragraph. Unit: tokens. */
export function bookLength({ text }: Book, countTokens: (text: string) => number): number {
    return paragraphsOf(text).reduce((sum, paragraph) => sum + countTokens(paragraph), 0);
}

function paragraphsOf(text: string): string[] {
    return text.split(/(?<=\n)/);
}

/** Whole paragraphs from the beginning of a text. */
function beginningOf(text: string, tokens: number, countTokens: (text: string) => number): string[] {
    const paragraphs: string[] = [];
    let size = 0;
    for (const paragraph of paragraphsOf(text)) {
        size += countTokens(paragraph);
        if (size > tokens) break;
        paragraphs.push(paragraph);
    }
    return paragraphs;
}

/** A text without marks and line breaks, so that quotes are found in any edition's layout. */
function plainText(text: string): string {
    return text
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}]+/gu, " ")
        .trim();
}

function placeOf(plain: string, passage: string): number {
    return plain.indexOf(plainText(passage));
}
