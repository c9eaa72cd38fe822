import { readFileSync, statSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { recallModelPath } from "../../src/model/embedded-model.js";
import { runArmt } from "../helpers/armt-command.js";
import { temporaryFolder } from "../helpers/temporary.js";

test("the package's model is small enough to come with it", (t) => {
    t.true(statSync(recallModelPath).size <= 12 * 2 ** 20);
});

test("the package's model remembers what it read, and knows nothing without memory", async (t) => {
    const json = path.join(temporaryFolder(t), "recall.json");
    const { code, stderr } = await runArmt([
        "eval",
        "recall",
        "--lengths",
        "6k",
        "--questions",
        "20",
        "--threads",
        "1",
        "--json",
        json
    ]);
    t.is(code, 0, stderr);
    const [row] = JSON.parse(readFileSync(json, "utf8")).results[0].rows;
    t.true(row.asked >= 20);
    // 97 % over many texts, see docs/recall.md; chance is a few percent
    t.true(row.recall >= 0.8, JSON.stringify(row.wrong));
    t.true(row.withoutMemory.recall <= 0.2);
});

test("armt demo hides facts, reads, asks and says what it took", async (t) => {
    const { code, stdout, stderr } = await runArmt(["demo", "--tokens", "5000", "--facts", "6", "--threads", "1"]);
    t.is(code, 0, stderr);
    t.is(stdout.match(/^ {2}at /gm)?.length, 6);
    t.regex(stdout, /^read [45],\d{3} tokens in [\d.]+ s: [\d,]+ tokens\/s$/m);
    t.regex(stdout, /^process memory [\d.]+ MiB at the start, [\d.]+ MiB at the end$/m);
    const [, right, asked] = /^(\d+) of (\d+) right/m.exec(stdout) ?? [];
    t.true(Number(asked) > 0 && Number(asked) <= 6);
    t.true(Number(right) >= Number(asked) - 1, stdout);
});

test("armt demo refuses facts that do not fit", async (t) => {
    const { code, stderr } = await runArmt(["demo", "--tokens", "30", "--threads", "1"]);
    t.is(code, 2);
    t.regex(stderr, /10 facts take \d+ tokens and do not fit into 30/);
});

test("armt run uses the package's model by default", async (t) => {
    const prompt = "Katan painted the wagon crimson.\nQuestion: What colour is the wagon?\nAnswer:";
    const { code, stdout, stderr } = await runArmt([
        "run",
        "-p",
        prompt,
        "-n",
        "4",
        "--temperature",
        "0",
        "--threads",
        "1",
        "--no-cache"
    ]);
    t.is(code, 0, stderr);
    t.regex(stdout, /^ ?crimson\s*$/);
});

test("armt ask uses the question template of the package's model, unless another is given", async (t) => {
    const memory = path.join(temporaryFolder(t), "facts.armt");
    const input = "After that Katan painted the wagon crimson. Then the wallet was carried to the tower.\n";
    const read = await runArmt(["read", "-o", memory, "--threads", "1"], { input });
    t.is(read.code, 0, read.stderr);
    const ask = async (...more: string[]) => {
        const args = ["ask", memory, "Where is the wallet?", "-n", "4", "--threads", "1", "--json", ...more];
        const { code, stdout, stderr } = await runArmt(args);
        t.is(code, 0, stderr);
        return JSON.parse(stdout);
    };
    const own = await ask();
    t.is(own.text, " tower");
    // as a shell hands it over
    const said = await ask("--format", String.raw`\nQuestion: {}\nAnswer:`);
    t.is(said.text, " tower");
    t.is(said.questionTokens, own.questionTokens);
    t.true((await ask("--format", "{}")).questionTokens < own.questionTokens);
});
