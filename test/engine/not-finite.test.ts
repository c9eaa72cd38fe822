import { copyFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { getLlama, LlamaLogLevel, type Token } from "../../plugin/index.js";
import { ArmtSnapshot } from "../../plugin/memory/ArmtSnapshot.js";
import { generateGreedy, loadTiny, readLogits, readMemories, withContext } from "../helpers/contexts.js";
import { fillEmbedding } from "../helpers/damage-weights.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

const prompt = textIds(16 * 3 + 5, 90);
/** The token whose weights are not finite. */
const bad = 95;

for (const [schedule, textsPerLayer] of [
    ["sequential", undefined],
    ["diagonal", 0],
    ["diagonal", 1],
    ["diagonal", 2]
] as const) {
    const how = `${schedule}, ${textsPerLayer} texts in a layer`;
    test(`numbers that are not finite fail their own sequence, which is usable afterwards, ${how}`, async (t) => {
        const { model: good, file } = await loadTiny(t, { segmentSize: 16, layers: 2 });
        const options = { schedule, textsPerLayer, sequences: 3, batchSize: 32 };
        const expected = await withContext(good, options, (context) =>
            generateGreedy(context.getSequence(), prompt, 12)
        );
        const damaged = path.join(temporaryFolder(t), "damaged.gguf");
        copyFileSync(file, damaged);
        await fillEmbedding(damaged, bad, Number.NaN);
        const llama = await getLlama({ logLevel: LlamaLogLevel.disabled, maxThreads: 1 });
        await using model = await llama.loadModel({ modelPath: damaged });
        await withContext(model, options, async (context) => {
            const [failing, inMemory, well] = Array.from({ length: 3 }, () => context.getSequence());
            const results = await Promise.all([
                t.throwsAsync(generateGreedy(failing!, [...prompt, bad, 3], 5), {
                    name: "ArmtEvalError",
                    message: /the logits of position \d+ are not finite.*; the sequence was cleared/
                }),
                t.throwsAsync(generateGreedy(inMemory!, [bad, ...prompt], 5), {
                    name: "ArmtEvalError",
                    message: /the memory of layer 0 is no longer finite.*; the sequence was cleared/
                }),
                generateGreedy(well!, prompt, 12)
            ]);
            t.deepEqual(results[2], expected);
            for (const sequence of [failing!, inMemory!]) {
                t.is(sequence.armt!.tokens, 0);
                t.is(sequence.nextTokenIndex, 0);
                t.deepEqual(await generateGreedy(sequence, prompt, 12), expected);
            }
        });
    });
}

test("a state is loaded as a whole or not at all", async (t) => {
    const { model } = await loadTiny(t, { segmentSize: 16, layers: 2 });
    await withContext(model, { sequences: 2 }, async (context) => {
        const [sequence, other] = [context.getSequence(), context.getSequence()];
        await other.evaluateWithoutGeneratingNewTokens(textIds(16 * 2 + 9, 90, 4) as Token[]);
        const { header, tokens, state } = (await other.armt!.snapshot()).parts;
        await sequence.evaluateWithoutGeneratingNewTokens(prompt as Token[]);
        const before = { memories: await readMemories(sequence), snapshot: await sequence.armt!.snapshot() };
        const name = state.indexOf(header.fingerprint, 0, "latin1");
        const counts = name + header.fingerprint.length + 9 * 4;
        const change = (edit: (bytes: Buffer) => void) => {
            const bytes = Buffer.from(state);
            edit(bytes);
            return bytes;
        };
        const end = state.length - 4;
        const damaged: [what: string, state: Buffer, message: RegExp][] = [
            ["half of it", state.subarray(0, state.length / 2), /ends too early|end of buffer/],
            ["no end mark", change((bytes) => bytes.writeUInt32LE(0, end)), /it ends too early/],
            ["a K/V row", change((bytes) => bytes.writeUInt32LE(0x7fc07fc0, end - 4)), /not finite/],
            ["A", change((bytes) => bytes.writeFloatLE(Number.NaN, counts + 53 + 400)), /not finite/],
            ["an infinite A", change((bytes) => bytes.writeFloatLE(-1 / 0, counts + 53 + 400)), /not finite/],
            ["a long name", change((bytes) => bytes.writeUInt32LE(0xfffffff0, name - 4)), /belongs to another model/],
            ["its position", change((bytes) => bytes.writeInt32LE(2 ** 31 - 1, counts + 4)), /contradict/],
            ["both positions", change((bytes) => bytes.fill("ffffff7f", counts, counts + 8, "hex")), /contradict/],
            ["its segments", change((bytes) => bytes.writeBigUInt64LE(2n ** 40n, counts + 12)), /contradict/]
        ];
        for (const [what, bytes, message] of damaged) {
            const snapshot = new ArmtSnapshot({ header, tokens, state: bytes });
            await t.throwsAsync(sequence.armt!.restore(snapshot), { message }, what);
            t.is(sequence.armt!.tokens, prompt.length, what);
            t.is(sequence.nextTokenIndex, prompt.length, what);
            t.deepEqual(await readMemories(sequence), before.memories, what);
        }
        const rest = textIds(9, 90, 3);
        const logits = await readLogits(sequence, rest);
        await other.armt!.restore(before.snapshot);
        t.deepEqual(logits, await readLogits(other, rest));
        const longer = Buffer.concat([state, Buffer.alloc(9)]);
        for (const bytes of [state, longer]) {
            await sequence.clearHistory();
            await sequence.armt!.restore(new ArmtSnapshot({ header, tokens, state: bytes }));
            t.is(sequence.armt!.tokens, 16 * 2 + 9);
            // llama.cpp's own header has the sequence's number
            const saved = (await sequence.armt!.snapshot()).parts.state;
            t.deepEqual(saved.subarray(8), state.subarray(8), `${bytes.length} bytes`);
        }
    });
});
