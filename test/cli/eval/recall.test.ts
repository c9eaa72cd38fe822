import { readFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { runArmt } from "../../helpers/armt-command.js";
import { temporaryFolder } from "../../helpers/temporary.js";

test("armt eval recall measures any ARMT model, and writes table, JSON and plot", async (t) => {
    const folder = temporaryFolder(t);
    const at = (name: string) => path.join(folder, name);
    t.is((await runArmt(["tiny", at("tiny"), "--segment-size", "64"])).code, 0);
    t.is((await runArmt(["convert", at("tiny"), at("tiny.gguf")])).code, 0);
    const { code, stdout, stderr } = await runArmt([
        "eval",
        "recall",
        "-m",
        at("tiny.gguf"),
        "--lengths",
        "2k,3k",
        "--questions",
        "5",
        "--threads",
        "1",
        "--facts",
        "4",
        "--json",
        at("r.json"),
        "--plot",
        at("r.svg")
    ]);
    t.is(code, 0, stderr);
    t.is(stdout.trimEnd().split("\n").length, 3);
    const { results } = JSON.parse(readFileSync(at("r.json"), "utf8"));
    for (const [i, row] of results[0].rows.entries()) {
        t.is(row.tokens, [2048, 3072][i]);
        t.true(row.asked >= 5);
        t.is(row.withoutMemory.asked, row.asked);
        t.is(
            row.byDepth.reduce((sum: number, part: { asked: number }) => sum + part.asked, 0),
            row.asked
        );
        t.is(row.wrong.length, row.asked - row.right);
        t.true(row.tokensPerSecond > 0);
    }
    t.regex(readFileSync(at("r.svg"), "utf8"), /^<svg .*<\/svg>\n$/s);
});

test("the ways of users remember what the table's own way does, within two points", async (t) => {
    const file = path.join(temporaryFolder(t), "recall.json");
    const common = ["--lengths", "2k", "--questions", "20", "--seed", "2", "--threads", "1", "--json", file];
    const recalls: Record<string, number> = {};
    for (const way of ["memory", "read", "chat", "server"]) {
        const { code, stderr } = await runArmt(["eval", "recall", "--through", way, ...common]);
        t.is(code, 0, stderr);
        const { results } = JSON.parse(readFileSync(file, "utf8"));
        t.true(results[0].rows[0].asked >= 20);
        recalls[way] = results[0].rows[0].recall;
    }
    t.true(recalls.memory! > 0.85, JSON.stringify(recalls));
    for (const recall of Object.values(recalls))
        t.true(Math.abs(recall - recalls.memory!) <= 0.02, JSON.stringify(recalls));
});

test("armt eval refuses what it cannot measure", async (t) => {
    const lengths = await runArmt(["eval", "recall", "-m", "none.gguf", "--lengths", "4x"]);
    t.is(lengths.code, 2);
    t.regex(lengths.stderr, /--lengths: "4x" is not a length/);
    const missing = await runArmt(["eval", "recall", "-m", "none.gguf"]);
    t.is(missing.code, 1);
    t.regex(missing.stderr, /none\.gguf/);
});
