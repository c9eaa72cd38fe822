import { parentPort, workerData } from "node:worker_threads";
import { getLlama, LlamaLogLevel, type Token } from "../../plugin/index.js";

/** What a thread of the test is to do. */
export interface ContextsTask {
    readonly modelPath: string;
    readonly sizes: readonly number[];
    readonly tokens: readonly number[];
}

/** Creates a context of each segment size, and reads tokens in it. Sends the sizes and the segments closed. */
const { modelPath, sizes, tokens } = workerData as ContextsTask;
const llama = await getLlama({ maxThreads: 1, logLevel: LlamaLogLevel.disabled });
const model = await llama.loadModel({ modelPath });
const seen: [size: number, closed: number][] = [];
for (const segmentSize of sizes) {
    const context = await model.createContext({ threads: 1, armt: { segmentSize } });
    const sequence = context.getSequence();
    await sequence.evaluateWithoutGeneratingNewTokens(tokens as Token[]);
    seen.push([context.armt!.segmentSize, sequence.armt!.segmentsClosed]);
    await context.dispose();
}
await model.dispose();
await llama.dispose();
parentPort!.postMessage(seen);
