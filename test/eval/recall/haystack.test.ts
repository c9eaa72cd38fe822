import test from "ava";
import fc from "fast-check";
import { type Haystack, makeHaystack } from "../../../src/eval/recall/haystack.js";
import { namesOf, type RecallTexts, readRecallTexts } from "../../../src/eval/recall/task.js";
import { propertySeed } from "../../helpers/property.js";

const texts: RecallTexts = await readRecallTexts();
// words are near enough to tokens where only lengths matter
const countTokens = (text: string) => text.split(/\s+/).filter((word) => word !== "").length;
const make = (tokens: number, facts: number, seed: number): Haystack =>
    makeHaystack(texts, { tokens, facts, seed, countTokens });

test("a haystack has the wanted length, with all facts in their order and near their depth", (t) => {
    fc.assert(
        fc.property(
            fc.integer({ min: 600, max: 5000 }),
            fc.integer({ min: 1, max: 20 }),
            fc.nat(1000),
            (tokens, n, seed) => {
                const haystack = make(tokens, n, seed);
                const text = [...haystack.sentences()].join("");
                t.true(Math.abs(countTokens(text) - tokens) <= 80, `${countTokens(text)} for ${tokens}`);
                let last = -1;
                for (const fact of haystack.facts) {
                    const at = text.indexOf(fact.sentence, last + 1);
                    t.true(at > last, `${fact.sentence} is not there, or not after the fact before it`);
                    last = at;
                    t.true(Math.abs(at / text.length - fact.depth) < 0.35, `${at / text.length} for ${fact.depth}`);
                }
            }
        ),
        { seed: propertySeed, numRuns: 30 }
    );
});

test("the same seed gives the same haystack, another seed another", (t) => {
    const write = (seed: number) => [...make(800, 6, seed).sentences()].join("");
    t.is(write(3), write(3));
    t.not(write(3), write(4));
});

test("questions ask once for each key, for its last value", (t) => {
    fc.assert(
        fc.property(fc.integer({ min: 1, max: 24 }), fc.nat(1000), (n, seed) => {
            const { facts, questions } = make(2000, n, seed);
            const last = new Map(facts.map((fact) => [fact.key, fact.value]));
            t.is(questions.length, last.size);
            for (const { fact, expected, text } of questions) {
                t.is(expected, last.get(fact.key) ?? "");
                t.true(text.includes(fact.key));
            }
            t.is(facts.filter(({ overridden }) => overridden).length, n - last.size);
        }),
        { seed: propertySeed, numRuns: 50 }
    );
});

test("facts and questions are made of held-out names and sentences alone, and nobody plays two parts", (t) => {
    const trained = new Set(namesOf(texts.task, "train"));
    const heldOut = new Set(namesOf(texts.task, "heldOut"));
    t.is(trained.size + heldOut.size, texts.task.names.stems.length * texts.task.names.endings.length);
    for (let seed = 0; seed < 20; seed++) {
        const { facts, questions } = make(1000, 16, seed);
        const keys = new Set(facts.filter(({ kind }) => kind.key[0] === "name").map(({ key }) => key));
        for (const { sentence, kind, key, value } of facts) {
            const words = sentence.replace(/\.$/, "").split(" ");
            t.false(
                words.some((word) => trained.has(word)),
                sentence
            );
            for (const word of words) if (heldOut.has(word) && word !== key) t.false(keys.has(word), sentence);
            const form = sentence
                .replace(new RegExp(`\\b${key}\\b`), "{key}")
                .replace(new RegExp(`\\b${value}\\b`), "{value}");
            const forms = kind.facts.heldOut.map((template) => template.replace("{name}", "NAME"));
            t.true(
                forms.includes(form.replace(words.find((word) => heldOut.has(word) && word !== key) ?? "{}", "NAME")),
                sentence
            );
        }
        for (const { text, fact } of questions)
            t.true(fact.kind.questions.heldOut.some((q) => q.replace("{key}", fact.key) === text));
    }
});

test("no sentence of the task is in both halves", (t) => {
    for (const { facts, questions } of texts.task.kinds) {
        for (const sentence of facts.heldOut) t.false(facts.train.includes(sentence), sentence);
        for (const sentence of questions.heldOut) t.false(questions.train.includes(sentence), sentence);
    }
});
