import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { ArmtSnapshot } from "../../plugin/index.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import type { TinyOptions } from "../../src/tiny/options.js";
import { armtScript, runArmt as runCommand } from "../helpers/armt-command.js";
import { writePlainModel } from "../helpers/plain-model.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { until } from "../helpers/until.js";

const book = Array.from({ length: 60 }, (_, i) => `Line ${i}: the lamp is in room ${(i * 7) % 31} — naïve.`).join("\n");

async function setUp(
    t: ExecutionContext,
    options: TinyOptions = {}
): Promise<{ folder: string; model: string; text: string; memory: string }> {
    const folder = temporaryFolder(t);
    const model = path.join(folder, "tiny.gguf");
    const text = path.join(folder, "book.txt");
    await makeTinyCheckpoint(path.join(folder, "checkpoint"), options);
    await convertCheckpoint({ checkpoint: path.join(folder, "checkpoint"), output: model, outType: "f32" });
    writeFileSync(text, book);
    return { folder, model, text, memory: path.join(folder, "book.armt") };
}

/** Two threads that wait for each other take a hundred times as long while another process uses both cores. */
const runArmt: typeof runCommand = (args, options) =>
    runCommand(/^(read|ask|run)$/.test(args[0]!) ? [...args, "--threads", "1"] : args, options);

const generation = ["-n", "12", "--ignore-eos", "--json"];

test.serial("a text is read once, and questions are answered as if it were read for each", async (t) => {
    const { model, text, memory } = await setUp(t);
    const read = await runArmt(["read", text, "-m", model, "-o", memory, "--json"]);
    t.is(read.code, 0, read.stderr);
    t.is(read.stderr, "");
    const { tokens, segments, bytes, resumedTokens } = JSON.parse(read.stdout);
    t.is(resumedTokens, 0);
    t.is(segments, Math.ceil(tokens / 16) - 1);
    t.is(bytes, readFileSync(memory).length);
    for (const question of ["Where is the lamp?", "$& {} \\1"]) {
        const asked = await runArmt(["ask", memory, question, ...generation]);
        t.is(asked.code, 0, asked.stderr);
        const answer = JSON.parse(asked.stdout);
        const whole = await runArmt(["run", model, "-p", `${book}\n${question}`, "--no-cache", ...generation]);
        const { tokens: expected, promptTokens } = JSON.parse(whole.stdout);
        t.is(answer.memoryTokens, tokens);
        t.is(answer.memoryTokens + answer.questionTokens, promptTokens);
        t.deepEqual(answer.tokens, expected);
    }
    renameSync(model, `${model}.moved`);
    t.regex(
        (await runArmt(["ask", memory, "Where?"])).stderr,
        /^armt: the model that read .* is no longer at .*; name it with -m\n$/
    );
    const moved = ["-m", `${model}.moved`];
    const plain = await runArmt([
        "ask",
        memory,
        "Where?",
        ...moved,
        "-n",
        "3",
        "--format",
        "\nQ: {}\nA:",
        "--ignore-eos"
    ]);
    t.regex(plain.stderr, /^memory of \d+ tokens loaded in [\d.]+ s \| first token after [\d.]+ s \| 3 tokens\n$/);
});

test.serial("standard input is read too, and a memory of closed segments ends with one", async (t) => {
    const { model, text, memory, folder } = await setUp(t);
    await runArmt(["read", text, "-m", model, "-o", memory]);
    const other = path.join(folder, "other.armt");
    const read = await runArmt(["read", "-m", model, "-o", other, "--closed-only"], { input: book });
    t.is(read.code, 0, read.stderr);
    t.regex(
        read.stderr,
        /^read \d+ tokens in [\d.]+ s \([\d.]+ tokens\/s\) \| \d+ segments closed \| \d+ bytes in "[^\n]+"\n$/
    );
    const [whole, closed] = await Promise.all([ArmtSnapshot.inspect(memory), ArmtSnapshot.inspect(other)]);
    t.like(closed, {
        openTokens: 0,
        segmentsClosed: whole.segmentsClosed,
        tokensRead: whole.tokensRead - whole.openTokens
    });
    t.like(whole.source, { name: text, characters: book.length, complete: true });
    t.like(closed.source, { name: "-", characters: book.length, sha256: whole.source?.sha256 });
});

