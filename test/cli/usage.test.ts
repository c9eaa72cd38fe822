import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import test from "ava";
import { importCommands } from "../../src/cli/commands.js";
import { recallModelPath } from "../../src/model/embedded-model.js";
import { armtScript, runArmt } from "../helpers/armt-command.js";
import { listenOnFreePort } from "../helpers/listen.js";
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
        "Computing:",
        "Segments and memory, for experts:",
        "General:",
        "Examples:"
    ]);
});

test("help of a command within a command begins with its own options too", async (t) => {
    const { stdout } = await runArmt(["eval", "recall", "--help"]);
    t.deepEqual(stdout.match(/^[A-Z][^\n]*:$/gm), ["Options:", "Computing:", "General:", "Examples:"]);
});

const sameHelp = test.macro({
    async exec(t, words: string[]) {
        const [asWord, asOption] = await Promise.all([runArmt(["help", ...words]), runArmt([...words, "--help"])]);
        t.is(asWord.code, 0);
        t.is(asWord.stderr, "");
        t.is(asWord.stdout, asOption.stdout);
        t.true(asWord.stdout.startsWith(`armt ${words.length > 0 ? words.join(" ") : "<command>"}`));
    },
    title: (_, words: string[]) => `armt help ${words.join(" ")}`
});
test(sameHelp, []);
test(sameHelp, ["run"]);
test(sameHelp, ["models"]);
test(sameHelp, ["eval", "recall"]);

test("help right after a command's name is that command's help", async (t) => {
    const { code, stdout } = await runArmt(["run", "help"]);
    t.is(code, 0);
    t.is(stdout, (await runArmt(["run", "--help"])).stdout);
});

for (const ci of ["", "woodpecker", "0"])
    test(`a CI system may set CI to ${JSON.stringify(ci)}`, async (t) => {
        const { code, stderr } = await runArmt(["run", "-p", "a", "-n", "1", "--no-cache"], { env: { CI: ci } });
        t.is(code, 0, stderr);
    });

test("a prompt that is the word help is read", async (t) => {
    const { code, stdout } = await runArmt(["run", recallModelPath, "help", "-n", "1", "--no-cache", "--json"]);
    t.is(code, 0);
    t.is(JSON.parse(stdout).tokens.length, 1);
    const { stderr } = await runArmt(["ask", "missing.armt", "help"]);
    t.regex(stderr, /missing\.armt/);
});

