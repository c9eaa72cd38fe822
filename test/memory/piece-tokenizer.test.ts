import { readdirSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { getLlama, type Llama, LlamaLogLevel, type LlamaModel, type Token } from "../../plugin/index.js";
import { PieceTokenizer } from "../../plugin/memory/PieceTokenizer.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import { writePlainModel } from "../helpers/plain-model.js";
import { propertySeed } from "../helpers/property.js";
import { repositoryRoot } from "../helpers/repository.js";
import { temporaryFolder } from "../helpers/temporary.js";

let llama: Llama;
test.before(async () => {
    llama = await getLlama({ maxThreads: 1, logLevel: LlamaLogLevel.disabled });
});
test.after.always(() => llama?.dispose());

/** Text that tokenizers treat specially. */
const bits = fc.oneof(
    {
        weight: 6,
        arbitrary: fc.constantFrom(
            "the",
            " the",
            " cat",
            "I'll",
            "we've",
            "Hello",
            "ünïcode",
            " Привет",
            "数学",
            "日本語テキスト",
            " مرحبا",
            "नमस्ते",
            "한국어"
        )
    },
    {
        weight: 3,
        arbitrary: fc.constantFrom(
            "\n",
            "\n\n",
            "\r\n",
            " ",
            "  ",
            "    ",
            "\t",
            " \n",
            "\n ",
            "\u00a0",
            "\u3000",
            "\n\n\n\n"
        )
    },
    {
        weight: 2,
        arbitrary: fc.constantFrom(
            "1",
            "12",
            "3456",
            "1234567890",
            " 2024",
            ".",
            ",",
            "...",
            "!?",
            "—",
            "(",
            ")",
            "''",
            "$$",
            "=>",
            "_",
            "'s",
            "don't"
        )
    },
    {
        weight: 2,
        arbitrary: fc.constantFrom(
            "🙂",
            "👩‍👩‍👧",
            "🇩🇪",
            "e\u0301",
            "\u200d",
            "<s>",
            "</s>",
            "<|im_start|>",
            "<unk>",
            "[UNK]",
            "<0x0A>",
            "▁",
            "ﬁ",
            "\ufffd",
            "\u0000"
        )
    },
    {
        weight: 1,
        arbitrary: fc
            .tuple(fc.constantFrom("a", "ab", "=", "-", " ", "\n", "0", "字", "\t"), fc.integer({ min: 5, max: 300 }))
            .map(([unit, n]) => unit.repeat(n))
    },
    { weight: 2, arbitrary: fc.string({ unit: "grapheme", maxLength: 20 }) },
    { weight: 1, arbitrary: fc.string({ unit: "binary-ascii", maxLength: 20 }) }
);
const texts = fc.array(bits, { minLength: 50, maxLength: 400 }).map((parts) => parts.join(""));
const cases = fc.record({
    text: texts,
    pieceLength: fc.integer({ min: 150, max: 600 }),
    cuts: fc.array(fc.nat({ max: 500 }), { minLength: 1, maxLength: 10 })
});

/** Tokenizes a text that arrives in strings of the given lengths, in turn. */
function inPieces(
    tokenize: (text: string) => Token[],
    text: string,
    lengths: readonly number[],
    pieceLength: number
): { ids: Token[]; pieces: number } {
    const tokenizer = new PieceTokenizer(tokenize, { pieceLength, guard: 64 });
    const pieces = [];
    for (let start = 0, i = 0; start < text.length; i++) {
        const length = 1 + lengths[i % lengths.length]!;
        pieces.push(...tokenizer.push(text.slice(start, start + length)));
        start += length;
    }
    pieces.push(tokenizer.end());
    if (pieces.map((piece) => piece.text).join("") !== text) throw new Error("text was lost");
    return { ids: pieces.flatMap(({ ids }) => ids), pieces: pieces.length };
}

function checkModel(t: ExecutionContext, model: LlamaModel, runs: number): void {
    const tokenize = (text: string) => model.tokenize(text);
    let pieces = 0;
    let count = 0;
    fc.assert(
        fc.property(cases, ({ text, pieceLength, cuts }) => {
            const result = inPieces(tokenize, text, cuts, pieceLength);
            pieces += result.pieces;
            count++;
            return JSON.stringify(result.ids) === JSON.stringify(tokenize(text));
        }),
        { seed: propertySeed, numRuns: runs }
    );
    t.is(count, runs);
    // a tokenizer that never cuts would pass too
    t.true(pieces > 2 * count, `${pieces} pieces of ${count} texts`);
}

const vocabularies = path.join(repositoryRoot, "native", "build", "llama.cpp", "models");
const names = readdirSync(vocabularies).filter((name) => /^ggml-vocab-.*\.gguf$/.test(name));

test("the build leaves llama.cpp's vocabularies for the next tests", (t) => {
    t.true(names.length >= 10, names.join());
});

for (const name of names) {
    test(`pieces get the ids of the whole text, ${name}`, async (t) => {
        const model = await llama.loadModel({ modelPath: path.join(vocabularies, name), vocabOnly: true });
        t.teardown(() => model.dispose());
        checkModel(t, model, Number(process.env.ARMT_TEST_RUNS ?? 60));
    });
}

test("pieces get the ids of the whole text, converted tokenizer", async (t) => {
    const folder = temporaryFolder(t);
    await makeTinyCheckpoint(folder, {});
    const file = path.join(folder, "model.gguf");
    await convertCheckpoint({ checkpoint: folder, output: file, outType: "f32" });
    const model = await llama.loadModel({ modelPath: file });
    t.teardown(() => model.dispose());
    checkModel(t, model, 100);
});

test("pieces get the ids of the whole text, vocabulary of bytes", async (t) => {
    const file = path.join(temporaryFolder(t), "plain.gguf");
    await writePlainModel(file);
    const model = await llama.loadModel({ modelPath: file });
    t.teardown(() => model.dispose());
    checkModel(t, model, 100);
});
