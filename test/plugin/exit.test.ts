import { writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import test, { type ExecutionContext } from "ava";
import { runNode } from "../helpers/armt-command.js";
import { buildBufferCounter, readBuffers } from "../helpers/count-buffers.js";
import { canFailAllocations, preloading } from "../helpers/fail-allocation.js";
import { testWith } from "../helpers/needs.js";
import { repositoryRoot } from "../helpers/repository.js";
import { temporaryFolder } from "../helpers/temporary.js";

const preloadTest = testWith({ needs: "Linux and a C compiler", available: canFailAllocations(), inCi: true });

/** The beginning of a program: a context of the included model. */
const beginning = `
    import { once } from "node:events";
    import { setTimeout } from "node:timers/promises";
    import { isMainThread, parentPort, Worker } from "node:worker_threads";
    import { getLlama } from ${JSON.stringify(pathToFileURL(path.join(repositoryRoot, "dist", "plugin", "index.js")).href)};
    async function createContext() {
        const llama = await getLlama({ maxThreads: 1, logLevel: "disabled" });
        const model = await llama.loadModel({
            modelPath: ${JSON.stringify(path.join(repositoryRoot, "assets", "recall", "model.gguf"))}
        });
        return { llama, context: await model.createContext() };
    }
    // a text that takes minutes
    async function startReading() {
        const { context } = await createContext();
        const sequence = context.getSequence();
        sequence.evaluateWithoutGeneratingNewTokens(Array(1_000_000).fill(65)).finally(() => console.log("has read"));
        while (sequence.armt.segmentsClosed === 0) await setTimeout(5);
    }
`;

function writeProgram(t: ExecutionContext, text: string): string {
    const file = path.join(temporaryFolder(t), "program.mjs");
    writeFileSync(file, beginning + text);
    return file;
}

test("a Llama that a program leaves behind is disposed of when the process ends", async (t) => {
    const program = `
        const { llama, context } = await createContext();
        context.onDispose.createListener(() => process.stdout.write("context "));
        const disposed = await getLlama({ maxThreads: 1 });
        await disposed.dispose();
        // the listener keeps the context, or the collector may take it before its disposal
        process.on("exit", () => process.stdout.write(String(llama.disposed && context.disposed)));`;
    const { code, stdout } = await runNode([writeProgram(t, program)]);
    t.is(stdout, "context true");
    t.is(code, 0);
});

/** Programs that end with a live context, and their exit codes. */
const programs: readonly [title: string, program: string, code: number][] = [
    ["process.exit()", "await createContext(); process.exit(7);", 7],
    ["process.exit() while it reads", "await startReading(); process.exit(7);", 7],
    [
        "process.exit() with two models and three contexts",
        `const { context } = await createContext(); await context.model.createContext();
         await createContext(); process.exit(7);`,
        7
    ],
    ["an uncaught error while it reads", 'await startReading(); throw new Error("on purpose");', 1],
    [
        "process.exit() while a worker has a context",
        `if (!isMainThread) { await createContext(); parentPort.postMessage("ready"); await setTimeout(600_000); }
         await once(new Worker(new URL(import.meta.url)), "message");
         await createContext();
         process.exit(7);`,
        7
    ],
    [
        "a worker's process.exit() with a context",
        `if (!isMainThread) { await createContext(); process.exit(5); }
         const { context } = await createContext();
         const [code] = await once(new Worker(new URL(import.meta.url)), "exit");
         await context.getSequence().evaluateWithoutGeneratingNewTokens([65]);
         process.exit(code + 2);`,
        7
    ],
    [
        "a worker's process.exit() while it computes logits",
        `if (!isMainThread) {
             const { context } = await createContext();
             context.getSequence().armt.evaluateLogits(Array(512).fill(65)).next();
             await setTimeout(20);
             process.exit(5);
         }
         const [code] = await once(new Worker(new URL(import.meta.url)), "exit");
         process.exitCode = code + 2;`,
        7
    ]
];

for (const [title, program, expected] of programs)
    preloadTest(`models and contexts are freed after ${title}`, async (t) => {
        const env = preloading(buildBufferCounter(temporaryFolder(t)));
        const { code, stdout, stderr } = await runNode([writeProgram(t, program)], { env });
        t.is(code, expected, stderr);
        t.is(stdout, "");
        const buffers = readBuffers(stderr);
        t.true(buffers !== undefined && buffers.made > 0, stderr);
        t.is(buffers!.left, 0);
        t.is(buffers!.mapped, 0);
    });
