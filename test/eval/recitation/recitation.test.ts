import test from "ava";
import { readProse } from "../../../src/eval/questions/prose.js";
import { recitationTexts } from "../../../src/eval/recitation/recitation.js";
import { countOf, makeTexts, wholeText } from "../../helpers/question-texts.js";

const prose = await readProse();

test("the beginning of each sentence is in the text once, before the expected words", (t) => {
    const texts = makeTexts(recitationTexts(prose, { count: 10, seed: 2 }), 3);
    for (const text of texts) {
        const whole = wholeText(text);
        t.is(text.questions.length, 10);
        for (const { completion, expected, text: question, score } of text.questions) {
            t.is(completion!.split(" ").length, 8);
            t.is(expected.split(" ").length, 5);
            t.true(question.includes(completion!));
            t.is(countOf(whole, completion!), 1, completion);
            t.true(whole.includes(`${completion} ${expected}`));
            t.is(score(` ${expected} and more`), 1);
            t.is(score(expected.split(" ").slice(1).join(" ")), 0);
            t.is(score(`${expected}s`), 0);
        }
    }
    const asked = texts.flatMap(({ questions }) => questions.map(({ completion }) => completion));
    t.is(new Set(asked).size, 30);
});
