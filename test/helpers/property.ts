import fc from "fast-check";

/**
 * Checks a property of models: each run makes one, so runs are few, and time rather than their number ends the check. The
 * cases are the same each time; ARMT_TEST_SEED draws others.
 * @param seconds time after which no further case is begun
 */
export async function checkModels<T>(
    cases: fc.Arbitrary<T>,
    { runs, seconds }: { runs: number; seconds: number },
    check: (value: T) => Promise<void>
): Promise<void> {
    await fc.assert(fc.asyncProperty(cases, check), {
        seed: Number(process.env.ARMT_TEST_SEED ?? 20_250_506),
        numRuns: runs,
        interruptAfterTimeLimit: 1000 * seconds,
        // making a failing case smaller would take as many models again
        endOnFailure: true
    });
}

/**
 * Sizes and variants that a schedule might get wrong. Keys are as long as the embedding: with 4 or 8 numbers a head two keys may hardly overlap, the
 * division by k·z then amplifies, and rounding in the 7th digit reaches the 3rd within 40 segments, in float64 code as well.
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
