import test from "ava";
import { needleTasks, needleTexts, needleValues, readNeedles } from "../../../src/eval/needles/needles.js";
import { readProse } from "../../../src/eval/questions/prose.js";
import { countOf, makeTexts, wholeText } from "../../helpers/question-texts.js";

const data = await readNeedles();
const prose = await readProse();

/** Values in the needles of a text, with their keys. */
function needlesOf(text: string): { type: string; key: string; value: string }[] {
    const form = /One of the special magic (\w+)s for (\S+) is: (\S+)\.(?=\s|$)/g;
    return [...text.matchAll(form)].map(([, type, key, value]) => ({ type: type!, key: key!, value: value! }));
}

for (const task of needleTasks)
    test(`${task}: every wanted value is in the text once, and only all of them score 1`, (t) => {
        const { keys, valuesOfKey, asked } = data.tasks[task];
        const types = new Set<string>();
        for (const text of makeTexts(needleTexts(data, prose, { task, values: needleValues, sets: 3 }), 4)) {
            const whole = wholeText(text);
            const needles = needlesOf(whole);
            t.is(needles.length, 3 * keys * valuesOfKey);
            t.is(new Set(needles.map(({ value }) => value)).size, needles.length);
            for (const { text: question, completion, expected, kind, depth, score } of text.questions) {
                types.add(kind);
                const values = expected.split(", ");
                t.is(values.length, asked * valuesOfKey);
                for (const value of values) {
                    const needle = needles.find((one) => one.value === value)!;
                    t.is(needle.type, kind);
                    t.true(question.includes(needle.key));
                    t.true(completion!.includes(needle.key));
                    t.is(countOf(whole, value), 1);
                }
                t.is(score(`They are ${values.toReversed().join(" and ")}.`), 1);
                t.is(score(values[0]!), 1 / values.length);
                t.is(score(`${values[0]}0`), 0);
                t.true(depth >= 0 && depth < 1);
            }
        }
        t.deepEqual([...types].sort(), [...needleValues].sort());
    });

test("values have RULER's forms", (t) => {
    const texts = makeTexts(needleTexts(data, prose, { task: "single", values: needleValues, sets: 6 }), 3);
    const forms: Record<string, RegExp> = {
        number: /^[1-9]\d{6}$/,
        word: /^[a-z]+-[a-z]+$/,
        uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
    };
    for (const { questions } of texts) for (const { kind, expected } of questions) t.regex(expected, forms[kind]!);
});

test("needles that do not fit are refused", (t) => {
    const makeText = needleTexts(data, prose, { task: "manyKeys", values: ["uuid"], sets: 20 });
    t.throws(() => makeTexts(makeText, 1, 512), { instanceOf: RangeError, message: /80 needles take \d+ tokens/ });
});
