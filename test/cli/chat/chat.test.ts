import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { PassThrough } from "node:stream";
import test, { type ExecutionContext } from "ava";
import { ArmtSnapshot } from "../../../plugin/index.js";
import type { ChatOptions } from "../../../src/cli/chat/options.js";
import { chat } from "../../../src/cli/chat/run.js";
import { recallModelPath } from "../../../src/model/embedded-model.js";
import { runArmt } from "../../helpers/armt-command.js";
import { writePlainModel } from "../../helpers/plain-model.js";
import { makeScriptedModel } from "../../helpers/scripted-model.js";
import { temporaryFolder } from "../../helpers/temporary.js";
import { until } from "../../helpers/until.js";

const facts = "After that Katan painted the wagon crimson. Then the wallet was carried to the tower.\n";

async function readFacts(t: ExecutionContext): Promise<{ folder: string; memory: string }> {
    const folder = temporaryFolder(t);
    const [text, memory] = [path.join(folder, "facts.txt"), path.join(folder, "facts.armt")];
    writeFileSync(text, facts);
    const { code, stderr } = await runArmt(["read", text, "-o", memory, "--threads", "1"]);
    t.is(code, 0, stderr);
    return { folder, memory };
}

test.serial("each line of a pipe is a message, and the memory answers", async (t) => {
    const { memory } = await readFacts(t);
    const input = "Where is the wallet?\n\nWhat colour is the wagon?\n/reset\nWhere is the wallet?\n";
    const { code, stdout, stderr } = await runArmt(["chat", memory, "-n", "8", "--threads", "1"], { input });
    t.is(stderr, "");
    t.is(code, 0);
    const [first, second, third] = stdout
        .trim()
        .split(/\n+/)
        .map((line) => line.trim());
    t.deepEqual([first, second, third], ["tower", "crimson", "tower"]);
});

test.serial("messages may be UTF-16, and a PDF is refused", async (t) => {
    const { memory } = await readFacts(t);
    const args = ["chat", memory, "-n", "8", "--threads", "1"];
    const { stdout } = await runArmt(args, { input: Buffer.from("\ufeffWhere is the wallet?\n", "utf16le") });
    t.is(stdout, "tower\n");
    const { code, stderr } = await runArmt(args, { input: Buffer.from("%PDF-1.7\n") });
    t.is(code, 1);
    t.regex(stderr, /^armt: the input is a PDF[^\n]+\n$/);
});

test.serial("a chat is saved with its memory, and another chat continues there", async (t) => {
    const { folder, memory } = await readFacts(t);
    const saved = path.join(folder, "chat.armt");
    const args = (file: string) => ["chat", file, "-n", "8", "--threads", "1"];
    const { code } = await runArmt(args(memory), { input: `The jar is in the attic.\n/save ${saved}\n` });
    t.is(code, 0);
    t.true((await ArmtSnapshot.inspect(saved)).tokensRead > (await ArmtSnapshot.inspect(memory)).tokensRead);
    const { stdout } = await runArmt(args(saved), { input: "Where is the wallet?\n" });
    t.is(stdout, "tower\n");
});

const chatml =
    "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/** A model that answers "ok" and ends its turn. */
async function scripted(t: ExecutionContext): Promise<string> {
    const folder = temporaryFolder(t);
    const file = path.join(folder, "scripted.gguf");
    const special = ["<|im_start|>", "<|im_end|>"];
    await makeScriptedModel(folder, file, {
        special,
        template: chatml,
        script: [["\n", "o", "k", "<|im_end|>", "<|im_end|>"]]
    });
    return file;
}

test.serial("the model's template ends an answer, in a chat and in a single message", async (t) => {
    const file = await scripted(t);
    const common = ["-n", "20", "--threads", "1"];
    const chatted = await runArmt(["chat", "-m", file, "--system-prompt", "Be brief.", ...common], {
        input: "Hi\nAnd now?\n"
    });
    t.is(chatted.code, 0, chatted.stderr);
    t.is(chatted.stdout, "ok\nok\n");
    const asked = await runArmt(["run", "-m", file, "--chat", "Hi", "--no-cache", "--json", ...common]);
    t.is(asked.code, 0, asked.stderr);
    const { text, promptTokens } = JSON.parse(asked.stdout);
    t.is(text, "ok");
    const same = "<bos><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
    const plain = await runArmt(["run", "-m", file, same, "--no-cache", "--json", ...common]);
    t.is(JSON.parse(plain.stdout).promptTokens, promptTokens);
    const literal = await runArmt(["run", "-m", file, same, "--no-parse-special", "--no-cache", "--json", ...common]);
    t.true(JSON.parse(literal.stdout).promptTokens > promptTokens);
});

test.serial("a plain model chats without a memory, and its answer ends where its context does", async (t) => {
    const file = path.join(temporaryFolder(t), "plain.gguf");
    await writePlainModel(file);
    const { code, stdout, stderr } = await runArmt(["chat", file, "-n", "-1", "--ignore-eos", "--threads", "1"], {
        input: "Hi\n"
    });
    t.is(code, 0, stderr);
    t.true(stdout.length > 1);
});

