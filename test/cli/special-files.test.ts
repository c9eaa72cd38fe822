import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { text } from "node:stream/consumers";
import test, { type ExecutionContext } from "ava";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { recallModelPath } from "../../src/model/embedded-model.js";
import { armtScript, runArmt } from "../helpers/armt-command.js";
import { fillDisk, fullDiskTest, withFullDisk } from "../helpers/full-disk.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { makeTiny } from "../helpers/tiny-checkpoint.js";
import { makeTrained, type Trained } from "../helpers/trained-memory.js";

// A pipe that nobody writes to would be waited for, and a device may never end. Each input and output of each command
// is one here.

const unixTest = process.platform === "win32" ? test.skip : test;

/** Makes the other files that a command needs. */
class Sources {
    readonly folder: string;
    readonly out: string;

    constructor(private readonly t: ExecutionContext) {
        this.folder = temporaryFolder(t);
        this.out = path.join(this.folder, "out");
    }

    text(): string {
        return this.write("text.txt", "Then the wallet was carried to the tower.\n");
    }

    ids(): string {
        return this.write("ids.json", JSON.stringify(Array.from({ length: 20 }, (_, i) => i + 5)));
    }

    checkpoint(): Promise<string> {
        return makeTiny(this.t, { tokenizer: true, vocab: 300 });
    }

    /** A checkpoint in which a name links to another file. */
    async checkpointWith(name: string, other: string): Promise<string> {
        const folder = await this.checkpoint();
        rmSync(path.join(folder, name), { force: true });
        symlinkSync(other, path.join(folder, name));
        return folder;
    }

    trained(): Promise<Trained> {
        return makeTrained(this.t, { modules: [] });
    }

    /** A memory file of the included model. */
    async memory(): Promise<string> {
        const file = path.join(this.folder, "a.armt");
        const { code, stderr } = await runArmt(["read", this.text(), "-o", file, "-t", "1"]);
        this.t.is(code, 0, stderr);
        return file;
    }

    /** A link in a folder of its own. */
    link(name: string, other: string): string {
        const file = path.join(temporaryFolder(this.t), name);
        symlinkSync(other, file);
        return file;
    }

    pipe(): string {
        const file = path.join(this.folder, "fifo");
        execFileSync("mkfifo", [file]);
        return file;
    }

    private write(name: string, text: string): string {
        const file = path.join(this.folder, name);
        writeFileSync(file, text);
        return file;
    }
}

type Arguments = (sources: Sources, file: string) => string[] | Promise<string[]>;

const model = ["-m", recallModelPath, "-t", "1"];

const convertWith =
    (name: string): Arguments =>
    async (make, file) => ["convert", await make.checkpointWith(name, file), make.out];

/** Command lines, each with one file that is to be read. */
const inputs: Readonly<Record<string, Arguments>> = {
    "ask MEMORY": (_, file) => ["ask", file, "Where?"],
    "ask -m": async (make, file) => ["ask", await make.memory(), "Where?", "-m", file],
    "attach BASE": async (make, file) => ["attach", file, (await make.trained()).memory, make.out],
    "attach MEMORY": async (make, file) => ["attach", (await make.trained()).base, file, make.out],
    "bench -m": (make, file) => ["bench", "-m", file, "--json", make.out, "--lengths", "32"],
    "bench --resume": (_, file) => ["bench", "--resume", "--json", file, "--lengths", "32"],
    "chat MEMORY": (_, file) => ["chat", file, ...model],
    "chat -m": (_, file) => ["chat", "-m", file],
    "convert WEIGHTS": (make, file) => ["convert", file, make.out],
    "convert config.json": convertWith("config.json"),
    "convert armt_config.json": convertWith("armt_config.json"),
    "convert tokenizer.json": convertWith("tokenizer.json"),
    "convert tokenizer_config.json": convertWith("tokenizer_config.json"),
    "convert special_tokens_map.json": convertWith("special_tokens_map.json"),
    "convert added_tokens.json": convertWith("added_tokens.json"),
    "convert generation_config.json": convertWith("generation_config.json"),
    "convert chat_template.jinja": convertWith("chat_template.jinja"),
    "convert model.safetensors": convertWith("model.safetensors"),
    "convert --base": async (make, file) => ["convert", await make.checkpoint(), make.out, "--base", file],
    "convert --vocab-from": async (make, file) => ["convert", await make.checkpoint(), make.out, "--vocab-from", file],
    "detect CHECKPOINT": (make, file) => ["detect", file, "--text", make.text()],
    "detect TEXT": async (make, file) => ["detect", await make.checkpoint(), "--text", file],
    "eval babilong": (_, file) => ["eval", "babilong", file, ...model],
    "eval books": (make, file) => ["eval", "books", make.link("alice.txt", file), ...model],
    "eval recall -m": (_, file) => ["eval", "recall", "-m", file, "--lengths", "1k"],
    "eval recall --base": (_, file) => ["eval", "recall", "--base", file, "--lengths", "1k", ...model],
    "eval perplexity": (_, file) => ["eval", "perplexity", file, ...model],
    inspect: (_, file) => ["inspect", file],
    "logits MODEL": (make, file) => ["logits", file, "--tokens", make.ids(), "-o", make.out],
    "logits --tokens": (make, file) => ["logits", recallModelPath, "--tokens", file, "-o", make.out],
    mcp: (make, file) => ["mcp", file, "--memories", path.join(make.folder, "memories")],
    quantize: (make, file) => ["quantize", file, make.out, "q4_0"],
    "read TEXT": (make, file) => ["read", file, "-o", make.out, ...model],
    "read second TEXT": (make, file) => ["read", make.text(), file, "-o", make.out, ...model],
    "read -m": (make, file) => ["read", make.text(), "-o", make.out, "-m", file],
    "run MODEL": (_, file) => ["run", file, "Hello", "-n", "1"],
    "run -f": (_, file) => ["run", "-f", file, "-n", "1", ...model],
    "run --tokens": (_, file) => ["run", "--tokens", file, "-n", "1", ...model],
    serve: (_, file) => ["serve", file, "--port", "0"],
    "trace -m": (make, file) => ["trace", "-m", file, "--tokens", "20", "--svg", make.out],
    "verify MODEL": async (make, file) => ["verify", file, "--against", await make.checkpoint()],
    "verify --against": (_, file) => ["verify", recallModelPath, "--against", file],
    "verify --memory": async (make, file) => [
        "verify",
        recallModelPath,
        "--against",
        (await make.trained()).base,
        "--memory",
        file
    ],
    "verify --tokens": async (make, file) => {
        const checkpoint = await make.checkpoint();
        const converted = path.join(make.folder, "model.gguf");
        await convertCheckpoint({ checkpoint, output: converted });
        return ["verify", converted, "--against", checkpoint, "--tokens", file];
    }
};

