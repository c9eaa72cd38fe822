import test from "ava";
import fc from "fast-check";
import { type Haystack, type HaystackOptions, makeHaystack } from "../../../src/eval/recall/haystack.js";
import { readRecallTexts, type Split } from "../../../src/eval/recall/task.js";
import { propertySeed } from "../../helpers/property.js";

const texts = await readRecallTexts();
/** About as many as a tokenizer makes of English. */
const countTokens = (text: string) => Math.ceil(text.length / 4);

const cases = fc.record({
    seed: fc.nat(),
    tokens: fc.integer({ min: 600, max: 20_000 }),
    facts: fc.integer({ min: 1, max: 20 }),
    split: fc.constantFrom<Split>("train", "heldOut")
});

function check(
    property: (haystack: Haystack, pieces: string[], options: Omit<HaystackOptions, "countTokens">) => void
) {
    fc.assert(
        fc.property(cases, (options) => {
            const haystack = makeHaystack(texts, { ...options, countTokens });
            property(haystack, [...haystack.sentences()], options);
        }),
        { seed: propertySeed, numRuns: 200 }
    );
}

test("a text has the wanted length, short of it by less than a sentence", (t) => {
    check((_, pieces, { tokens }) => {
        const length = pieces.reduce((sum, piece) => sum + countTokens(piece), 0);
        t.true(length <= tokens && length > tokens - 20, `${length} of ${tokens}`);
    });
});

test("sentences are separated by one space or newline", (t) => {
    check((_, pieces) => {
        t.regex(pieces[0]!, /^\S/);
        for (const piece of pieces.slice(1)) t.regex(piece, /^[ \n]\S(.*\S)?$/);
    });
});

test("codes are four digits, and a key of two lists is two words", (t) => {
    check(({ facts }) => {
        for (const { kind, key, value } of facts) {
            if (kind.value === "code") t.regex(value, /^\d{4}$/);
            t.is(key.split(" ").length, kind.key.length);
        }
    });
});

test("about a quarter of the facts override an earlier one", (t) => {
    const facts = Array.from({ length: 300 }, (_, seed) =>
        makeHaystack(texts, { seed, tokens: 4096, facts: 20, countTokens })
    ).flatMap((haystack) => haystack.facts);
    const share = facts.filter(({ overridden }) => overridden).length / facts.length;
    t.true(Math.abs(share - 0.25) < 0.04, `${share}`);
});

test("depths are spread evenly", (t) => {
    const parts = new Array<number>(10).fill(0);
    for (let seed = 0; seed < 500; seed++)
        for (const { depth } of makeHaystack(texts, { seed, tokens: 4096, facts: 10, countTokens }).facts)
            parts[Math.floor(depth * 10)]!++;
    for (const count of parts) t.true(Math.abs(count - 500) < 100, `${parts}`);
});

test("more facts than fit, or than there are things, are refused", (t) => {
    const make = (facts: number, tokens: number) => () => makeHaystack(texts, { seed: 1, tokens, facts, countTokens });
    t.throws(make(10, 64), { instanceOf: RangeError, message: /10 facts take \d+ tokens and do not fit into 64/ });
    t.throws(make(2000, 1e6), { instanceOf: RangeError, message: /2000 facts are too many/ });
    t.notThrows(make(200, 1e6));
});
