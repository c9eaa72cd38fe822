import { getLlama, LlamaLogLevel, type Token } from "../../plugin/index.js";
import { textIds } from "./tokens.js";

/**
 * Feeds tokens whose ids are not kept, and prints the process's memory at two points, as JSON: run with `--expose-gc` and the arguments model file, first and
 * second number of pieces of 8192 tokens.
 */
const [modelPath, early, late] = process.argv.slice(2) as [string, string, string];

const llama = await getLlama({ logLevel: LlamaLogLevel.error, maxThreads: 1 });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ threads: 1 });
const armt = context.getSequence().armt!;
const piece = textIds(8192, model.armt!.vocabSize) as Token[];

async function memoryAfter(pieces: number): Promise<{ heap: number; resident: number }> {
    const source = async function* () {
        for (let i = 0; i < pieces; i++) yield piece;
    };
    await armt.feed(source(), { keepTokens: 10_000 });
    for (let i = 0; i < 4; i++) globalThis.gc!();
    const { heapUsed, external, rss } = process.memoryUsage();
    return { heap: heapUsed + external, resident: rss };
}

const before = await memoryAfter(Number(early));
const after = await memoryAfter(Number(late) - Number(early));
console.log(JSON.stringify({ before, after, tokens: armt.tokens }));
await llama.dispose();
