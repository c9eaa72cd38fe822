import { writeFileSync } from "node:fs";
import { getLlama, LlamaLogLevel, type Token } from "../../plugin/index.js";
import { systemErrorText } from "../../src/util/errors.js";
import { textIds } from "./tokens.js";

/**
 * A program that uses the library, for tests of `ulimit`. Saves a sequence to a file, then writes another file without
 * the library, and prints why each failed, as JSON. Arguments: model file, and the two files.
 */
const [modelPath, saved, written] = process.argv.slice(2) as [string, string, string];

function reason(error: unknown): string {
    return error instanceof Error ? error.message : String(error);
}

const reasons: string[] = [];
try {
    const llama = await getLlama({ logLevel: LlamaLogLevel.error, maxThreads: 1 });
    const model = await llama.loadModel({ modelPath });
    const context = await model.createContext({ threads: 1 });
    const sequence = context.getSequence();
    await sequence.evaluateWithoutGeneratingNewTokens(textIds(40, model.armt!.vocabSize) as Token[]);
    await sequence.armt!.save(saved);
    await llama.dispose();
} catch (error) {
    reasons.push(reason(error));
}
try {
    writeFileSync(written, Buffer.alloc(64 * 1024));
} catch (error) {
    reasons.push(systemErrorText(error));
}
console.log(JSON.stringify(reasons));
