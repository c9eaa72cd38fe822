import { getLlama, LlamaLogLevel, type Token } from "../../plugin/index.js";
import { textIds } from "./tokens.js";

/**
 * Feeds tokens without keeping their ids and prints the heap size at two points, as JSON. Run with `--expose-gc` and
 * the arguments model file, first and second number of pieces of 8192 tokens.
 */
const [modelPath, early, late] = process.argv.slice(2) as [string, string, string];

const llama = await getLlama({ logLevel: LlamaLogLevel.error, maxThreads: 1 });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ threads: 1 });
const armt = context.getSequence().armt!;
const piece = textIds(8192, model.armt!.vocabSize) as Token[];

/** The JavaScript heap only: another test covers the engine, and V8's reserves make resident memory jump. */
async function heapBytesAfter(pieces: number): Promise<number> {
    const source = async function* () {
        for (let i = 0; i < pieces; i++) yield piece;
    };
    await armt.feed(source(), { keepTokens: 10_000 });
    for (let i = 0; i < 4; i++) globalThis.gc!();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
}

const before = await heapBytesAfter(Number(early));
const after = await heapBytesAfter(Number(late) - Number(early));
console.log(JSON.stringify({ before, after, tokens: armt.tokens }));
await llama.dispose();
