import path from "node:path";
import test from "ava";
import type { Token } from "../../plugin/index.js";
import { assertClose } from "../helpers/compare.js";
import { loadCheckpoint, readLogits, withContext, withSequence } from "../helpers/contexts.js";
import { readVariantGolden, variantGoldenCases } from "../helpers/golden.js";
import { temporaryFolder } from "../helpers/temporary.js";

const LOGIT_TOLERANCE = 5e-4;
const schedules = ["sequential", "diagonal"] as const;

for (const { name, read } of variantGoldenCases) {
    test(`a saved state resumes in the other schedule, and sequences do not disturb one another, ${name}`, async (t) => {
        const golden = await read();
        const { model, reference } = await loadCheckpoint(t, golden.folder);
        const { vocab } = reference;
        const file = path.join(temporaryFolder(t), "state");
        const cut = 2 * reference.segmentSize + 5;
        const close = { within: LOGIT_TOLERANCE, rowLength: vocab };
        for (const [from, to] of [schedules, schedules.toReversed()]) {
            await withSequence(model, { schedule: from, batchSize: 9 }, async (sequence) => {
                await sequence.evaluateWithoutGeneratingNewTokens(golden.ids.slice(0, cut) as Token[]);
                await sequence.saveStateToFile(file);
            });
            await withContext(model, { schedule: to, sequences: 3, batchSize: 200 }, async (context) => {
                const [loaded, whole, part] = [context.getSequence(), context.getSequence(), context.getSequence()];
                await loaded.loadStateFromFile(file, { acceptRisk: true });
                const [rest, all, start] = await Promise.all([
                    readLogits(loaded, golden.ids.slice(cut)),
                    readLogits(whole, golden.ids),
                    readLogits(part, golden.ids.slice(0, cut))
                ]);
                const what = `${from} to ${to}`;
                assertClose(t, rest, golden.logits.slice(cut * vocab), { ...close, what: `${what}, loaded` });
                assertClose(t, all, golden.logits, { ...close, what: `${what}, whole` });
                assertClose(t, start, golden.logits.slice(0, cut * vocab), { ...close, what: `${what}, start` });
            });
        }
    });
}

test("learned positions that run on end with the table, and the error says so", async (t) => {
    const golden = await readVariantGolden("gpt2_continued");
    const { model } = await loadCheckpoint(t, golden.folder);
    const ids = (count: number) => Array.from({ length: count }, (_, i) => i % 64) as Token[];
    await t.throwsAsync(
        withContext(model, { segmentOverflow: "extend" }, async () => {}),
        { message: /not defined for a model whose positions run on/ }
    );
    for (const schedule of schedules) {
        // 96 rows: five segments of 12 + 5, then 11 text tokens
        await withSequence(model, { schedule }, async (sequence) => {
            const read = (count: number) => sequence.evaluateWithoutGeneratingNewTokens(ids(count));
            await read(5 * 12 + 11);
            await t.throwsAsync(sequence.armt!.closeSegment(), { message: /no positions are left for the memory/ });
            await t.throwsAsync(read(1), { message: /learned positions run on .* end after 96 rows/ });
            await sequence.clearHistory();
            await read(5 * 12 + 6);
            await t.notThrowsAsync(sequence.armt!.closeSegment());
            await t.throwsAsync(read(1), { message: /end after 96 rows/ });
        });
    }
});
