import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import path from "node:path";
import test from "ava";
import { recallModelPath } from "../../src/model/embedded-model.js";
import { armtScript, runArmt } from "../helpers/armt-command.js";
import { runProcess } from "../helpers/process.js";
import { temporaryFolder } from "../helpers/temporary.js";

test("help names every command and the exit codes", async (t) => {
    const { code, stdout, stderr } = await runArmt(["--help"]);
    t.is(code, 0);
    t.is(stderr, "");
    const names = ["demo", "read", "ask", "chat", "run", "serve", "pull", "models", "convert", "attach", "quantize"];
    const expert = ["inspect", "doctor", "build", "eval", "bench", "verify", "trace", "logits", "tiny"];
    const places = [...names, ...expert].map((name) => stdout.search(new RegExp(`^  ${name} `, "m")));
    t.true(places.every((place) => place > 0));
    // what most people need comes first
    t.deepEqual(
        places,
        [...places].sort((a, b) => a - b)
    );
    t.regex(stdout, /Exit codes: 0 success, 1 failure, 2 wrong usage/);
});

test("a command's help begins with its own options and ends with those for experts", async (t) => {
    const { code, stdout } = await runArmt(["run", "--help"]);
    t.is(code, 0);
    const titles = stdout.match(/^[A-Z][^\n]*:$/gm);
    t.deepEqual(titles, [
        "Positionals:",
        "Options:",
        "Sampling:",
        "Segments and memory, for experts:",
        "Computing:",
        "General:",
        "Examples:"
    ]);
});

const wrongUsage = test.macro({
    async exec(t, args: string[], message: RegExp) {
        const { code, stdout, stderr } = await runArmt(args);
        t.is(code, 2);
        t.is(stdout, "");
        t.regex(stderr, /^armt: [^\n]+\n$/);
        t.regex(stderr, message);
    },
    title: (_, args: string[]) => `wrong usage exits with 2: armt ${args.join(" ")}`
});
test(wrongUsage, [], /a command is needed/);
test(wrongUsage, ["frobnicate"], /frobnicate/);
test(wrongUsage, ["frob"], /unknown command "frob"; did you mean run\?/);
test(wrongUsage, ["inspect"], /Not enough arguments for armt inspect <file>/);
test(wrongUsage, ["ask", "book.armt"], /Not enough arguments for armt ask <memory> <question>/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "-f", "b"], /exclude each other/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "--schedule", "fast"], /"fast".*"sequential"/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "--batch-size", "many"], /--batch-size must be a number/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "--seed", "1", "--seed", "2"], /--seed is given more than once/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "--speed", "1"], /speed/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "-p", "b"], /--prompt is given more than once/);
test(wrongUsage, ["run", "-m", "m.gguf", "A", "book"], /unexpected argument "book"; put quotes/);
test(wrongUsage, ["run", "m.gguf", "A long", "book"], /unexpected argument "book"/);
test(wrongUsage, ["run", "-m", "m.gguf", "a", "-p", "b"], /as an argument and with --prompt/);
test(wrongUsage, ["run", "-m", "m.gguf", "a", "--system-prompt", "b"], /--system-prompt needs --chat/);
test(wrongUsage, ["run", "-m", "m.gguf", "--chat", "--tokens", "b"], /exclude each other/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "--segment-size", "0"], /--segment-size.*at least 1, got 0/);
test(wrongUsage, ["convert", "a", "b", "--segment-size", "0"], /--segment-size.*at least 1, got 0/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "--max-tokens", "-2"], /--predict.*at least -1, got -2/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "-n", "1.5"], /--predict.*an integer/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "--temperature", "-1"], /--temp/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "--top-p", "1.5"], /--top-p must be a number from 0 to 1, got 1\.5/);
test(wrongUsage, ["serve", "m.gguf", "--port", "65536"], /--port must be at most 65535/);
test(wrongUsage, ["convert", "a", "b", "--segment-size", "many"], /--segment-size must be a number/);
test(wrongUsage, ["logits", "m.gguf", "--tokens", "ids.json"], /out/);

const failure = test.macro({
    async exec(t, args: string[], message: RegExp) {
        const { code, stdout, stderr } = await runArmt(args);
        t.is(code, 1);
        t.is(stdout, "");
        t.regex(stderr, /^armt: [^\n]+\n$/);
        t.regex(stderr, message);
    },
    title: (_, args: string[]) => `bad input exits with 1 and one line: armt ${args.join(" ")}`
});
test(failure, ["run", "no-such.gguf", "-p", "a"], /"no-such\.gguf": no such file/);
test(failure, ["run", "m.gguf", "-p", ""], /the prompt is empty/);
test(failure, ["run", "m.gguf", "-f", "no-such.txt"], /"no-such\.txt": no such file/);
test(failure, ["logits", "m.gguf", "--tokens", "no-such.json", "--out", "o"], /"no-such\.json": no such file/);

test("an empty standard input is an empty prompt", async (t) => {
    const { code, stderr } = await runArmt(["run", "m.gguf"], { input: "" });
    t.is(code, 1);
    t.regex(stderr, /the prompt is empty/);
});

test("a stack trace is printed with --verbose only", async (t) => {
    const { code, stderr } = await runArmt(["run", "no-such.gguf", "-p", "a", "--verbose"]);
    t.is(code, 1);
    t.regex(stderr, /\n +at /);
});

for (const args of [["--help"], ["run", "--help"], ["inspect", recallModelPath], ["doctor"]])
    test(`a full disk behind standard output is one line: armt ${args.join(" ")}`, async (t) => {
        const { code, stderr } = await runProcess("bash", [
            "-c",
            `exec "$@" > /dev/full`,
            "armt",
            process.execPath,
            armtScript,
            ...args
        ]);
        t.is(code, 1);
        t.is(stderr, "armt: cannot write the output: no space left on the device\n");
    });

test("a full disk behind standard error loses no result", async (t) => {
    const line = `exec "$0" "$1" inspect "$2" --json 2> /dev/full`;
    const { code, stdout } = await runProcess("bash", ["-c", line, process.execPath, armtScript, recallModelPath]);
    t.is(code, 0);
    t.notThrows(() => JSON.parse(stdout));
});

test("a port in use is one line", async (t) => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    t.teardown(() => other.close());
    const { port } = other.address() as AddressInfo;
    const { code, stderr } = await runArmt(["serve", "--port", String(port), "--log-level", "silent"]);
    t.is(code, 1);
    t.regex(stderr, /^armt: cannot listen on port \d+ of 127\.0\.0\.1: another program uses this port; [^\n]+\n$/);
});

test("a truncated model file is refused before anything loads it", async (t) => {
    const file = path.join(temporaryFolder(t), "cut.gguf");
    writeFileSync(file, "GGUF\u0003\0\0\0");
    const { code, stderr } = await runArmt(["run", file, "-p", "a"]);
    t.is(code, 1);
    t.regex(stderr, /^armt: bad GGUF file "[^"]*cut\.gguf": [^\n]+\n$/);
});
