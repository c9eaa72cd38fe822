import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { runArmt } from "../../helpers/armt-command.js";
import { temporaryFolder } from "../../helpers/temporary.js";

const text = "The cat sat on the mat, and the dog looked at the cat. ".repeat(12);

test.serial("armt eval perplexity measures a text, and writes table, JSON and plot", async (t) => {
    const folder = temporaryFolder(t);
    const at = (name: string) => path.join(folder, name);
    t.is((await runArmt(["tiny", at("tiny"), "--segment-size", "64"])).code, 0);
    t.is((await runArmt(["convert", at("tiny"), at("tiny.gguf")])).code, 0);
    writeFileSync(at("book.txt"), text);
    const common = ["eval", "perplexity", at("book.txt"), "-m", at("tiny.gguf"), "--threads", "1"];
    const { code, stdout, stderr } = await runArmt([...common, "--json", at("p.json"), "--plot", at("p.svg")]);
    t.is(code, 0, stderr);
    t.regex(stdout, /^tokens +scored +perplexity +without memory +gain/);
    const result = JSON.parse(readFileSync(at("p.json"), "utf8"));
    t.like(result, { task: "perplexity", model: "tiny.gguf", segmentSize: 64 });
    t.true(result.tokens > 128);
    t.is(result.total.withMemory.tokens, result.tokens - 1);
    t.is(result.parts[0].gain, 0);
    t.regex(readFileSync(at("p.svg"), "utf8"), /^<svg .*<\/svg>\n$/s);

    const short = await runArmt([...common, "--tokens", "70", "--json", at("p.json")]);
    t.is(short.code, 0, short.stderr);
    t.is(JSON.parse(readFileSync(at("p.json"), "utf8")).tokens, 70);
    const piped = await runArmt(["eval", "perplexity", "-", ...common.slice(3), "--tokens", "70"], { input: text });
    t.is(piped.stdout, short.stdout, piped.stderr);
});

test.serial("armt eval babilong asks each file's questions, and writes table, JSON and plot", async (t) => {
    const folder = temporaryFolder(t);
    const at = (name: string) => path.join(folder, name);
    t.is((await runArmt(["tiny", at("tiny"), "--segment-size", "64"])).code, 0);
    t.is((await runArmt(["convert", at("tiny"), at("tiny.gguf")])).code, 0);
    for (const length of ["0k", "1k"]) {
        mkdirSync(path.join(folder, "data", length), { recursive: true });
        const samples = ["bathroom", "kitchen", "garden"].map((target) => ({
            input: length === "0k" ? "" : `Mary went to the ${target}. ${text}`,
            question: "Where is Mary?",
            target
        }));
        writeFileSync(path.join(folder, "data", length, "qa1.json"), JSON.stringify(samples));
    }
    const common = ["eval", "babilong", at("data"), "-m", at("tiny.gguf"), "--threads", "1", "--max-tokens", "4"];
    const { code, stdout, stderr } = await runArmt([...common, "--json", at("b.json"), "--plot", at("b.svg")]);
    t.is(code, 0, stderr);
    t.regex(stdout, /\n0k +qa1 +\d\/3 .*\n1k +qa1 +\d\/3 /);
    const { rows } = JSON.parse(readFileSync(at("b.json"), "utf8"));
    for (const row of rows) {
        t.is(row.asked, 3);
        t.is(row.answers.length, 3);
        t.is(row.right, row.answers.filter(({ right }: { right: boolean }) => right).length);
    }
    t.true(rows[1].tokens > rows[0].tokens + 64);
    // a prompt of one segment is read the same without memory
    t.is(rows[0].withoutMemory.right, rows[0].right);
    t.regex(readFileSync(at("b.svg"), "utf8"), /^<svg .*<\/svg>\n$/s);

    const one = await runArmt([
        ...common,
        "--lengths",
        "1k",
        "--tasks",
        "qa1",
        "--samples",
        "1",
        "--json",
        at("b.json")
    ]);
    t.is(one.code, 0, one.stderr);
    const [only] = JSON.parse(readFileSync(at("b.json"), "utf8")).rows;
    t.deepEqual(only.answers, rows[1].answers.slice(0, 1));

    // as the authors' evaluations ask
    for (const form of [["--per-sentence", "--answer-token", "GEN", "--one-word"], ["--chat"]]) {
        const alignment = ["--segment-alignment", "right"];
        const result = await runArmt([...common, "--lengths", "1k", ...form, ...alignment, "--json", at("b.json")]);
        t.is(result.code, 0, result.stderr);
        const json = JSON.parse(readFileSync(at("b.json"), "utf8"));
        t.is(json.perSentence, form[0] === "--per-sentence");
        t.is(json.rows[0].asked, 3);
        for (const { answer } of json.rows[0].answers)
            if (form.includes("--one-word")) t.regex(answer, /^[\p{L}\p{N}'-]*$/u);
    }
    const missing = await runArmt([...common, "--answer-token", "999999"]);
    t.is(missing.code, 1);
    t.regex(missing.stderr, /there is no token 999999: the model has \d+ \(--answer-token\)/);
});

test.serial("armt eval says what it wants", async (t) => {
    const folder = temporaryFolder(t);
    const cases: [string[], number, RegExp][] = [
        [[], 2, /say what to measure/],
        [["walk"], 2, /walk|say what to measure/],
        [["perplexity"], 1, /the text has 0 tokens/],
        [["perplexity", path.join(folder, "none.txt")], 1, /cannot read .*none\.txt/],
        [["perplexity", "-", "--tokens", "4x"], 2, /--tokens: "4x" is not a length/],
        [["babilong", folder], 1, /has no <length>/],
        [["babilong", folder, "--template", "{input}"], 2, /--template must contain \{question\}/],
        [["babilong", folder, "--per-sentence", "--chat"], 2, /--per-sentence has neither a template nor a chat/]
    ];
    for (const [args, code, message] of cases) {
        const result = await runArmt(["eval", ...args]);
        t.is(result.code, code, `${args.join(" ")}: ${result.stderr}`);
        t.regex(result.stderr, message);
    }
});
