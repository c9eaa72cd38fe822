import { writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { runArmt } from "../helpers/armt-command.js";
import { temporaryFolder } from "../helpers/temporary.js";

test("help names every command and the exit codes", async (t) => {
    const { code, stdout, stderr } = await runArmt(["--help"]);
    t.is(code, 0);
    t.is(stderr, "");
    for (const name of ["demo", "convert", "quantize", "inspect", "run", "read", "ask", "logits", "doctor", "build"])
        t.regex(stdout, new RegExp(`armt ${name}`));
    t.regex(stdout, /Exit codes: 0 success, 1 failure, 2 wrong usage/);
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
test(wrongUsage, ["inspect"], /Not enough arguments for armt inspect <file>/);
test(wrongUsage, ["ask", "book.armt"], /Not enough arguments for armt ask <memory> <question>/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "-f", "b"], /exclude each other/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "--schedule", "fast"], /"fast".*"sequential"/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "--batch-size", "many"], /--batch-size must be a number/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "--seed", "1", "--seed", "2"], /--seed is given more than once/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "--speed", "1"], /speed/);
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
test(failure, ["run", "m.gguf", "-p", "a", "--segment-size", "0"], /--segment-size.*at least 1, got 0/);
test(failure, ["convert", "a", "b", "--segment-size", "0"], /--segment-size.*at least 1, got 0/);
test(failure, ["run", "m.gguf", "-p", "a", "--max-tokens", "-1"], /--max-tokens.*at least 0, got -1/);
test(failure, ["run", "m.gguf", "-p", "a", "--max-tokens", "1.5"], /--max-tokens.*an integer/);
test(failure, ["run", "m.gguf", "-p", "a", "--temperature", "-1"], /--temperature/);
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

test("a truncated model file is refused before anything loads it", async (t) => {
    const file = path.join(temporaryFolder(t), "cut.gguf");
    writeFileSync(file, "GGUF\u0003\0\0\0");
    const { code, stderr } = await runArmt(["run", file, "-p", "a"]);
    t.is(code, 1);
    t.regex(stderr, /^armt: bad GGUF file "[^"]*cut\.gguf": [^\n]+\n$/);
});
