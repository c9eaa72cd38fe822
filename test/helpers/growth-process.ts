import { getLlama, LlamaLogLevel, type Token } from "../../plugin/index.js";
import { textIds } from "./tokens.js";

/**
 * Reads tokens and prints the process's memory at two points, as JSON: run with `--expose-gc` and the arguments
 * model file, schedule, first and second number of tokens.
 */
const [modelPath, schedule, early, late] = process.argv.slice(2) as [string, "sequential" | "diagonal", string, string];

const llama = await getLlama({ logLevel: LlamaLogLevel.error, maxThreads: 1 });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ batchSize: 512, threads: 1, armt: { schedule } });
const sequence = context.getSequence({ checkpoints: { interval: false } });
const piece = textIds(4096, model.armt!.vocabSize) as Token[];

/** Resident bytes of the process after a garbage collection. */
function residentBytes(): number {
    for (let i = 0; i < 4; i++) globalThis.gc!();
    return process.memoryUsage().rss;
}

async function readUpTo(tokens: number): Promise<void> {
    while (sequence.nextTokenIndex < tokens) await sequence.evaluateWithoutGeneratingNewTokens(piece);
}

await readUpTo(Number(early));
const before = residentBytes();
await readUpTo(Number(late));
const after = residentBytes();
console.log(JSON.stringify({ before, after, tokens: sequence.armt!.tokens }));
await llama.dispose();
