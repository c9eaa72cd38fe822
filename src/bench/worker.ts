import type { Token } from "node-llama-cpp";
import type { ArmtSchedule } from "../../plugin/index.js";
import { availableCores } from "../../plugin/threads.js";
import { seededRandom } from "../tiny/random.js";

/** What a worker process is started with, as JSON in its first argument. */
export type WorkerOptions = {
    modelPath: string;
    /** Left out: node-llama-cpp as published, without the engine in the process. */
    schedule?: ArmtSchedule;
    contextSize: number;
    batchSize: number;
    vocab: number;
};

/** Asks a worker to read a prompt of so many tokens. */
export type WorkerRequest = { tokens: number };

/** Its answers: first that it is ready, then one for each request. */
export type WorkerReply = { ready: true; threads: number } | { milliseconds: number };

const options = JSON.parse(process.argv[2]!) as WorkerOptions;
const { getLlama, LlamaLogLevel } = await (options.schedule === undefined
    ? import("node-llama-cpp")
    : import("../../plugin/index.js"));
const threads = availableCores();
const llama = await getLlama({ gpu: false, maxThreads: threads, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath: options.modelPath });
const { contextSize, batchSize, schedule } = options;
const context = await model.createContext({
    contextSize,
    batchSize,
    threads,
    armt: schedule === undefined ? undefined : { schedule }
});
const sequence = context.getSequence();
const random = seededRandom(1, "prompt");

process.on("message", (request: WorkerRequest) => void answer(request));
process.on("disconnect", () => void llama.dispose());
reply({ ready: true, threads });

/** Time from the prompt to its first token: the point where nothing of the prompt is left undone. */
async function answer({ tokens }: WorkerRequest): Promise<void> {
    const ids = Array.from({ length: tokens }, () => Math.floor(random() * options.vocab)) as Token[];
    await sequence.clearHistory();
    const start = performance.now();
    for await (const _ of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) break;
    reply({ milliseconds: performance.now() - start });
}

function reply(message: WorkerReply): void {
    process.send!(message);
}