const defaults: ChatOptions = { maxTokens: 8, ignoreEos: false, kvType: "f16", verify: true, threads: 1 };

/** A chat in this process, as on a terminal. */
function terminal(options: Partial<ChatOptions>) {
    const [input, output, messages] = [new PassThrough(), new PassThrough(), new PassThrough()];
    const shown = { output: "", messages: "" };
    output.setEncoding("utf8").on("data", (text: string) => {
        shown.output += text;
    });
    messages.setEncoding("utf8").on("data", (text: string) => {
        shown.messages += text;
    });
    const ended = chat({ ...defaults, ...options }, { input: Object.assign(input, { isTTY: true }), output, messages });
    return { input, shown, ended };
}

test.serial("on a terminal, commands are explained and lines continue", async (t) => {
    const { memory, folder } = await readFacts(t);
    const { input, shown, ended } = terminal({ memory });
    await until(() => shown.messages.includes("> "), "the prompt");
    t.regex(shown.messages, /^The included model, on a memory of \d+ tokens/);
    t.regex(shown.messages, /It knows no questions but these: Where is the …\?/);
    input.write("/help\r/frob\r/save\r");
    await until(() => shown.messages.includes("/save needs a file"), "three answers");
    t.regex(shown.messages, /\/reset +start a new chat/);
    t.regex(shown.messages, /unknown command \/frob/);
    input.write("Where is \\\rthe wallet?\r");
    await until(() => shown.output.endsWith("\n"), "the answer");
    // neither a file that cannot be written nor one that exists ends the chat
    const [saved, text] = [path.join(folder, "saved.armt"), path.join(folder, "facts.txt")];
    input.write(`/save ${path.join(folder, "no", "a.armt")}\r/save ${text}\r/save ${recallModelPath}\r`);
    await until(() => shown.messages.includes("is the model that this chat uses"), "refusals");
    t.regex(shown.messages, /a\.armt": no such file or folder\n/);
    t.regex(shown.messages, /facts\.txt" exists; choose another name, or replace it with \/save --force/);
    t.is(readFileSync(text, "utf8"), facts);
    input.write(`/save ${saved}\r/save ${saved}\r/save --force ${text}\r/exit\r`);
    await ended;
    const { tokensRead } = await ArmtSnapshot.inspect(saved);
    t.is((await ArmtSnapshot.inspect(text)).tokensRead, tokensRead);
});

test.serial("Ctrl+C stops an answer, and ends the chat at the prompt", async (t) => {
    const { input, shown, ended } = terminal({ model: recallModelPath, maxTokens: -1, ignoreEos: true });
    await until(() => shown.messages.includes("> "), "the prompt");
    input.write("Tell me everything\r");
    await until(() => shown.output.length > 20, "some of the answer");
    input.write("\u0003");
    await until(() => shown.output.endsWith("\n"), "the end of the answer");
    const { length } = shown.output;
    input.write("\u0003");
    await ended;
    t.is(shown.output.length, length);
});

test("a text, a missing file and an empty model are refused", async (t) => {
    const folder = temporaryFolder(t);
    const text = path.join(folder, "book.txt");
    writeFileSync(text, facts);
    const wrong = await runArmt(["chat", text, "-m", recallModelPath]);
    t.is(wrong.code, 2);
    t.regex(wrong.stderr, /book\.txt" is not a memory file; read a text first: armt read/);
    const alone = await runArmt(["chat", text]);
    t.is(alone.code, 2);
    t.regex(alone.stderr, /book\.txt" is neither a memory nor a model; read a text first: armt read/);
    const missing = await runArmt(["chat", path.join(folder, "no.armt")]);
    t.is(missing.code, 1);
    t.regex(missing.stderr, /no\.armt": no such file/);
    const noMemory = await runArmt(["chat", "no-such-model"]);
    t.is(noMemory.code, 1);
    t.regex(noMemory.stderr, /neither a file nor the name of a model/);
});

test.serial("the model's own stop strings end an answer of `armt chat` and `armt run`", async (t) => {
    const folder = temporaryFolder(t);
    const file = path.join(folder, "scripted.gguf");
    await makeScriptedModel(folder, file, {
        special: ["<|im_start|>", "<|im_end|>"],
        template: chatml,
        stopStrings: ["STOP"],
        // a marker that the model writes as text ends nothing
        script: [["\n", "ok <|im", "_end|> ", "ST", "OP", " more", "<|im_end|>"]]
    });
    const common = ["-m", file, "--threads", "1", "-n", "10", "--temp", "0"];
    const chatted = await runArmt(["chat", ...common], { input: "Hi\n" });
    t.is(chatted.stdout.trim(), "ok <|im_end|>", chatted.stderr);
    const prompt = path.join(folder, "prompt.txt");
    writeFileSync(prompt, "x\n");
    t.is((await runArmt(["run", "--file", prompt, ...common])).stdout, "ok <|im_end|> \n");
    const whole = await runArmt(["run", "--file", prompt, "--ignore-eos", ...common]);
    t.true(whole.stdout.startsWith("ok <|im_end|> STOP more"), whole.stdout);
});
