import test from "ava";
import type { Token } from "../../plugin/index.js";
import { detectVariant } from "../../src/detect/detect.js";
import { loadTiny, withSequence } from "../helpers/contexts.js";

const computing = { kvType: "f32", threads: 1 } as const;

for (const normalizeKeys of [true, false]) {
    test(`a text that a model wrote is most probable with the model's own keys: normalized ${normalizeKeys}`, async (t) => {
        const tiny = await loadTiny(t, { layers: 2, segmentSize: 16, memTokens: 8, vocab: 96, normalizeKeys });
        const ids = await withSequence(tiny.model, {}, async (sequence) => {
            const written: Token[] = [];
            for await (const token of sequence.evaluate([1 as Token], { temperature: 1, seed: 7 })) {
                written.push(token);
                if (written.length === 6003) break;
            }
            return written;
        });
        const found = await detectVariant({
            checkpoint: tiny.file,
            computing,
            text: ids,
            maxTokens: ids.length
        });
        t.log(found.results.map((r) => [JSON.stringify(r.variant), r.loss, r.behind, r.standardError].join(" ")));
        t.is(found.winner?.normalizeKeys, normalizeKeys);
    });
}
