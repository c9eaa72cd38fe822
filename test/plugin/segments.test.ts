import test from "ava";
import fc from "fast-check";
import { planSegments } from "../../plugin/context/segments.js";
import { propertySeed } from "../helpers/property.js";

const prompts = [fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 1, max: 300 })] as const;

/** Prompts that each property is checked with. */
const cases = 500;

/** Sizes of all segments of a plan. */
function sizes({ first, each }: { first: number; each: number }, tokens: number): number[] {
    const result = [Math.min(first, tokens)];
    for (let left = tokens - first; left > 0; left -= each) result.push(Math.min(each, left));
    return result;
}

test("right alignment leaves only the first segment short", (t) => {
    let checked = 0;
    fc.assert(
        fc.property(...prompts, (tokens, size) => {
            const plan = planSegments("right", tokens, size);
            const [first, ...others] = sizes(plan, tokens);
            t.true(plan.first >= 1 && first === plan.first && others.every((n) => n === size));
            checked++;
        }),
        { seed: propertySeed, numRuns: cases }
    );
    t.is(checked, cases);
    t.deepEqual(planSegments("right", 10, 4), { first: 2, each: 4 });
    t.deepEqual(planSegments("right", 8, 4), { first: 4, each: 4 });
});

test("center alignment cuts as torch.chunk does", (t) => {
    // torch.ones(10).chunk(3), torch.ones(9).chunk(4) and torch.ones(5).chunk(4)
    t.deepEqual(sizes(planSegments("center", 10, 4), 10), [4, 4, 2]);
    t.deepEqual(sizes(planSegments("center", 9, 4), 9), [3, 3, 3]);
    t.deepEqual(sizes(planSegments("center", 5, 2), 5), [2, 2, 1]);
});

test("segments are at most as long as the segment size, and together as long as the prompt", (t) => {
    const alignments = fc.constantFrom("left" as const, "right" as const, "center" as const);
    let checked = 0;
    fc.assert(
        fc.property(alignments, ...prompts, (alignment, tokens, size) => {
            const plan = planSegments(alignment, tokens, size);
            t.true(plan.first >= 1 && plan.first <= size && plan.each >= 1 && plan.each <= size);
            const all = sizes(plan, tokens);
            t.is(
                all.reduce((sum, n) => sum + n, 0),
                tokens
            );
            t.is(all.length, Math.ceil(tokens / size));
            checked++;
        }),
        { seed: propertySeed, numRuns: cases }
    );
    t.is(checked, cases);
});
