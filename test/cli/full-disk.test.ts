import { readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { recallModelPath } from "../../src/model/embedded-model.js";
import { armtScript, runArmt } from "../helpers/armt-command.js";
import { fillDisk, fullDiskTest, withFullDisk } from "../helpers/full-disk.js";
import { runProcess } from "../helpers/process.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { makeTiny } from "../helpers/tiny-checkpoint.js";
import { makeTrained } from "../helpers/trained-memory.js";

interface Sources {
    checkpoint: string;
    text: string;
    ids: string;
}

async function writeSources(t: ExecutionContext): Promise<Sources> {
    const folder = temporaryFolder(t);
    const [text, ids] = [path.join(folder, "text.txt"), path.join(folder, "ids.json")];
    writeFileSync(text, "Then the wallet was carried to the tower.\n");
    writeFileSync(ids, JSON.stringify(Array.from({ length: 64 }, (_, i) => i + 5)));
    return { checkpoint: await makeTiny(t, {}), text, ids };
}

/** Commands that write a file, without the file's name. */
const commands: Readonly<Record<string, (sources: Sources, out: string) => string[]>> = {
    tiny: (_, out) => ["tiny", out],
    convert: ({ checkpoint }, out) => ["convert", checkpoint, out],
    quantize: (_, out) => ["quantize", recallModelPath, out, "q4_0", "--requantize"],
    read: ({ text }, out) => ["read", text, "-o", out, "-t", "1"],
    logits: ({ ids }, out) => ["logits", recallModelPath, "--tokens", ids, "--out", out, "-t", "1"],
    trace: (_, out) => ["trace", "--tokens", "200", "--svg", out, "-t", "1"]
};

for (const [name, argumentsOf] of Object.entries(commands))
    fullDiskTest(`a full disk is one line and leaves nothing behind: armt ${name}`, async (t) => {
        const sources = await writeSources(t);
        await withFullDisk(t, 64 * 1024, async (disk) => {
            fillDisk(disk);
            const { code, stderr } = await runArmt(argumentsOf(sources, path.join(disk, "out")));
            t.is(code, 1, stderr);
            t.regex(stderr, /^armt: [^\n]*: no space left on the device\n$/);
            const left = readdirSync(disk, { recursive: true, withFileTypes: true });
            t.deepEqual(
                left.filter((entry) => entry.isFile()).map(({ name }) => name),
                ["filler"]
            );
        });
    });

fullDiskTest("a disk that fills up during the work is one line too: armt attach", async (t) => {
    const { base, memory } = await makeTrained(t, { modules: [] });
    await withFullDisk(t, 16 * 1024, async (disk) => {
        const { code, stderr } = await runArmt(["attach", base, memory, path.join(disk, "model.gguf")]);
        t.is(code, 1);
        t.regex(stderr, /^armt: cannot write [^\n]*: no space left on the device\n$/);
        t.deepEqual(readdirSync(disk), []);
    });
});

fullDiskTest("a prompt is answered although its cache does not fit the disk: armt run", async (t) => {
    await withFullDisk(t, 64 * 1024, async (disk) => {
        fillDisk(disk);
        const prompt = "Then the wallet was carried to the tower. ".repeat(40);
        const args = ["run", "-p", prompt, "-n", "2", "-t", "1", "--cache-folder", path.join(disk, "cache")];
        const { code, stdout, stderr } = await runArmt(args);
        t.is(code, 0, stderr);
        t.true(stdout.length > 0);
        t.notRegex(stderr, /\n +at /);
    });
});

for (const name of ["convert", "read", "logits"])
    test(`a file beyond \`ulimit -f\` is one line and leaves nothing behind: armt ${name}`, async (t) => {
        const folder = temporaryFolder(t);
        const args = commands[name]!(await writeSources(t), path.join(folder, "out"));
        // a report of coverage would be too large as well
        const line = `ulimit -f 16; unset NODE_V8_COVERAGE; exec "$@"`;
        const { code, stderr } = await runProcess("bash", ["-c", line, "armt", process.execPath, armtScript, ...args]);
        t.is(code, 1, stderr);
        t.regex(stderr, /^armt: cannot write [^\n]*: the file would be too large [^\n]*`ulimit -f`\n$/);
        t.deepEqual(readdirSync(folder), []);
    });
