import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { convertCheckpoint } from "../../../src/convert/convert.js";
import { openSafetensors } from "../../../src/formats/safetensors/reader.js";
import { makeTinyCheckpoint } from "../../../src/tiny/checkpoint.js";
import type { TinyOptions } from "../../../src/tiny/options.js";
import { armtScript, runArmt } from "../../helpers/armt-command.js";
import { readAuthorsGolden } from "../../helpers/golden.js";
import { temporaryFolder } from "../../helpers/temporary.js";
import { textIds } from "../../helpers/tokens.js";

async function tinyModel(t: ExecutionContext, options: TinyOptions = {}): Promise<{ folder: string; file: string }> {
    const folder = temporaryFolder(t);
    const file = path.join(folder, "tiny.gguf");
    await makeTinyCheckpoint(path.join(folder, "checkpoint"), options);
    await convertCheckpoint({ checkpoint: path.join(folder, "checkpoint"), output: file, outType: "f32" });
    return { folder, file };
}

function writeIds(folder: string, ids: readonly number[]): string {
    const file = path.join(folder, "ids.json");
    writeFileSync(file, JSON.stringify(ids));
    return file;
}

test("the authors' greedy tokens come out of the command line", async (t) => {
    const golden = await readAuthorsGolden("llama-gqa");
    const folder = temporaryFolder(t);
    const file = path.join(folder, "model.gguf");
    await convertCheckpoint({ checkpoint: golden.folder, output: file, outType: "f32" });
    const tokens = writeIds(folder, golden.ids);
    const args = ["run", file, "--tokens", tokens, "-n", "24", "--segment-overflow", "extend", "--json"];
    for (const schedule of ["sequential", "diagonal"]) {
        const { code, stdout, stderr } = await runArmt([...args, "--schedule", schedule, "--kv-type", "f32"]);
        t.is(stderr, "");
        t.is(code, 0);
        const result = JSON.parse(stdout);
        t.is(result.promptTokens, golden.ids.length);
        t.deepEqual(result.tokens, golden.generated);
        t.is(result.text, "");
    }
});

test("logits and memories are written in the authors' shapes", async (t) => {
    const { folder, file } = await tinyModel(t, { layers: 2, vocab: 96, tokenizer: false });
    const out = path.join(folder, "out.safetensors");
    const tokens = writeIds(folder, textIds(37, 96));
    const { code, stdout, stderr } = await runArmt(["logits", file, "--tokens", tokens, "--out", out, "--memory"]);
    t.deepEqual([code, stdout, stderr], [0, "", ""]);
    const written = await openSafetensors(out);
    const shapes = Object.fromEntries([...written.tensors].map(([name, { shape }]) => [name, [...shape]]));
    await written.close();
    const keys = 2 * 3 * 16;
    t.deepEqual(shapes, {
        logits: [37, 96],
        "W_mem.0": [keys, 64],
        "z.0": [keys],
        "W_mem.1": [keys, 64],
        "z.1": [keys]
    });
});

test("the memory's type is an option, and numbers of that type come out", async (t) => {
    const { folder, file } = await tinyModel(t, { layers: 2, vocab: 96, tokenizer: false });
    const tokens = writeIds(folder, textIds(37, 96));
    for (const [type, bits] of [
        ["f32", 0],
        ["bf16", 16]
    ] as const) {
        const out = path.join(folder, `${type}.safetensors`);
        const { code, stderr } = await runArmt(
            `logits ${file} --tokens ${tokens} --out ${out} --memory --threads 1 --state-type ${type}`.split(" ")
        );
        t.is(code, 0, stderr);
        const written = await openSafetensors(out);
        const bytes = await written.read("W_mem.0");
        await written.close();
        const values = new Uint32Array(Uint8Array.from(bytes).buffer);
        t.is(values.length, 2 * 3 * 16 * 64);
        t.is(
            values.every((value) => value % 2 ** bits === 0),
            true
        );
        t.is(
            values.some((value) => value % 2 ** 16 !== 0),
            type === "f32"
        );
    }
    const refused = await runArmt(["logits", file, "--tokens", tokens, "--out", "x", "--state-type", "q8_0"]);
    t.is(refused.code, 2);
    t.regex(refused.stderr, /state-type/);
});

