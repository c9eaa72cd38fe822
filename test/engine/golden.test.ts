import test from "ava";
import { assertMemories } from "../helpers/assert-memories.js";
import { assertClose } from "../helpers/compare.js";
import { generateGreedy, loadCheckpoint, readLogits, readMemories, withSequence } from "../helpers/contexts.js";
import { authorsGoldenNames, goldenCases, readAuthorsGolden, variantGoldenCases } from "../helpers/golden.js";

const LOGIT_TOLERANCE = 5e-4;

const schedules = ["sequential", "diagonal"] as const;

for (const { name, source, read } of [...goldenCases, ...variantGoldenCases]) {
    for (const schedule of schedules) {
        test(`engine gives the logits and memories of ${source}, ${name}, ${schedule}`, async (t) => {
            const golden = await read();
            const { model, reference } = await loadCheckpoint(t, golden.folder);
            const size = reference.segmentSize;
            for (const batchSize of [1, 7, size, size + 3, golden.ids.length]) {
                const maxCells = reference.layers.length;
                await withSequence(model, { schedule, batchSize, maxCells }, async (sequence) => {
                    const what = `batch size ${batchSize}:`;
                    const close = { within: LOGIT_TOLERANCE, rowLength: reference.vocab, what: `${what} logits` };
                    assertClose(t, await readLogits(sequence, golden.ids), golden.logits, close);
                    await sequence.armt!.closeSegment();
                    assertMemories(t, await readMemories(sequence), golden.memories, reference, { what });
                });
            }
        });
    }
}

for (const name of authorsGoldenNames) {
    for (const schedule of schedules) {
        test(`engine generates the tokens of the authors' code, ${name}, ${schedule}`, async (t) => {
            const golden = await readAuthorsGolden(name);
            const { model } = await loadCheckpoint(t, golden.folder);
            await withSequence(model, { schedule, segmentOverflow: "extend" }, async (sequence) => {
                t.deepEqual(await generateGreedy(sequence, golden.ids, 24), golden.generated);
            });
        });
    }
}
