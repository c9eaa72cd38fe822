import process from "node:process";
import type { Writable } from "node:stream";
import { askAll, readText } from "../../eval/questions/ask.js";
import { type Fact, makeHaystack } from "../../eval/recall/haystack.js";
import { readRecallTexts } from "../../eval/recall/task.js";
import { openModel } from "../../model/open-model.js";
import { withoutMemory } from "../../model/without-memory.js";
import { createProgressBar } from "../../util/progress.js";
import { refuseRange } from "../shared/numbers.js";
import type { DemoOptions } from "./options.js";

/** Reads a text that contains facts, asks about them, and prints what happened in readable form. */
export async function demo(options: DemoOptions, signal: AbortSignal, output: Writable): Promise<void> {
    const say = (text = "") => output.write(`${text}\n`);
    const texts = await readRecallTexts();
    const { llama, model, file, createContext } = await openModel({ ...options, kvType: "f16" });
    try {
        const context = await createContext();
        const sequence = context.getSequence();
        const { armt } = sequence;
        if (armt === undefined) throw withoutMemory(file);
        const countTokens = (text: string) => model.tokenize(text).length;
        const haystack = refuseRange(() => makeHaystack(texts, { ...options, countTokens }));
        say(`Hidden in ${count(options.tokens)} tokens of other text, none of it seen in training:\n`);
        for (const fact of haystack.facts) say(describeFact(fact, options.tokens));
        say();

        const before = process.memoryUsage.rss();
        const started = performance.now();
        const bar = createProgressBar("reading");
        let read: number;
        try {
            read = await readText(sequence, haystack, {
                signal,
                onProgress: (tokens) => bar.update(tokens, options.tokens)
            });
        } finally {
            bar.stop();
        }
        const seconds = (performance.now() - started) / 1000;
        const after = process.memoryUsage.rss();
        say(`read ${count(read)} tokens in ${seconds.toFixed(1)} s: ${count(read / seconds)} tokens/s`);
        say(`process memory ${mebibytes(before)} at the start, ${mebibytes(after)} at the end`);
        say(`what the model keeps of the text: ${mebibytes(armt.memoryBytes)}, however long it is\n`);

        const plain = { form: "plain", plain: texts.task.answer } as const;
        const answers = await askAll(sequence, model, haystack.questions, plain, signal);
        const width = Math.max(...haystack.questions.map(({ text }) => text.length));
        for (const { question, answer, score } of answers) {
            const { text, expected } = question;
            say(`  ${text.padEnd(width)}  ${score === 1 ? `${answer} ✓` : `${answer} ✗ expected: ${expected}`}`);
        }
        const right = answers.filter(({ score }) => score === 1).length;
        say(`\n${right} of ${answers.length} right, from memory alone: nothing of the text was left in the context.`);
    } finally {
        await llama.dispose();
    }
}

function describeFact({ sentence, depth, overridden }: Fact, tokens: number): string {
    const place = count(depth * tokens).padStart(count(tokens).length);
    return `  at ${place}  ${sentence}${overridden ? "  (changed later)" : ""}`;
}

const count = (value: number) => Math.round(value).toLocaleString("en");

const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