test.serial("several files are one text, and standard input may be one of them", async (t) => {
    const { model, folder, memory } = await setUp(t);
    const [first, last] = [path.join(folder, "first.txt"), path.join(folder, "last.txt")];
    writeFileSync(first, "The lamp is in the hall.");
    writeFileSync(last, "\ufeffThe key is in the café.\n", "utf16le");
    const { code, stderr } = await runArmt(["read", first, "-", last, "-m", model, "-o", memory], {
        input: "Nobody is here.\n"
    });
    t.is(code, 0, stderr);
    const text = "The lamp is in the hall.\nNobody is here.\nThe key is in the café.\n";
    const sha256 = createHash("sha256").update(text).digest("hex");
    t.like((await ArmtSnapshot.inspect(memory)).source, { name: `${first}, -, ${last}`, sha256 });
    const twice = await runArmt(["read", "-", "-", "-m", model, "-o", memory]);
    t.is(twice.code, 2);
    t.regex(twice.stderr, /- is given more than once/);
});

test.serial("a memory of another text is replaced with --force only", async (t) => {
    const { model, folder, text, memory } = await setUp(t);
    const read = (file: string, ...more: string[]) => runArmt(["read", file, "-m", model, "-o", memory, ...more]);
    await read(text);
    const other = path.join(folder, "other.txt");
    writeFileSync(other, "Another text");
    const before = readFileSync(memory);
    for (const file of [other, "-"]) {
        const refused = await runArmt(["read", file, "-m", model, "-o", memory], { input: book });
        t.is(refused.code, 1);
        // the text of standard input is not read before
        const is = file === "-" ? "may be" : "is";
        t.regex(refused.stderr, new RegExp(`book\\.armt" exists and ${is} the memory of another text.*; .*--force\n$`));
        t.deepEqual(readFileSync(memory), before);
    }
    t.is((await read(text)).code, 0);
    t.is((await read(other, "--force")).code, 0);
    t.is((await ArmtSnapshot.inspect(memory)).source?.characters, 12);
    writeFileSync(memory, "notes");
    const notes = await read(text);
    t.regex(notes.stderr, /exists and is not a memory file; [^\n]*--force/);
    t.is(readFileSync(memory, "utf8"), "notes");
});

test.serial("a document that is not text is refused, and the memory before it stays", async (t) => {
    const { model, folder, text, memory } = await setUp(t);
    await runArmt(["read", text, "-m", model, "-o", memory]);
    const before = readFileSync(memory);
    const document = path.join(folder, "book.pdf");
    writeFileSync(document, "%PDF-1.7\n1 0 obj\n");
    const { code, stderr } = await runArmt(["read", document, "-m", model, "-o", memory, "--force"]);
    t.is(code, 1);
    t.regex(stderr, /^armt: "[^\n]*book\.pdf" is a PDF document \(byte 0\); extract its text first[^\n]*\n$/);
    t.deepEqual(readFileSync(memory), before);
    const question = await runArmt(["run", model, "-f", document]);
    t.regex(question.stderr, /is a PDF document/);
});

test.serial("inspect shows what a memory holds, and verifies it", async (t) => {
    const { model, text, memory } = await setUp(t);
    await runArmt(["read", text, "-m", model, "-o", memory]);
    const { stdout, code } = await runArmt(["inspect", memory, "--verify"]);
    t.is(code, 0);
    t.regex(stdout, /tokens +\d+ read, ids included\n +segments +\d+ closed, \d+ tokens in the open one\n/);
    t.regex(stdout, /made with +segment size 16, overflow close, limit 16, K\/V F16 and F16, memory f32\n/);
    const json = JSON.parse((await runArmt(["inspect", memory, "--json"])).stdout);
    t.like(json, { version: 1, segmentSize: 16, modelPath: model, hasTokenIds: true });
    const bytes = readFileSync(memory);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(memory, bytes);
    t.is((await runArmt(["inspect", memory])).code, 0);
    const damaged = await runArmt(["inspect", memory, "--verify"]);
    t.is(damaged.code, 1);
    t.regex(damaged.stderr, /^armt: cannot load "[^\n]+": it is damaged: its contents have a wrong checksum\n$/);
    const asked = await runArmt(["ask", memory, "Where?"]);
    t.is(asked.code, 1);
    t.regex(asked.stderr, /it is damaged/);
});

/** A model that reads fast, and a text that takes it a while. */
async function setUpLong(t: ExecutionContext) {
    const set = await setUp(t, { layers: 1, hidden: 32, heads: 2, segmentSize: 256, dMem: 8 });
    const long = Array.from({ length: 3500 }, (_, i) => `Line ${i}: the lamp is in room ${(i * 7) % 31}.`).join("\n");
    writeFileSync(set.text, long);
    return { ...set, long };
}

