import { writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { bookLength, bookTexts, readBookQuestions, readBooks } from "../../../src/eval/books/books.js";
import { makeBook } from "../../helpers/book.js";
import { makeTexts, wholeText } from "../../helpers/question-texts.js";
import { temporaryFolder } from "../../helpers/temporary.js";

const known = await readBookQuestions();
const words = (text: string) => Math.ceil(text.length / 4);

test("there are twenty questions about each of three books", (t) => {
    t.deepEqual(
        known.map(({ name, questions }) => [name, questions.length]),
        [
            ["alice", 20],
            ["persuasion", 20],
            ["workshop", 20]
        ]
    );
});

test("a folder's books are read with their questions, each at the depth of its quote", async (t) => {
    const folder = temporaryFolder(t);
    for (const book of known.slice(0, 2)) writeFileSync(path.join(folder, `${book.name}.txt`), makeBook(book));
    writeFileSync(path.join(folder, "other.txt"), "not a book with questions");
    const books = await readBooks(folder);
    t.deepEqual(
        books.map(({ name }) => name),
        ["alice", "persuasion"]
    );
    const [book] = books;
    const length = bookLength(book!, words);
    const [text] = makeTexts(bookTexts(book!), 1, length);
    t.is(wholeText(text!), book!.text);
    t.is(text!.questions.length, 20);
    const depths = text!.questions.map(({ depth }) => depth);
    t.true(depths.every((depth) => depth >= 0 && depth < 1));
    for (const { expected, score } of text!.questions) t.is(score(`It was ${expected}`), 1);

    const [half] = makeTexts(bookTexts(book!), 1, Math.floor(length / 2));
    t.true(half!.questions.length > 5 && half!.questions.length < 15);
    t.true(book!.text.startsWith(wholeText(half!)));
    t.throws(() => makeTexts(bookTexts(book!), 1, 5), { message: /no question is about the first 5 tokens of alice/ });
});

test("another text, and a place without books, are refused by name", async (t) => {
    const folder = temporaryFolder(t);
    await t.throwsAsync(readBooks(folder), { message: /none of the books with questions: alice\.txt/ });
    await t.throwsAsync(readBooks(path.join(folder, "none")), { message: /cannot read .*none/ });
    writeFileSync(path.join(folder, "alice.txt"), "Another edition, much shorter.");
    await t.throwsAsync(readBooks(folder), { message: /alice\.txt" is not the text .* it lacks "ORANGE MARMALADE"/ });
});
