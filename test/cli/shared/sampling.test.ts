import test from "ava";
import type { Token } from "../../../plugin/index.js";
import { evaluateOptions } from "../../../src/cli/shared/sampling.js";

const tokens = Array.from({ length: 100 }, (_, i) => i as Token);

function penalty(
    ...[options, defaults]: [Parameters<typeof evaluateOptions>[0], Parameters<typeof evaluateOptions>[2]?]
) {
    const { repeatPenalty } = evaluateOptions(options, tokens, defaults);
    if (repeatPenalty === undefined) return undefined;
    const { punishTokens, penalty } = repeatPenalty;
    return { penalty, count: (punishTokens as () => Token[])().length };
}

test("the model file's repeat penalty counts unless an option replaces it", (t) => {
    t.is(penalty({}), undefined);
    t.deepEqual(penalty({}, { repeatPenalty: 1.3, repeatLastN: 16 }), { penalty: 1.3, count: 16 });
    t.deepEqual(penalty({}, { repeatPenalty: 1.3 }), { penalty: 1.3, count: 64 });
    t.deepEqual(penalty({ repeatPenalty: 1.1 }, { repeatPenalty: 1.3, repeatLastN: -1 }), { penalty: 1.1, count: 100 });
    t.deepEqual(penalty({ repeatLastN: 8 }, { repeatPenalty: 1.3, repeatLastN: -1 }), { penalty: 1.3, count: 8 });
    t.is(penalty({ repeatPenalty: 1 }, { repeatPenalty: 1.3 }), undefined);
    t.is(penalty({ repeatLastN: 0 }, { repeatPenalty: 1.3 }), undefined);
});

test("the other numbers of the model file count unless an option replaces them", (t) => {
    const defaults = { temperature: 0.7, topK: 20, topP: 0.8, minP: 0.1 };
    t.like(evaluateOptions({ seed: 1 }, tokens, defaults), { ...defaults, seed: 1 });
    t.like(evaluateOptions({ temperature: 0, topK: 5 }, tokens, defaults), { ...defaults, temperature: 0, topK: 5 });
    t.is(evaluateOptions({}, tokens).temperature, 0);
});
