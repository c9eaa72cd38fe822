// `npm run bench:first-answer`: the time that a new user needs from `git clone` to the included model's first answer
// about its sample document. The answer has to be right.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import { getLlama } from "../plugin/index.js";
import { describeMachine } from "../src/bench/machine.js";
import { makeRecallSample } from "../src/eval/recall/sample.js";
import { recallModelPath } from "../src/model/embedded-model.js";
import { writeAtomically } from "../src/util/atomic-file.js";

const args = await yargs(hideBin(process.argv))
    .usage("Times a new user's way from git clone to the first right answer.")
    .options({
        from: {
            type: "string",
            default: fileURLToPath(new URL("../..", import.meta.url)),
            defaultDescription: "this one",
            describe: "Repository to clone, as git names it"
        },
        warm: { type: "boolean", default: false, describe: "Use this machine's caches of npm and ccache" },
        folder: { type: "string", default: os.tmpdir(), describe: "Folder in which the clone is made" },
        out: { type: "string", default: "bench/results", describe: "Folder for the JSON file" }
    })
    .strict()
    .parse();

type Stage = { name: string; seconds: number };
type ModelList = { data: { armt: { sample: { questions: string[] } } }[] };
type Chat = { choices: { message: { content: string } }[] };

const stages: Stage[] = [];

function finish(name: string, seconds: number): void {
    stages.push({ name, seconds });
    console.log(`${seconds.toFixed(1).padStart(8)} s  ${name}`);
}

async function stage<T>(name: string, work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    const result = await work();
    finish(name, (performance.now() - started) / 1000);
    return result;
}

const root = await mkdtemp(path.join(args.folder, "armt-first-answer-"));
const clone = path.join(root, "node-llama-cpp-armt");
const env: NodeJS.ProcessEnv = {
    ...process.env,
    // what `npm run` sets for this process would direct the clone's npm to this repository
    ...Object.fromEntries(Object.keys(process.env).flatMap((key) => (/^npm_/.test(key) ? [[key, undefined]] : []))),
    ...(args.warm ? {} : { npm_config_cache: path.join(root, "npm"), CCACHE_DISABLE: "1" })
};

function start(command: string, ...rest: string[]): ChildProcess {
    const cwd = command === "git" ? root : clone;
    // npx starts further processes; all of them are one group
    return spawn(command, rest, { cwd, env, stdio: ["ignore", "pipe", "pipe"], detached: true });
}

/** Runs a command to its end, and returns its output. */
async function run(command: string, ...rest: string[]): Promise<string> {
    const child = start(command, ...rest);
    let output = "";
    for (const stream of [child.stdout!, child.stderr!])
        stream.setEncoding("utf8").on("data", (text: string) => {
            output += text;
        });
    const [code] = (await once(child, "close")) as [number | null];
    if (code !== 0) throw new Error(`${command} ${rest.join(" ")} ended with ${code}:\n${output}`);
    return output;
}

/** The address in the line that the server prints when it is ready. */
async function addressOf(server: ChildProcess): Promise<string> {
    const lines: string[] = [];
    for await (const line of createInterface({ input: server.stderr! })) {
        lines.push(line);
        const [address] = /http:\/\/\S+/.exec(line) ?? [];
        if (address !== undefined) return address;
    }
    throw new Error(`armt serve ended:\n${lines.join("\n")}`);
}

async function call(url: string, init?: RequestInit): Promise<string> {
    const response = await fetch(url, init);
    const text = await response.text();
    if (!response.ok) throw new Error(`${url}: ${response.status} ${text}`);
    return text;
}

const post = (type: string, body: string): RequestInit => ({ method: "POST", headers: { "content-type": type }, body });

/** Does what the page's button and the first of its ready questions do. */
async function useServer(): Promise<{ sample: string; question: string; answer: string }> {
    const server = start("npx", "armt", "serve", "--port", "0", "--log-level", "silent");
    try {
        const url = await stage("armt serve starts", () => addressOf(server));
        const sample = await call(`${url}/v1/armt/sample`);
        const models: ModelList = JSON.parse(await call(`${url}/v1/models`));
        const question = models.data[0]!.armt.sample.questions[0]!;
        const memory: { id: string } = await stage("the sample document is read", async () =>
            JSON.parse(await call(`${url}/v1/armt/memories`, post("text/plain", sample)))
        );
        const chat: Chat = await stage("the first answer", async () => {
            const body = { messages: [{ role: "user", content: question }], armt: { memory: memory.id } };
            return JSON.parse(await call(`${url}/v1/chat/completions`, post("application/json", JSON.stringify(body))));
        });
        return { sample, question, answer: chat.choices[0]!.message.content.trim() };
    } finally {
        process.kill(-server.pid!, "SIGINT");
    }
}

/** The right answer to the first question, from the generator of the sample. */
async function rightAnswer(sample: string): Promise<string> {
    const llama = await getLlama();
    const model = await llama.loadModel({ modelPath: recallModelPath });
    const made = await makeRecallSample((text) => model.tokenize(text).length);
    await llama.dispose();
    if (made.text !== sample) throw new Error("the clone's sample document is not this version's");
    return made.answers[0]!;
}

try {
    const loadBefore = os.loadavg()[0]!;
    const date = new Date().toISOString();
    await stage("git clone", () => run("git", "clone", "-q", args.from, clone));
    const installed = await stage("npm install", () => run("npm", "install", "--foreground-scripts"));
    const compiled = Number(/^armt build: done in ([\d.]+) s$/m.exec(installed)?.[1] ?? Number.NaN);
    const used = await useServer();
    const seconds = stages.reduce((sum, one) => sum + one.seconds, 0);
    const right = await rightAnswer(used.sample);
    const isRight = used.answer === right;
    const mark = isRight ? "right" : `wrong, expected ${JSON.stringify(right)}`;
    console.log(`${seconds.toFixed(1).padStart(8)} s  in all, ${compiled.toFixed(0)} s of them for the compilation`);
    console.log(`${JSON.stringify(used.question)}: ${JSON.stringify(used.answer)}, ${mark}`);
    console.log(`load of the machine before: ${loadBefore.toFixed(2)}; after: ${os.loadavg()[0]!.toFixed(2)}`);
    const commit = (await run("git", "-C", clone, "rev-parse", "HEAD")).trim();
    const result = {
        format: "armt bench first-answer 1",
        date,
        commit,
        machine: await describeMachine(),
        warm: args.warm,
        load: { before: loadBefore, after: os.loadavg()[0] },
        stages,
        compiled,
        seconds,
        question: used.question,
        answer: used.answer,
        isRight
    };
    await mkdir(args.out, { recursive: true });
    const file = path.join(args.out, `first-answer-${date.slice(0, 10)}.json`);
    await writeAtomically(file, {}, (target) => target.write(Buffer.from(`${JSON.stringify(result, undefined, 4)}\n`)));
    console.log(`written to ${file}`);
    if (!isRight) process.exitCode = 1;
} finally {
    await rm(root, { recursive: true, force: true });
}
