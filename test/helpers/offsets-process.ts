import { getLlama, LlamaLogLevel } from "../../plugin/index.js";
import { readLogits } from "./contexts.js";
import { textIds } from "./tokens.js";

/**
 * Reads a text with each schedule, batch size and way of attention, with one sequence and with three, so that graphs of
 * all kinds are computed. Run with the library of view-offsets in LD_PRELOAD and a model file as the argument.
 */
const llama = await getLlama({ logLevel: LlamaLogLevel.disabled, maxThreads: 1 });
const model = await llama.loadModel({ modelPath: process.argv[2]! });
const { segmentSize, layers, vocabSize } = model.armt!;
const ids = textIds(5 * segmentSize + 4, vocabSize);

for (const schedule of ["sequential", "diagonal"] as const)
    for (const batchSize of [1, segmentSize + 3, ids.length])
        for (const flashAttention of [false, true])
            for (const sequences of [1, 3]) {
                // a CPU's default is one layer at a time
                const armt = { schedule, maxCells: layers };
                const context = await model.createContext({ batchSize, flashAttention, sequences, threads: 1, armt });
                await Promise.all(Array.from({ length: sequences }, () => readLogits(context.getSequence(), ids)));
                await context.dispose();
            }
await llama.dispose();
