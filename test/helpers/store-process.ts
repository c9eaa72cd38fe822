import { ArmtMemoryStore, getLlama, LlamaLogLevel, type Token } from "../../plugin/index.js";
import { textIds } from "./tokens.js";

/**
 * Reads prompts with a common beginning through a store in a folder, and saves each sequence to the same file.
 * Arguments: model file, folder, file, seed, number of rounds, size limit of the folder in bytes. Prints a line of JSON
 * per round: the prompt's number, the tokens that came from the store, and the generated tokens.
 */
const [modelPath, folder, file, seed, rounds, maxBytes] = process.argv.slice(2) as [
    string,
    string,
    string,
    string,
    string,
    string
];

const llama = await getLlama({ logLevel: LlamaLogLevel.error, maxThreads: 1 });
const model = await llama.loadModel({ modelPath });
const store = await ArmtMemoryStore.open({
    folder,
    checkpointInterval: 1,
    maxBytes: Number(maxBytes),
    maxMemoryBytes: 0
});
const context = await model.createContext({ threads: 1, armt: { memoryStore: store } });
const sequence = context.getSequence();

for (let round = 0; round < Number(rounds); round++) {
    const branch = (Number(seed) + round) % 5;
    const prompt = [...textIds(100, 96), ...textIds(60 + 10 * branch, 96, 10 + branch)] as Token[];
    await sequence.clearHistory();
    const tokens: number[] = [];
    for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
        tokens.push(token);
        if (tokens.length === 5) break;
    }
    const { cachedTokens } = sequence.armt!;
    await sequence.armt!.save(file);
    await store.flush();
    console.log(JSON.stringify({ branch, cachedTokens, tokens }));
}
await store.dispose();
await llama.dispose();