test("memories with heads have a dimension for them", async (t) => {
    const { folder, file } = await tinyModel(t, { layers: 1, vocab: 96, tokenizer: false, nHeads: 2 });
    const out = path.join(folder, "out.safetensors");
    await runArmt(["logits", file, "--tokens", writeIds(folder, textIds(5, 96)), "--out", out, "--memory"]);
    const written = await openSafetensors(out);
    t.deepEqual([...written.tensors.get("W_mem.0")!.shape], [2, 48, 32]);
    t.deepEqual([...written.tensors.get("z.0")!.shape], [2, 48]);
    await written.close();
});

test("logits without --memory hold nothing else", async (t) => {
    const { folder, file } = await tinyModel(t, { layers: 1, vocab: 96, tokenizer: false });
    const out = path.join(folder, "out.safetensors");
    await runArmt(["logits", file, "--tokens", writeIds(folder, [1, 2]), "--out", out]);
    const written = await openSafetensors(out);
    t.deepEqual([...written.tensors.keys()], ["logits"]);
    await written.close();
});

test("a text continues over several segments, and the timings count them", async (t) => {
    const { file } = await tinyModel(t);
    const { code, stderr } = await runArmt([
        "run",
        file,
        "-p",
        "Once upon a time ".repeat(6),
        "-n",
        "20",
        "--ignore-eos"
    ]);
    t.is(code, 0);
    t.regex(stderr, /^load [^\n]* \| generated 20 tokens [^\n]* segments closed, (sequential|diagonal)\n$/);
});

const refused = test.macro({
    async exec(t, args: string[], message: RegExp) {
        const { folder, file } = await tinyModel(t, { vocab: 96, tokenizer: false });
        writeIds(folder, [1, 2, 96]);
        copyFileSync(file, path.join(folder, "cut.gguf"));
        truncateSync(path.join(folder, "cut.gguf"), 100_000);
        const flipped = readFileSync(file);
        flipped[flipped.length - 50]! ^= 4;
        writeFileSync(path.join(folder, "flipped.gguf"), flipped);
        const before = readdirSync(folder);
        const { code, stdout, stderr } = await runArmt(args.map((arg) => arg.replace("{}", folder)));
        t.is(code, 1);
        t.is(stdout, "");
        t.regex(stderr, /^armt: [^\n]+\n$/);
        t.regex(stderr, message);
        t.deepEqual(readdirSync(folder), before);
    },
    title: (_, args: string[]) => `refused with one line and no file: armt ${args.join(" ")}`
});
test(refused, ["run", "{}/tiny.gguf", "-p", "text"], /no tokenizer.*--tokens/);
test(refused, ["run", "{}/cut.gguf", "--tokens", "{}/ids.json"], /truncated/);
test(refused, ["run", "{}/flipped.gguf", "--tokens", "{}/ids.json"], /flipped\.gguf" is damaged or was changed/);
test(refused, ["run", "{}/flipped.gguf", "--no-verify", "--tokens", "{}/ids.json"], /token id 96 at position 2/);
test(refused, ["logits", "{}/tiny.gguf", "--tokens", "{}/ids.json", "-o", "{}/o"], /token id 96 at position 2/);
test(refused, ["logits", "{}/cut.gguf", "--tokens", "{}/ids.json", "-o", "{}/o"], /truncated/);
test(refused, ["logits", "{}/tiny.gguf", "--tokens", "{}/ids.json", "-o", "{}/no/o"], /token id 96|no such file/);

test("an interrupt ends the generation, keeps what is there, and exits with 1", async (t) => {
    const { file } = await tinyModel(t);
    const child = spawn(process.execPath, [armtScript, "run", file, "-p", "Once", "-n", "100000000", "--ignore-eos"]);
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
        stderr += text;
    });
    await once(child.stdout, "data");
    child.kill("SIGINT");
    child.stdout.resume();
    const [code] = await once(child, "close");
    t.is(code, 1);
    t.regex(stderr, /^load [^\n]* generated \d+ tokens [^\n]*\narmt: interrupted\n$/);
});
