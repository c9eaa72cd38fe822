import { writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { runArmt } from "../../helpers/armt-command.js";
import { writePlainModel } from "../../helpers/plain-model.js";
import { temporaryFolder } from "../../helpers/temporary.js";

async function plainModel(t: ExecutionContext): Promise<{ folder: string; file: string }> {
    const folder = temporaryFolder(t);
    const file = path.join(folder, "plain.gguf");
    await writePlainModel(file);
    return { folder, file };
}

test("JSON is alone on standard output and has counts, ids, text and times", async (t) => {
    const { file } = await plainModel(t);
    const { code, stdout, stderr } = await runArmt(["run", file, "-p", "hello", "-n", "8", "--ignore-eos", "--json"]);
    t.is(stderr, "");
    t.is(code, 0);
    const result = JSON.parse(stdout);
    // the tokenizer puts a beginning token before the five bytes
    t.is(result.promptTokens, 6);
    t.is(result.tokens.length, 8);
    t.is(typeof result.text, "string");
    t.deepEqual(Object.keys(result), ["promptTokens", "tokens", "text", "timings"]);
    for (const value of Object.values(result.timings)) t.true(typeof value === "number" && value >= 0);
});

test("text is streamed to standard output, and timings go to standard error in one line", async (t) => {
    const { file } = await plainModel(t);
    const args = ["run", file, "-p", "hello", "-n", "8", "--ignore-eos"];
    const { code, stdout, stderr } = await runArmt(args);
    t.is(code, 0);
    t.regex(stderr, /^load [\d.]+ s \| prompt \d+ tokens in .* \| generated 8 tokens in [^\n]*\n$/);
    const { text } = JSON.parse((await runArmt([...args, "--json"])).stdout);
    t.is(stdout, `${text}\n`);
});

test("a prompt is the same from an option, a file, standard input, and as token ids", async (t) => {
    const { folder, file } = await plainModel(t);
    const prompt = path.join(folder, "prompt.txt");
    const ids = path.join(folder, "ids.json");
    writeFileSync(prompt, "hi");
    // ids 0 to 2 are special
    writeFileSync(ids, JSON.stringify([1, 3 + 0x68, 3 + 0x69]));
    const common = ["run", file, "-n", "6", "--ignore-eos", "--json"];
    const results = await Promise.all([
        runArmt([...common, "-p", "hi"]),
        runArmt([...common, "-f", prompt]),
        runArmt(common, { input: "hi" }),
        runArmt([...common, "--tokens", ids])
    ]);
    const [first, ...others] = results.map(({ stdout }) => JSON.parse(stdout));
    for (const other of others) {
        t.is(other.promptTokens, first.promptTokens);
        t.deepEqual(other.tokens, first.tokens);
    }
});

test("no tokens to write reads the prompt only", async (t) => {
    const { file } = await plainModel(t);
    const { code, stdout } = await runArmt(["run", file, "-p", "hello", "-n", "0", "--json"]);
    t.is(code, 0);
    t.deepEqual(JSON.parse(stdout).tokens, []);
});

const refused = test.macro({
    async exec(t, args: string[], message: RegExp) {
        const { folder, file } = await plainModel(t);
        writeFileSync(path.join(folder, "range.json"), "[1, 2, 260]");
        writeFileSync(path.join(folder, "empty.json"), "[]");
        const resolved = args.map((arg) => arg.replace("{}", folder));
        const { code, stdout, stderr } = await runArmt([resolved[0]!, file, ...resolved.slice(1)]);
        t.is(code, 1);
        t.is(stdout, "");
        t.regex(stderr, /^armt: [^\n]+\n$/);
        t.regex(stderr, message);
    },
    title: (_, args: string[]) => `refused on a plain model with one line: armt ${args.join(" ")}`
});
test(refused, ["run", "-p", "a", "--schedule", "diagonal"], /plain\.gguf" is a plain model.*leave --schedule out/);
test(refused, ["run", "-p", "a", "--segment-size", "8"], /leave --segment-size out/);
test(refused, ["run", "--tokens", "{}/range.json"], /token id 260 at position 2 is out of range.*0 to 259/);
test(refused, ["run", "--tokens", "{}/empty.json"], /the prompt is empty/);
test(refused, ["logits", "--tokens", "{}/range.json", "--out", "{}/o.safetensors"], /token id 260/);
test(refused, ["run", "-p", "a", "--kv-type", "q8_0"], /Failed to create context: K cache type q8_0/);
