import { getLlama, LlamaLogLevel, type Token } from "../../plugin/index.js";
import { textIds } from "./tokens.js";

/**
 * Lets each large allocation of ggml fail in turn, while a context is created and reads, and prints what happened as a
 * line of JSON. Run with the library of fail-allocation in LD_PRELOAD and the arguments model file and schedule.
 */
const [modelPath, schedule] = process.argv.slice(2) as [string, "sequential" | "diagonal"];

const llama = await getLlama({ logLevel: LlamaLogLevel.disabled, maxThreads: 1 });
const model = await llama.loadModel({ modelPath });
const ids = textIds(600, model.armt!.vocabSize) as Token[];

async function read(): Promise<number[]> {
    const context = await model.createContext({ batchSize: 512, threads: 1, armt: { schedule } });
    try {
        const sequence = context.getSequence();
        const tokens: number[] = [];
        for await (const token of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
            tokens.push(token);
            if (tokens.length === 3) return tokens;
        }
        return tokens;
    } finally {
        await context.dispose();
    }
}

for (let at = 0; ; at++) {
    process.env.ARMT_FAIL_ALLOCATION = `${at}:${at}`;
    let error: unknown;
    let tokens: number[] | undefined;
    try {
        tokens = await read();
    } catch (thrown) {
        error = thrown;
    }
    process.env.ARMT_FAIL_ALLOCATION = "";
    // the library sets the variable of the process, and Node reads it
    const failed = process.env.ARMT_FAILED_ALLOCATION === `${at}:${at}`;
    const message = error instanceof Error ? error.message : undefined;
    console.log(JSON.stringify({ failed, tokens, message, after: await read() }));
    if (!failed) break;
}
await llama.dispose();
