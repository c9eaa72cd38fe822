import test from "ava";
import { detection, detectionTable, detectionVerdict, rank } from "../../src/detect/compare.js";
import { firstRound, secondRound, type Variant, variantOptions } from "../../src/detect/variants.js";

const variant = (change: Partial<Variant> = {}): Variant => ({
    normalizeKeys: true,
    segmentSize: 512,
    segmentAlignment: "left",
    correction: true,
    ...change
});
const plain = variant({ normalizeKeys: false });

/** Losses around a mean, the same noise for all. */
const losses = (mean: number, noise = 0) =>
    Float64Array.from({ length: 400 }, (_, i) => mean + noise * Math.sin(7 * i + mean));

test("the second variant must be worse by more than its error and by more than a trifle", (t) => {
    const winner = (a: Float64Array, b: Float64Array) =>
        rank([
            { variant: variant(), losses: a },
            { variant: plain, losses: b }
        ]).winner;
    t.deepEqual(winner(losses(2), losses(2.2)), variant());
    t.deepEqual(winner(losses(2.2), losses(2)), plain);
    t.is(winner(losses(2), losses(2)), undefined);
    // steady, but too small to count
    t.is(winner(losses(2), losses(2.005)), undefined);
    // large, but within the noise
    t.is(winner(losses(2, 20), losses(2.2, 20)), undefined);
});

test("a variant whose numbers overflow loses, and alone it does not win", (t) => {
    const broken = { variant: plain, losses: losses(Number.NaN) };
    const { results, winner } = rank([broken, { variant: variant(), losses: losses(2) }]);
    t.deepEqual(winner, variant());
    t.is(results[1]!.loss, Number.POSITIVE_INFINITY);
    t.is(rank([broken]).winner, undefined);
    t.regex(detectionVerdict(rank([broken])), /no variant gives finite numbers/);
});

test("correction and alignment change a clear result only if they are clearly better", (t) => {
    const first = [
        { variant: variant(), losses: losses(2) },
        { variant: plain, losses: losses(3) }
    ];
    const without = variant({ correction: false });
    t.deepEqual(detection(first, [{ variant: without, losses: losses(2) }]).winner, variant());
    t.deepEqual(detection(first, [{ variant: without, losses: losses(1.999) }]).winner, variant());
    t.deepEqual(detection(first, [{ variant: without, losses: losses(1.5) }]).winner, without);
    t.is(
        detection([first[0]!, { ...first[0]!, variant: plain }], [{ variant: without, losses: losses(1) }]).winner,
        undefined
    );
});

test("all pairs of keys and sizes come first, then the other values one at a time", (t) => {
    const candidates = {
        normalizeKeys: [true, false],
        segmentSize: [512, 1024],
        segmentAlignment: ["left", "right", "center"],
        correction: [true, false]
    } as const;
    t.deepEqual(firstRound(candidates, variant()).map(variantOptions), [
        "--segment-size 512 --normalize-keys",
        "--segment-size 512 --no-normalize-keys",
        "--segment-size 1024 --normalize-keys",
        "--segment-size 1024 --no-normalize-keys"
    ]);
    t.deepEqual(secondRound(candidates, plain).map(variantOptions), [
        "--segment-size 512 --no-normalize-keys --no-correction",
        "--segment-size 512 --no-normalize-keys --segment-alignment right",
        "--segment-size 512 --no-normalize-keys --segment-alignment center"
    ]);
});

test("the table has a line for each variant, from the best to the worst", (t) => {
    const found = rank([
        { variant: plain, losses: losses(3) },
        { variant: variant(), losses: losses(2) }
    ]);
    const [, ...lines] = detectionTable(found).trimEnd().split("\n");
    t.regex(lines[0]!, /--normalize-keys +7\.389 +best/);
    t.regex(lines[1]!, /--no-normalize-keys +20\.086 +\+1\.0000 ± 0\.0000/);
    t.is(detectionVerdict(found), "Clear: --segment-size 512 --normalize-keys");
});
