import path from "node:path";
import test from "ava";
import { getLlama } from "../../../plugin/index.js";
import { measureAlone } from "../../../src/eval/questions/measure.js";
import type { MakeText } from "../../../src/eval/questions/question.js";
import { writePlainModel } from "../../helpers/plain-model.js";
import { temporaryFolder } from "../../helpers/temporary.js";

/** A text of about `tokens` bytes with questions whose right answers are found by `isRight`. */
const textOf =
    (questions: readonly string[], isRight: (answer: string) => boolean): MakeText =>
    ({ tokens }) => ({
        sentences: () => ["a b c. ".repeat(Math.floor(tokens / 7))],
        questions: questions.map((text) => ({
            text,
            completion: text,
            kind: "test",
            expected: "x",
            depth: 0.5,
            score: (answer) => Number(isRight(answer))
        }))
    });

test("a plain model is asked with the text in its context, and answers do not depend on other questions", async (t) => {
    const modelPath = path.join(temporaryFolder(t), "base.gguf");
    await writePlainModel(modelPath);
    const llama = await getLlama({ gpu: false, build: "never", maxThreads: 1 });
    try {
        const model = await llama.loadModel({ modelPath });
        const context = await model.createContext({ contextSize: 256 });
        const sequence = context.getSequence();
        const ask = async (questions: readonly string[], tokens: number) => {
            const answers: string[] = [];
            const makeText = textOf(questions, (answer) => answers.push(answer) < 0);
            const asking = (["chat", "plain", "completion"] as const).map((form) => ({
                form,
                plain: { before: "\nQ: ", after: "\nA:" }
            }));
            const shares = await measureAlone(model, sequence, { tokens, seed: 1, asking, makeText }, 1);
            return { answers, shares };
        };
        const both = await ask(["who", "where"], 70);
        t.is(both.answers.length, 6);
        for (const share of both.shares) t.like(share, { asked: 2, right: 0, recall: 0 });
        t.deepEqual(
            both.shares[1]!.wrong.map(({ question, answer }) => [question, answer]),
            [
                ["who", both.answers[2]],
                ["where", both.answers[3]]
            ]
        );
        const last = await ask(["where"], 70);
        t.deepEqual(last.answers, [both.answers[1], both.answers[3], both.answers[5]]);

        t.deepEqual((await ask(["who"], 280)).shares, [null, null, null]);
    } finally {
        await llama.dispose();
    }
});
