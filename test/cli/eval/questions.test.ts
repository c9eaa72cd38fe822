import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { readBookQuestions } from "../../../src/eval/books/books.js";
import { runArmt } from "../../helpers/armt-command.js";
import { makeBook } from "../../helpers/book.js";
import { writePlainModel } from "../../helpers/plain-model.js";
import { temporaryFolder } from "../../helpers/temporary.js";

interface Row {
    tokens: number;
    asked: number;
    right: number;
    form: string;
    withoutMemory: { asked: number };
    baseAlone?: { asked: number } | null;
}

test("each command reads its texts, asks in the chosen forms, and writes table, JSON and plot", async (t) => {
    const folder = temporaryFolder(t);
    const at = (name: string) => path.join(folder, name);
    t.is((await runArmt(["tiny", at("tiny"), "--segment-size", "64"])).code, 0);
    t.is((await runArmt(["convert", at("tiny"), at("tiny.gguf")])).code, 0);
    await writePlainModel(at("base.gguf"));
    for (const book of await readBookQuestions()) writeFileSync(at(`${book.name}.txt`), makeBook(book));
    const measure = async (command: string, ...more: string[]) => {
        const { code, stdout, stderr } = await runArmt([
            "eval",
            command,
            ...more,
            "-m",
            at("tiny.gguf"),
            "--threads",
            "1",
            "--json",
            at(`${command}.json`),
            "--plot",
            at(`${command}.svg`)
        ]);
        t.is(code, 0, stderr);
        const { task, results } = JSON.parse(readFileSync(at(`${command}.json`), "utf8"));
        t.is(task, command);
        t.regex(readFileSync(at(`${command}.svg`), "utf8"), /^<svg .*<\/svg>\n$/s);
        const rows = results.flatMap((series: { rows: Row[] }) => series.rows) as Row[];
        t.is(stdout.trimEnd().split("\n").length, 1 + rows.length);
        for (const { asked, right, withoutMemory } of rows) {
            t.true(right >= 0 && right <= asked);
            t.is(withoutMemory.asked, asked);
        }
        const tasks: (string | undefined)[] = results.map((one: { task?: string }) => one.task);
        return { rows, tasks, stdout };
    };

    const few = ["--lengths", "1k", "--questions", "2", "--per-text", "2"];
    const needles = await measure("needles", ...few, "--tasks", "single,manyQueries", "--values", "number");
    t.deepEqual(needles.tasks, ["single", "manyQueries"]);
    t.false(needles.stdout.includes("base alone"));

    const natural = await measure("natural", ...few, "--form", "chat,completion", "--base", at("base.gguf"));
    t.deepEqual(natural.tasks, ["chat", "completion"]);
    t.deepEqual(
        natural.rows.map(({ form, baseAlone }) => [form, baseAlone]),
        [
            ["chat", null],
            ["completion", null]
        ],
        "a context of 256 tokens does not hold 1024"
    );
    t.regex(natural.stdout, /base alone/);

    const stories = await measure("stories", ...few, "--tasks", "qa1,qa4");
    t.deepEqual(stories.tasks, ["qa1", "qa4"]);

    const recitation = await measure("recitation", ...few, "--form", "plain,completion");
    t.deepEqual(recitation.tasks, ["plain", "completion"]);

    const books = await measure("books", folder);
    t.deepEqual(books.tasks, ["alice", "persuasion", "workshop"]);
    for (const { asked } of books.rows) t.is(asked, 20);
});

test("wrong options are refused before a model is loaded", async (t) => {
    const refused = async (pattern: RegExp, ...args: string[]) => {
        const { code, stderr } = await runArmt(["eval", ...args, "-m", "none.gguf"]);
        t.not(code, 0);
        t.regex(stderr, pattern);
    };
    await refused(/--tasks: "qa9" is not one of qa1, qa2/, "stories", "--tasks", "qa9");
    await refused(/--form: "completion" is not one of chat, plain/, "stories", "--form", "completion");
    await refused(/--values: "letters" is not one of number, word, uuid/, "needles", "--values", "letters");
    await refused(/per-text/, "natural", "--per-text", "0");
    await refused(/cannot read "nowhere"/, "books", "nowhere");
});

test("what was measured before an error is in the JSON file", async (t) => {
    const folder = temporaryFolder(t);
    const at = (name: string) => path.join(folder, name);
    t.is((await runArmt(["tiny", at("tiny"), "--segment-size", "64"])).code, 0);
    t.is((await runArmt(["convert", at("tiny"), at("tiny.gguf")])).code, 0);
    const { code, stdout, stderr } = await runArmt(
        `eval needles --lengths 1k,100 --questions 1 --tasks single,manyKeys --threads 1 -m ${at("tiny.gguf")} --json ${at("x.json")}`.split(
            " "
        )
    );
    t.is(code, 2, stderr);
    t.regex(stderr, /do not fit into 100/);
    t.is(stdout, "");
    const { task, results } = JSON.parse(readFileSync(at("x.json"), "utf8"));
    t.is(task, "needles");
    t.deepEqual(
        results.map((series: { task: string; rows: Row[] }) => [series.task, series.rows.map((row) => row.tokens)]),
        [["single", [1024]]]
    );
});