(process.platform === "win32" ? test.skip : test)("too few open files for a start are one line", async (t) => {
    const seen = [];
    for (const limit of [24, 30, 36]) {
        const command = `ulimit -n ${limit}; exec "$0" "$@"`;
        const { code, stderr } = await runProcess("sh", ["-c", command, process.execPath, armtScript, "--version"]);
        seen.push(code);
        if (code !== 0) t.regex(stderr, /^armt: cannot start: EMFILE[^\n]+ulimit -n 256`\n$/);
    }
    t.true(seen.includes(1), `exit codes: ${seen}`);
});

test("without a command there is help on standard error, and the exit code of wrong usage", async (t) => {
    const { code, stdout, stderr } = await runArmt([]);
    t.is(code, 2);
    t.is(stdout, "");
    t.is(stderr, (await runArmt(["--help"])).stdout);
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
test(wrongUsage, ["--verbose"], /a command is needed/);
test(wrongUsage, ["frobnicate"], /frobnicate/);
test(wrongUsage, ["frob"], /unknown command "frob"; did you mean run\?/);
test(wrongUsage, ["help", "frob"], /unknown command "frob"; see armt --help/);
test(wrongUsage, ["frob", "--help"], /unknown command "frob"; see armt --help/);
test(wrongUsage, ["run", "-p", "a", "--gpu", "help"], /--gpu cannot be "help"/);
test(wrongUsage, ["--seed", "run", "a text"], /options come after the command, as in armt run/);
test(wrongUsage, ["inspect"], /not enough arguments for armt inspect <file>/);
test(wrongUsage, ["ask"], /not enough arguments for armt ask <memory> \[question\]/);
test(wrongUsage, ["ask", "a.armt", "Where", "is", "it"], /unknown argument "is", "it"; put quotes around a question/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "-f", "b"], /exclude each other/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "--schedule", "fast"], /"fast".*"sequential"/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "--batch-size", "many"], /--batch-size must be a number/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "--seed", "1", "--seed", "2"], /--seed is given more than once/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "--speed", "1"], /unknown option --speed; see armt run --help/);
test(wrongUsage, ["ask", "a", "b", "--segment-size", "8"], /unknown option --segment-size; see armt ask --help/);
test(wrongUsage, ["inspect", "a", "b"], /unknown argument "b"; see armt inspect --help/);
test(wrongUsage, ["run", "--gpu", "fast"], /--gpu cannot be "fast"; choose one of "auto"/);
test(wrongUsage, ["run", "-p"], /-p needs a value; see armt run --help/);
test(wrongUsage, ["read", "book.txt"], /--out is missing; see armt read --help/);
test(wrongUsage, ["read", "book.txt", "--out"], /--out needs a value/);
test(wrongUsage, ["convert", "a", "b", "--lora-alpha"], /--lora-alpha needs a value/);
test(wrongUsage, ["eval", "recal"], /unknown command "eval recal"; see armt eval --help/);
test(wrongUsage, ["eval", "recall", "--speed", "1"], /unknown option --speed; see armt eval recall --help/);
test(wrongUsage, ["models", "rm"], /not enough arguments; see armt models rm --help/);
test(wrongUsage, ["run", "m.gguf", "-p", "a", "-p", "b"], /--prompt is given more than once/);
test(wrongUsage, ["run", "-m", "m.gguf", "A", "book"], /unexpected argument "book"; put quotes/);
test(wrongUsage, ["run", "m.gguf", "-p", ""], /the prompt is empty/);
test(wrongUsage, ["mcp", "--memories", "m", "--port", "8081"], /--port needs --http/);
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
test(wrongUsage, ["demo", "--tokens", "200", "--facts", "40"], /40 facts take \d+ tokens.*use fewer facts or a longer/);
test(wrongUsage, ["demo", "--facts", "100000"], /100000 facts are too many/);
test(wrongUsage, ["eval", "recall", "--lengths", "200", "--facts", "40"], /use fewer facts or a longer text/);
test(wrongUsage, ["logits", "m.gguf"], /--tokens and --out are missing/);

test(wrongUsage, ["build", "now"], /unknown argument "now"; see armt build --help/);
test(wrongUsage, ["doctor", "--json", "file"], /unknown argument "file"; see armt doctor --help/);
test(wrongUsage, ["tiny", "folder", "--layers", "0"], /--layers is 0, expected a positive integer/);
test(wrongUsage, ["tiny", "folder", "--hidden", "63"], /--hidden is 63, expected a multiple of 8/);
test(wrongUsage, ["run", "-p", "a", "--rpc", "there"], /--rpc must be `host:port`/);
test(wrongUsage, ["run", "-p", "a", "--tensor-split", "x"], /--tensor-split must be an array of numbers/);
test(
    wrongUsage,
    ["run", "-p", "a", "--open-segment-limit", "400"],
    /--open-segment-limit requires --segment-overflow extend/
);

test("every command refuses an unknown option with exit code 2 and one line", async (t) => {
    const commands = (await importCommands(undefined)).map(({ command }) => String(command.command).split(" ")[0]!);
    const measures = ["recall", "natural", "needles", "stories", "recitation", "books", "perplexity", "babilong"];
    const all = [...commands.map((name) => [name]), ...measures.map((name) => ["eval", name]), ["models", "rm"]];
    for (const command of all) {
        const { code, stdout, stderr } = await runArmt([...command, "--no-such-option"]);
        t.is(code, 2, `${command.join(" ")}: ${stderr}`);
        t.is(stdout, "");
        t.regex(stderr, /^armt: [^\n]+\n$/);
    }
});

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
test(failure, ["run", "hello"], /"hello" is neither a file nor the name of a model.*one word needs --prompt/);
test(failure, ["run", "hello", "world"], /"hello" is neither.*several words needs quotes/);
test(failure, ["run", "no-such.gguf", "-p", "a"], /"no-such\.gguf": no such file/);
test(failure, ["run", "m.gguf", "-f", "no-such.txt"], /"no-such\.txt": no such file/);
test(
    failure,
    ["eval", "recall", "--json", "no-such-folder/a.json"],
    /cannot write "no-such-folder\/a\.json": no such file/
);
test(failure, ["trace", "--svg", "no-such-folder/a.svg"], /cannot write "no-such-folder\/a\.svg": no such file/);
test(failure, ["logits", "m.gguf", "--tokens", "no-such.json", "--out", "o"], /"no-such\.json": no such file/);

test("an empty standard input is no prompt", async (t) => {
    const { code, stderr } = await runArmt(["run", "m.gguf"], { input: "" });
    t.is(code, 1);
    t.regex(stderr, /standard input is empty; a prompt needs/);
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
    const other = createServer();
    t.teardown(() => other.close());
    const port = await listenOnFreePort(other);
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
