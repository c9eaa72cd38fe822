import { writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { samplingDefaults } from "../../plugin/context/sampling-defaults.js";
import { getLlama, LlamaLogLevel, type LlamaModel, type Token } from "../../plugin/index.js";
import { samplingKeys } from "../../src/convert/asking.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { describeGguf } from "../../src/formats/gguf/describe.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import { temporaryFolder } from "../helpers/temporary.js";

test("defaults of sampling and the form of questions get into the file, and evaluations take them", async (t) => {
    const folder = temporaryFolder(t);
    await makeTinyCheckpoint(folder, { layers: 1, hidden: 32, vocab: 288 });
    writeFileSync(path.join(folder, "generation_config.json"), '{"temperature": 1.5, "top_k": 20, "top_p": 0.95}');
    const output = path.join(folder, "model.gguf");
    await convertCheckpoint({ checkpoint: folder, output, ask: { close: true, before: "\nQ: ", after: "\nA:" } });
    const description = await describeGguf(output);
    t.regex(description.toText(), /sampling +temp 1\.5, top_k 20, top_p 0\.95\n/);
    t.like(description.armt!.ask, { chat: false, close: true, before: "\nQ: ", after: "\nA:" });

    const llama = await getLlama({ gpu: false, build: "never", maxThreads: 1, logLevel: LlamaLogLevel.error });
    const model = await llama.loadModel({ modelPath: output });
    t.teardown(() => model.dispose());
    t.deepEqual(samplingDefaults(model), { temperature: 1.5, topK: 20, topP: 0.95 });
    const context = await model.createContext({ threads: 1, sequences: 2 });
    const write = async (options: { temperature?: number; seed: number }) => {
        const sequence = context.getSequence();
        const tokens: Token[] = [];
        for await (const token of sequence.evaluate([1, 2, 3] as Token[], { ...options, yieldEogToken: true })) {
            tokens.push(token);
            if (tokens.length === 12) break;
        }
        await sequence.dispose();
        return tokens;
    };
    t.deepEqual(await write({ temperature: 0, seed: 1 }), await write({ temperature: 0, seed: 2 }));
    t.notDeepEqual(await write({ seed: 1 }), await write({ seed: 2 }));
});

test("numbers outside their range are no defaults", (t) => {
    const model = { fileInfo: { metadata: { general: { sampling: { temp: -1, top_k: 4, top_p: 5 } } } } };
    t.deepEqual(samplingDefaults(model as unknown as LlamaModel), { topK: 4 });
    const silent = { fileInfo: { metadata: {} } };
    t.deepEqual(samplingDefaults(silent as unknown as LlamaModel), {});
});

test("a config without sampling means the most probable token", async (t) => {
    const folder = temporaryFolder(t);
    writeFileSync(path.join(folder, "generation_config.json"), '{"do_sample": false, "temperature": 0.7}');
    t.deepEqual([...(await samplingKeys([folder]))], [["general.sampling.temp", { type: "FLOAT32", value: 0 }]]);
    t.is((await samplingKeys([temporaryFolder(t)])).size, 0);
});
