import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { PassThrough, Readable } from "node:stream";
import test, { type ExecutionContext } from "ava";
import { questionsOf } from "../../src/cli/ask/questions.js";
import type { AskResult } from "../../src/cli/ask/run.js";
import { ArmtError } from "../../src/util/errors.js";
import { armtScript, runArmt } from "../helpers/armt-command.js";
import { temporaryFolder } from "../helpers/temporary.js";

async function readFacts(t: ExecutionContext): Promise<string> {
    const folder = temporaryFolder(t);
    const [text, memory] = [path.join(folder, "facts.txt"), path.join(folder, "facts.armt")];
    writeFileSync(text, "After that Katan painted the wagon crimson. Then the wallet was carried to the tower.\n");
    const { code, stderr } = await runArmt(["read", text, "-o", memory, "--threads", "1"]);
    t.is(code, 0, stderr);
    return memory;
}

const length = ["-n", "8", "--threads", "1"];

test("each line of standard input is a question, and each answer is the one that it has alone", async (t) => {
    const memory = await readFacts(t);
    const input = "Where is the wallet?\n\n  What colour is the wagon?\r\nWhere is the wallet?";
    const alone = await Promise.all(
        ["Where is the wallet?", "What colour is the wagon?"].map((question) =>
            runArmt(["ask", memory, question, ...length])
        )
    );
    const [wallet, wagon] = alone.map(({ stdout }) => stdout.trimEnd());
    t.regex(wallet!, /tower/);
    t.regex(wagon!, /crimson/);
    for (const dash of [[], ["-"]]) {
        const { code, stdout, stderr } = await runArmt(["ask", memory, ...dash, ...length], { input });
        t.is(code, 0, stderr);
        t.is(stderr, "");
        t.deepEqual(stdout.split("\n"), [wallet, wagon, wallet, ""]);
    }
});

test("a question that the included model was not trained for is answered with a note, once", async (t) => {
    const memory = await readFacts(t);
    const note = /^note: the included model was not trained for such a question.* What colour is the …\? .*\n$/;
    const input = "Who killed the count?\nWhat is this about?\nWhere is the wallet?\n";
    const several = await runArmt(["ask", memory, ...length], { input });
    t.is(several.code, 0, several.stderr);
    t.regex(several.stderr, note);
    t.is(several.stdout.trimEnd().split("\n").length, 3);
    const one = await runArmt(["ask", memory, "Who killed the count?", ...length]);
    t.regex(one.stderr, /first token after .*\nnote: the included model/);
    const known = await runArmt(["ask", memory, "Where is the wallet?", ...length]);
    t.notRegex(known.stderr, /note/);
    const formed = await runArmt(["ask", memory, "Who killed the count?", "--format", "\\n{}", ...length]);
    t.notRegex(formed.stderr, /note/);
});

test("with --json each question has a line of its own", async (t) => {
    const memory = await readFacts(t);
    const input = "Where is the wallet?\nWhat colour is the wagon?\n";
    const { code, stdout, stderr } = await runArmt(["ask", memory, "--json", ...length], { input });
    t.is(code, 0, stderr);
    const lines = stdout.trimEnd().split("\n");
    const results = lines.map((line): AskResult => JSON.parse(line));
    t.deepEqual(
        results.map(({ question }) => question),
        ["Where is the wallet?", "What colour is the wagon?"]
    );
    t.regex(results[0]!.text, /tower/);
    t.regex(results[1]!.text, /crimson/);
    t.true(results.every(({ loadMs, firstTokenMs, tokens }) => loadMs > 0 && firstTokenMs > 0 && tokens.length > 0));
});

test("a question is answered while the input is still open", async (t) => {
    const memory = await readFacts(t);
    const child = spawn(process.execPath, [armtScript, "ask", memory, ...length], {
        stdio: ["pipe", "pipe", "inherit"]
    });
    t.teardown(() => child.kill("SIGKILL"));
    const answers = linesFrom(child);
    child.stdin.write("Where is the wallet?\n");
    t.regex(String(await answers()), /tower/);
    child.stdin.write("What colour is the wagon?\n");
    t.regex(String(await answers()), /crimson/);
    child.stdin.end();
    t.deepEqual(await once(child, "close"), [0, null]);
});

function linesFrom({ stdout }: ChildProcess): () => Promise<string> {
    let text = "";
    return async () => {
        while (!text.includes("\n")) text += String((await once(stdout!, "data"))[0]);
        const end = text.indexOf("\n");
        const line = text.slice(0, end);
        text = text.slice(end + 1);
        return line;
    };
}

test("a terminal is read only if a dash names it", (t) => {
    const terminal = Object.assign(new PassThrough(), { isTTY: true });
    t.throws(() => questionsOf(undefined, terminal), { name: "UsageError", message: /no question.*armt chat/ });
    t.throws(() => questionsOf(" ", terminal), { name: "UsageError", message: /the question is empty/ });
    t.true(questionsOf("-", terminal).isList);
});

const refused = test.macro({
    async exec(t, bytes: Buffer, message: RegExp) {
        const { texts } = questionsOf("-", Readable.from([bytes]));
        const read = async () => {
            for await (const text of texts) t.is(text, "Who?");
        };
        await t.throwsAsync(read, { instanceOf: ArmtError, message });
    },
    title: (title = "") => `refused as a list of questions: ${title}`
});
test("an empty input", refused, Buffer.from(" \n\n"), /standard input has no question/);
test(
    "bytes that are no text",
    refused,
    Buffer.from([...Buffer.from("Who?\n"), 0xff, 10]),
    /not UTF-8 text \(byte 5\).*iconv/
);
test("a character that is cut", refused, Buffer.from([0xc3]), /not UTF-8 text/);
test("NUL bytes", refused, Buffer.from("W\0h\0o\0"), /NUL byte.*\(byte 1\).*iconv -f UTF-16LE/);
test("a PDF", refused, Buffer.from("%PDF-1.7\n%"), /PDF/);

test("questions may be UTF-16 with a byte order mark", async (t) => {
    const found: string[] = [];
    const bytes = Buffer.from("\ufeffÉtait-ce lui ?\r\nWho?", "utf16le");
    const pieces = [bytes.subarray(0, 2), bytes.subarray(2, 31), bytes.subarray(31)];
    for await (const text of questionsOf("-", Readable.from(pieces)).texts) found.push(text);
    t.deepEqual(found, ["Était-ce lui ?", "Who?"]);
});

test("a character may arrive in two pieces", async (t) => {
    const bytes = Buffer.from("\ufeffÉtait-ce lui ?\nWho?");
    const pieces = [bytes.subarray(0, 4), bytes.subarray(4, 12), bytes.subarray(12)];
    const found: string[] = [];
    for await (const text of questionsOf(undefined, Readable.from(pieces)).texts) found.push(text);
    t.deepEqual(found, ["Était-ce lui ?", "Who?"]);
});
