import test from "ava";
import { naturalTexts, readNaturalFacts } from "../../../src/eval/natural/natural.js";
import { readProse } from "../../../src/eval/questions/prose.js";
import { countOf, makeTexts, wholeText } from "../../helpers/question-texts.js";

const facts = await readNaturalFacts();
const prose = await readProse();

test("each fact is in one text before any fact is in a second", (t) => {
    const texts = makeTexts(naturalTexts(facts, prose, { count: 41, seed: 3 }), 3, 8192);
    t.is(facts.length, 123);
    const all = texts.map(wholeText);
    for (const { text } of facts)
        t.is(
            all.reduce((sum, whole) => sum + countOf(whole, text), 0),
            1,
            text
        );
    t.is(new Set(texts.flatMap(({ questions }) => questions.map(({ text }) => text))).size, 123);
});

test("every fact's own answers are right, asked or completed", (t) => {
    const [text] = makeTexts(naturalTexts(facts, prose, { count: 123, seed: 1 }), 1, 16_384);
    for (const { text: question, completion, score } of text!.questions) {
        const fact = facts.find((one) => one.question === question)!;
        t.is(completion, fact.completion);
        for (const answer of fact.answers) t.is(score(`${answer}, and so on`), 1, answer);
        t.is(score("no idea"), 0);
    }
});

test("more facts than there are are refused", (t) => {
    t.throws(() => naturalTexts(facts, prose, { count: 124, seed: 1 }), { message: /124 facts are too many/ });
});