/** Command lines, each with one file that is to be written. Those that read or compute long have to refuse it first. */
const outputs: Readonly<Record<string, Arguments>> = {
    attach: async (make, file) => {
        const { base, memory } = await make.trained();
        return ["attach", base, memory, file];
    },
    "bench --json": (_, file) => ["bench", "--json", file, "--lengths", "1m", "--force"],
    "bench --plot": (make, file) => ["bench", "--json", make.out, "--plot", file, "--lengths", "1m"],
    convert: async (make, file) => ["convert", await make.checkpoint(), file],
    "eval recall --json": (_, file) => ["eval", "recall", "--json", file, "--lengths", "1m", ...model],
    "eval recall --plot": (_, file) => ["eval", "recall", "--plot", file, "--lengths", "1m", ...model],
    logits: (make, file) => ["logits", recallModelPath, "--tokens", make.ids(), "--out", file, "-t", "1"],
    quantize: (_, file) => ["quantize", recallModelPath, file, "q4_0", "--requantize"],
    read: (_, file) => ["read", "-o", file, ...model],
    tiny: (_, file) => ["tiny", file],
    "trace --svg": (_, file) => ["trace", "--tokens", "1m", "--svg", file, "-t", "1"],
    "trace --html": (_, file) => ["trace", "--tokens", "1m", "--html", file, "-t", "1"],
    "trace --chrome": (_, file) => ["trace", "--tokens", "1m", "--chrome", file, "-t", "1"]
};

/** Time after which a command hangs. Unit: milliseconds. */
const timeout = 120_000;

/** Runs a command that has to refuse a file in one line. Its standard input has no end. */
async function refuses(t: ExecutionContext, args: readonly string[], file: string): Promise<void> {
    const child = spawn(process.execPath, [armtScript, ...args], {
        env: { ...process.env, XDG_CACHE_HOME: path.join(temporaryFolder(t), "cache") },
        stdio: ["pipe", "ignore", "pipe"],
        timeout
    });
    const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, "close")]);
    t.is(code, 1, stderr);
    t.regex(stderr, /^armt: [^\n]+\n$/);
    t.true(stderr.includes(file), `${stderr} does not name ${file}`);
}

for (const [name, argumentsOf] of Object.entries(inputs))
    unixTest(`a pipe is refused as an input: armt ${name}`, async (t) => {
        const make = new Sources(t);
        const pipe = make.pipe();
        const args = await argumentsOf(make, pipe);
        // the message names a file of a folder by its place there
        await refuses(t, args, args.includes(pipe) ? pipe : "not a regular file");
        t.false(existsSync(make.out));
    });

for (const name of ["inspect", "read TEXT", "logits --tokens", "convert config.json", "run -f"])
    unixTest(`a device that never ends is refused as an input: armt ${name}`, async (t) => {
        await refuses(t, await inputs[name]!(new Sources(t), "/dev/zero"), "not a regular file");
    });

for (const [name, argumentsOf] of Object.entries(outputs))
    unixTest(`an output that cannot be written is refused first: armt ${name}`, async (t) => {
        const make = new Sources(t);
        const places = [make.pipe(), path.join(make.text(), "out")];
        // armt tiny makes a folder
        if (name !== "tiny") places.push(temporaryFolder(t));
        for (const place of places) await refuses(t, await argumentsOf(make, place), place);
        t.false(existsSync(make.out));
    });

fullDiskTest("a disk without room for the file is found before the text is read: armt read", async (t) => {
    await withFullDisk(t, 64 * 1024, async (disk) => {
        fillDisk(disk);
        const file = path.join(disk, "a.armt");
        await refuses(t, ["read", "-o", file, ...model], file);
        t.deepEqual(readdirSync(disk), ["filler"]);
    });
});
