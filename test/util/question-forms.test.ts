import test from "ava";
import { makeHaystack } from "../../src/eval/recall/haystack.js";
import { recallQuestionForms } from "../../src/eval/recall/question-forms.js";
import { readRecallTexts } from "../../src/eval/recall/task.js";
import { exampleQuestions, hasForm } from "../../src/util/question-forms.js";

test("all questions of the recall task have a form, those of both splits", async (t) => {
    const forms = await recallQuestionForms();
    const texts = await readRecallTexts();
    const countTokens = (text: string) => Math.ceil(text.length / 4);
    for (const split of ["train", "heldOut"] as const) {
        const { questions } = makeHaystack(texts, { tokens: 20_000, facts: 40, seed: 3, split, countTokens });
        t.true(questions.length > 20);
        for (const { text } of questions) t.true(hasForm(text, forms), text);
    }
});

test("questions of the documentation have a form, however they are spaced; others have none", async (t) => {
    const forms = await recallQuestionForms();
    for (const question of [
        "Where is the lamp?",
        " Where  is Rena now ?\n",
        "What is the code of the north gate?",
        "Who owns the dog"
    ])
        t.true(hasForm(question, forms), question);
    for (const question of [
        "Hello",
        "",
        "?",
        "Where is ?",
        "Who killed the count?",
        "What is this text about?",
        "Summarize the text.",
        "Where is the lamp that Rena moved to the cellar before she left?"
    ])
        t.false(hasForm(question, forms), question);
});

test("an example is the usual form of a kind", async (t) => {
    t.regex(
        exampleQuestions(await recallQuestionForms()),
        /^Where is the …\? Where is …\? What is the code of the …\?/
    );
});