async function startAndStop(
    args: string[],
    part: string,
    signal: "SIGKILL" | "SIGINT"
): Promise<{ code: number | null; stderr: string }> {
    const child = spawn(process.execPath, [armtScript, ...args, "--threads", "1"], {
        stdio: ["ignore", "ignore", "pipe"]
    });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (data: string) => {
        stderr += data;
    });
    const closed = once(child, "close");
    await until(() => existsSync(part) || child.exitCode !== null, "there is a checkpoint");
    child.kill(signal);
    const [code] = await closed;
    return { code, stderr };
}

for (const signal of ["SIGKILL", "SIGINT"] as const) {
    test.serial(
        `reading resumes after ${signal} from the last checkpoint, with the result of an uninterrupted run`,
        async (t) => {
            t.timeout(600_000);
            const { model, text, memory, folder, long } = await setUpLong(t);
            const whole = path.join(folder, "whole.armt");
            await runArmt(["read", text, "-m", model, "-o", whole]);
            const args = ["read", text, "-m", model, "-o", memory, "--checkpoint-interval", "0"];
            const stopped = await startAndStop(args, `${memory}.part`, signal);
            t.is(stopped.code, signal === "SIGINT" ? 1 : null);
            if (signal === "SIGINT") t.is(stopped.stderr, "the same command resumes here\narmt: interrupted\n");
            t.false(existsSync(memory));
            const { source, tokensRead } = await ArmtSnapshot.inspect(`${memory}.part`);
            t.false(source?.complete);
            t.true(source!.characters > 0 && source!.characters < long.length);

            const resumed = await runArmt([...args, "--json"]);
            t.is(resumed.code, 0);
            t.is(resumed.stderr, `resuming after ${tokensRead} tokens that an interrupted run has read\n`);
            t.is(JSON.parse(resumed.stdout).resumedTokens, tokensRead);
            t.false(existsSync(`${memory}.part`));
            const [a, b] = await Promise.all([ArmtSnapshot.load(whole), ArmtSnapshot.load(memory)]);
            t.deepEqual(b.parts.tokens, a.parts.tokens);
            t.deepEqual(b.parts.state, a.parts.state);
            t.like(b.source, { ...a.source });
        }
    );
}

test.serial("a checkpoint of another text is refused, a damaged one is ignored, and --restart uses none", async (t) => {
    t.timeout(600_000);
    const { model, text, memory, long } = await setUpLong(t);
    const args = ["read", text, "-m", model, "-o", memory, "--checkpoint-interval", "0"];
    await startAndStop(args, `${memory}.part`, "SIGKILL");
    const part = readFileSync(`${memory}.part`);
    writeFileSync(text, `Another ${long.slice(0, 20_000)}`);
    const refused = await runArmt(args);
    t.is(refused.code, 1);
    t.regex(
        refused.stderr,
        /^armt: "[^\n]+book\.armt\.part" is of another text than "[^\n]+"; read from the start with --restart\n$/
    );
    const restarted = await runArmt([...args, "--restart"]);
    t.is(restarted.code, 0, restarted.stderr);
    const otherOptions = [...args, "--segment-size", "64"];
    writeFileSync(`${memory}.part`, part);
    t.regex(
        (await runArmt(otherOptions)).stderr,
        /its `armt\.segmentSize` is 256, .*; or read from the start with --restart\n$/
    );
    writeFileSync(`${memory}.part`, part.subarray(0, 300));
    t.is((await runArmt(args)).code, 0);
    t.false(existsSync(`${memory}.part`));
});

test.serial("a prompt that begins as an earlier one starts from there, and --no-cache reads it all", async (t) => {
    const { model, folder } = await setUp(t);
    const cacheFolder = path.join(folder, "cache");
    // long enough for more than one checkpoint
    const prompt = book.repeat(2);
    const run = async (text: string, ...args: string[]) => {
        const { code, stdout, stderr } = await runArmt([
            "run",
            model,
            "-p",
            text,
            ...generation,
            "--cache-folder",
            cacheFolder,
            ...args
        ]);
        t.is(code, 0, stderr);
        t.is(stderr, "");
        return JSON.parse(stdout);
    };
    const plain = await run(prompt, "--no-cache");
    t.is(plain.cachedTokens, undefined);
    t.false(existsSync(cacheFolder));
    const [first, second] = [await run(prompt), await run(prompt)];
    t.is(first.cachedTokens, 0);
    t.true(second.cachedTokens > plain.promptTokens - 32);
    for (const { tokens } of [first, second]) t.deepEqual(tokens, plain.tokens);
    const other = await run(`${prompt} And now?`);
    t.true(other.cachedTokens > 500);
    t.deepEqual(other.tokens, (await run(`${prompt} And now?`, "--no-cache")).tokens);
    const shown = await runArmt(["run", model, "-p", prompt, "-n", "2", "--cache-folder", cacheFolder]);
    t.regex(shown.stderr, /prompt \d+ tokens, \d+ of them remembered, in /);
});

