import test from "ava";
import type { LlamaModel, Token } from "../../plugin/index.js";
import { maxCountedTokens, type Sampling, samplingOptions } from "../../src/server/engine/sampling.js";

const sampling: Sampling = {
    temperature: 1,
    topP: 1,
    topK: 0,
    minP: 0,
    repeatPenalty: 1,
    presencePenalty: 1,
    frequencyPenalty: 0,
    logitBias: new Map()
};

test("penalties copy no more than the last tokens of a long answer", (t) => {
    const written: Token[] = [];
    const of = (more: Partial<Sampling>) =>
        samplingOptions({} as LlamaModel, { ...sampling, ...more }, { choice: 0, written, maxTokens: 2 ** 20 });
    const options = of({}).repeatPenalty;
    if (typeof options !== "object" || typeof options.punishTokens !== "function") return t.fail("no penalty");
    t.deepEqual(options.punishTokens(), []);
    for (let i = 0; i < 3 * maxCountedTokens; i++) written.push(i as Token);
    t.deepEqual(options.punishTokens(), written.slice(2 * maxCountedTokens));
    t.is(options.maxPunishTokens, maxCountedTokens);
    t.is(of({ presencePenalty: 0 }).repeatPenalty, undefined);
});
