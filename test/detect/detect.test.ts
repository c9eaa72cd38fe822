import { readFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import type { Token } from "../../plugin/index.js";
import { detectVariant } from "../../src/detect/detect.js";
import { repositoryRoot } from "../helpers/repository.js";

const computing = { kvType: "f32", threads: 1 } as const;

/** Models that test/detect/train.py trained on documents of 4½ segments of 16 tokens, and documents to measure. */
const trained = path.join(repositoryRoot, "test", "detect", "trained");

for (const [name, normalizeKeys] of [
    ["normalized", true],
    ["not-normalized", false]
] as const) {
    test(`the keys and the segment size that a model was trained with are found: ${name}`, async (t) => {
        const text = JSON.parse(readFileSync(path.join(trained, "text.json"), "utf8")) as Token[];
        const { results, winner } = await detectVariant({
            checkpoint: path.join(trained, name),
            computing,
            text,
            maxTokens: text.length,
            segmentSizes: [8, 16]
        });
        t.log(results.map((r) => [JSON.stringify(r.variant), r.loss, r.behind, r.standardError].join(" ")));
        t.like(winner, { normalizeKeys, segmentSize: 16, correction: true, segmentAlignment: "left" });
        for (const wrong of [
            results.find(({ variant }) => variant.normalizeKeys !== normalizeKeys && variant.segmentSize === 16)!,
            results.find(({ variant }) => variant.normalizeKeys === normalizeKeys && variant.segmentSize === 8)!,
            results.find(({ variant }) => !variant.correction)!
        ])
            t.true(wrong.behind > 4 * wrong.standardError && wrong.behind > 0.015, JSON.stringify(wrong));
    });
}