test.serial("the cache is in the user's cache folder, and a run works without an unusable one", async (t) => {
    const { model, folder } = await setUp(t);
    const env = { XDG_CACHE_HOME: path.join(folder, "xdg") };
    await runArmt(["run", model, "-p", book, ...generation], { env });
    t.true(readdirSync(path.join(folder, "xdg", "node-llama-cpp-armt", "memories")).length > 0);
    writeFileSync(path.join(folder, "file"), "");
    const { code, stdout, stderr } = await runArmt([
        "run",
        model,
        "-p",
        book,
        ...generation,
        "--cache-folder",
        path.join(folder, "file")
    ]);
    t.is(code, 0);
    t.is(JSON.parse(stdout).tokens.length, 12);
    t.regex(stderr, /^armt: cannot keep memories in "[^\n]+": [^\n]+; continuing without a cache\n$/);
});

test.serial("a memory with a plain model is one line that says what to do", async (t) => {
    const { folder, model, text, memory } = await setUp(t);
    const plain = path.join(folder, "plain.gguf");
    await writePlainModel(plain);
    t.is((await runArmt(["read", text, "-m", model, "-o", memory])).code, 0);
    for (const args of [
        ["ask", memory, "Where?", "-m", plain],
        ["chat", memory, "-m", plain]
    ]) {
        const { code, stdout, stderr } = await runArmt(args);
        t.is(code, 1);
        t.is(stdout, "");
        t.regex(stderr, /^armt: "[^"]+plain\.gguf" is a plain model without a memory; train one [^\n]+\n$/);
    }
});

const refused = test.macro({
    async exec(t, args: string[], code: number, message: RegExp) {
        const { folder } = await setUp(t);
        mkdirSync(path.join(folder, "sub"));
        writeFileSync(path.join(folder, "empty.txt"), "");
        const before = readdirSync(folder);
        const result = await runArmt(args.map((arg) => arg.replace("{}", folder)));
        t.is(result.code, code);
        t.is(result.stdout, "");
        t.regex(result.stderr, /^armt: [^\n]+\n$/);
        t.regex(result.stderr, message);
        t.deepEqual(readdirSync(folder), before);
    },
    title: (_, args: string[]) => `refused with one line and no file: armt ${args.join(" ")}`
});
test.serial(refused, ["read", "{}/no.txt", "-m", "{}/tiny.gguf", "-o", "{}/o"], 1, /no\.txt": no such file/);
test.serial(refused, ["read", "{}/sub", "-m", "{}/tiny.gguf", "-o", "{}/o"], 1, /it is a folder/);
test.serial(refused, ["read", "{}/empty.txt", "-m", "{}/tiny.gguf", "-o", "{}/o"], 1, /empty\.txt" is empty/);
test.serial(
    refused,
    ["read", "{}/book.txt", "-m", "{}/tiny.gguf", "-o", "{}/no/o"],
    1,
    /cannot write .*no such file or folder/
);
test.serial(refused, ["read", "{}/book.txt", "-m", "{}/tiny.gguf"], 2, /out/);
test.serial("a memory never replaces what is read, text or model", async (t) => {
    const { folder, model, text } = await setUp(t);
    const link = path.join(folder, "link.armt");
    symlinkSync(text, link);
    const before = readFileSync(model);
    for (const out of [text, link, model]) {
        const { code, stderr } = await runArmt(["read", text, "-m", model, "-o", out, "--force"]);
        t.is(code, 2);
        t.regex(stderr, /^armt: --out would replace "[^"]+", which is to be read; name another file\n$/);
    }
    t.is(readFileSync(text, "utf8"), book);
    t.deepEqual(readFileSync(model), before);
});
test.serial(refused, ["ask", "{}/no.armt", "Who?"], 1, /no\.armt": no such file/);
test.serial(refused, ["ask", "{}/tiny.gguf", "Who?"], 1, /tiny\.gguf": it is not a memory file/);
test.serial(refused, ["ask", "{}/no.armt", "Who?", "--format", "A:"], 2, /--format must contain \{\}/);
