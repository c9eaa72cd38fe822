// `npm run kills`: kills `armt convert` and `armt read` at random moments and checks what they leave. A model file must
// be whole or absent, and a memory file whole, or absent, or the part that a later run resumes.

import { spawn } from "node:child_process";
import { once } from "node:events";
import {
    appendFileSync,
    existsSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    rmSync,
    writeFileSync
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import { ArmtSnapshot } from "../plugin/index.js";
import { makeTinyCheckpoint } from "../src/tiny/checkpoint.js";
import { seededRandom } from "../src/util/random.js";

const args = await yargs(hideBin(process.argv))
    .usage("Kills commands at random moments and checks their files.")
    .options({
        kills: { type: "number", default: 200 },
        seed: { type: "number", default: 1 },
        log: { type: "string", describe: "File for a line for each kill [default: none]" }
    })
    .strict()
    .parse();

const cli = fileURLToPath(new URL("../src/cli/main.js", import.meta.url));
const random = seededRandom(args.seed, "kills");
const folder = mkdtempSync(path.join(os.tmpdir(), "armt-kills-"));
const at = (name: string) => path.join(folder, name);
const outputs = at("out");
mkdirSync(outputs);

function say(line: string): void {
    console.log(line);
    if (args.log !== undefined) appendFileSync(args.log, `${line}\n`);
}

/** Runs a command; kills it after `killAfter` milliseconds. Returns how it ended. */
async function run(command: readonly string[], killAfter?: number): Promise<{ killed: boolean; ms: number }> {
    const started = performance.now();
    const child = spawn(process.execPath, [cli, ...command], { stdio: ["ignore", "ignore", "pipe"] });
    let errors = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
        errors += text;
    });
    const ended = once(child, "close") as Promise<[number | null]>;
    const over = new AbortController();
    void ended.finally(() => over.abort());
    if (killAfter !== undefined)
        await setTimeout(killAfter, undefined, { signal: over.signal }).then(
            () => child.kill("SIGKILL"),
            () => {}
        );
    const [code] = await ended;
    if (code !== 0 && code !== null) throw new Error(`armt ${command.join(" ")} ended with ${code}: ${errors}`);
    return { killed: code === null, ms: performance.now() - started };
}

/** Whether there is a part from which the next run resumes; throws if it is damaged. */
async function checkPart({ file }: Job): Promise<boolean> {
    const part = `${file}.part`;
    return existsSync(part) && (await ArmtSnapshot.load(part)).tokensRead > 0;
}

interface Job {
    readonly name: string;
    readonly command: readonly string[];
    readonly file: string;
    /** Says what the file holds; throws if it is damaged. */
    readonly check: () => Promise<string>;
    /** Time of a run. Unit: milliseconds. */
    duration: number;
    /** What kills left. */
    counts: Record<string, number>;
}

try {
    await makeTinyCheckpoint(at("checkpoint"), { layers: 4, hidden: 256, heads: 4, vocab: 4096, tokenizer: false });
    await makeTinyCheckpoint(at("reader"), { layers: 2, segmentSize: 32 });
    await run(["convert", at("reader"), at("reader.gguf"), "--outtype", "f32"]);
    await run(["convert", at("checkpoint"), at("whole.gguf"), "--outtype", "f16"]);
    const whole = readFileSync(at("whole.gguf"));
    writeFileSync(at("text.txt"), "The lamp is in the kitchen, and nobody has moved it since.\n".repeat(300));
    const read = ["read", at("text.txt"), "-m", at("reader.gguf"), "--threads", "1", "--checkpoint-interval", "0.1"];
    await run([...read, "-o", at("whole.armt")]);
    const { tokensRead } = await ArmtSnapshot.load(at("whole.armt"));
    const model = path.join(outputs, "model.gguf");
    const memory = path.join(outputs, "memory.armt");
    const jobs: Job[] = [
        {
            name: "convert",
            command: ["convert", at("checkpoint"), model, "--outtype", "f16"],
            file: model,
            check: async () => {
                if (!readFileSync(model).equals(whole)) throw new Error("the model file is damaged");
                return "whole";
            },
            duration: 0,
            counts: {}
        },
        {
            name: "read",
            command: [...read, "-o", memory],
            file: memory,
            check: async () => {
                const snapshot = await ArmtSnapshot.load(memory);
                if (snapshot.tokensRead !== tokensRead) throw new Error(`${snapshot.tokensRead} tokens were read`);
                return "whole";
            },
            duration: 0,
            counts: {}
        }
    ];
    for (const job of jobs) {
        job.duration = (await run(job.command)).ms;
        say(`${job.name}: ${await job.check()} after ${Math.round(job.duration)} ms`);
        rmSync(job.file);
    }
    for (let kill = 0; kill < args.kills; ) {
        const job = jobs[kill % jobs.length]!;
        const moment = random() * job.duration;
        const { killed, ms } = await run(job.command, moment);
        // the time of a run follows the load of the machine
        job.duration = killed ? job.duration : 0.5 * (job.duration + ms);
        const left = existsSync(job.file) ? await job.check() : (await checkPart(job)) ? "part" : "absent";
        const temporary = readdirSync(outputs).filter((name) => name.endsWith(".tmp")).length;
        if (killed) {
            kill++;
            job.counts[left] = (job.counts[left] ?? 0) + 1;
        } else if (left !== "whole") throw new Error(`${job.name} ended and left ${left}`);
        const end = killed ? `killed after ${Math.round(moment)} ms` : "ended";
        say(`${kill} ${job.name} ${end}: ${left}, ${temporary} .tmp`);
        if (left === "whole") rmSync(job.file);
    }
    for (const job of jobs) {
        await run(job.command);
        const left = await job.check();
        if (left !== "whole") throw new Error(`${job.name}, not killed, left ${left}`);
        say(`${job.name}: after the kills ${left}; left by kills: ${JSON.stringify(job.counts)}`);
    }
    const stray = readdirSync(outputs).filter((name) => name.endsWith(".tmp"));
    if (stray.length > 0) throw new Error(`temporary files were left: ${stray.join(", ")}`);
    say(`${args.kills} kills, no damaged file, no temporary file left`);
} finally {
    rmSync(folder, { recursive: true, force: true });
}
