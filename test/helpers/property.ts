import fc from "fast-check";

/** Seed of the cases of a property: always the same, unless `ARMT_TEST_SEED` sets another. */
export const propertySeed = Number(process.env.ARMT_TEST_SEED ?? 20_250_506);

/**
 * Checks a property of models. Each case makes a model, which takes long, so the check ends after a time rather than a
 * number of cases, but not before the least number.
 * @param options.most number of cases on a fast machine
 * @param options.least number of cases that are checked however long they take
 * @param options.seconds time after which no case beyond the least number begins
 * @returns the number of cases that were checked
 */
export async function checkModels<T>(
    cases: fc.Arbitrary<T>,
    { most, least, seconds }: { most: number; least: number; seconds: number },
    check: (value: T) => Promise<void>
): Promise<number> {
    const end = performance.now() + 1000 * seconds;
    let checked = 0;
    const property = fc.asyncProperty(cases, async (value) => {
        if (checked >= least && performance.now() > end) return;
        await check(value);
        checked++;
    });
    // shrinking a failing case would make as many models again
    await fc.assert(property, { seed: propertySeed, numRuns: most, endOnFailure: true });
    if (checked < least) throw new Error(`only ${checked} of at least ${least} cases were checked`);
    return checked;
}

/**
 * Sizes and variants that a schedule might get wrong. Keys are as long as the embedding: with 4 or 8 numbers per head,
 * two keys may hardly overlap. The division by k·z then amplifies rounding from the 7th digit to the 3rd within 40
 * segments, in float64 code as well.
 */
export const tinyShapes = fc
    .record({
        layers: fc.integer({ min: 1, max: 10 }),
        heads: fc.constantFrom(1, 2, 4),
        headDim: fc.constantFrom(4, 10, 16, 24, 40),
        segmentSize: fc.integer({ min: 1, max: 14 }),
        memTokens: fc.integer({ min: 1, max: 7 }),
        normalizeKeys: fc.boolean(),
        correction: fc.boolean(),
        gating: fc.boolean(),
        nHeads: fc.constantFrom(1, 2),
        tied: fc.boolean(),
        sink: fc.boolean(),
        slidingWindow: fc.boolean(),
        seed: fc.nat()
    })
    .map((shape) => ({ hidden: 32, dMem: 32, vocab: 64, kvHeads: shape.heads > 1 ? shape.heads / 2 : 1, ...shape }));
