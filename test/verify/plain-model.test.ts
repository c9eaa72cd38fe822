import test from "ava";
import { openCheckpoint } from "../../src/convert/open-checkpoint.js";
import { runPlainModel } from "../../src/verify/plain-model.js";
import { assertMemories } from "../helpers/assert-memories.js";
import { assertClose } from "../helpers/compare.js";
import { goldenCases, variantGoldenCases } from "../helpers/golden.js";

// as in test/reference/golden.test.ts: the golden files are not float64 throughout
const LOGIT_TOLERANCE = 2e-5;
const MEMORY_TOLERANCE = 6e-6;

for (const { name, source, read } of [...goldenCases, ...variantGoldenCases]) {
    test(`the plain model gives the logits and memories of ${source}, ${name}`, async (t) => {
        const golden = await read();
        const checkpoint = await openCheckpoint({ checkpoint: golden.folder });
        t.teardown(() => checkpoint.weights.close());
        const { base, armt } = checkpoint;
        const { logits, memories } = await runPlainModel(checkpoint, golden.ids, { segmentSize: armt.segmentSize });
        const all = Float64Array.from(logits.flatMap((segment) => [...segment]));
        assertClose(t, all, golden.logits, { within: LOGIT_TOLERANCE, rowLength: base.vocabSize, what: "logits" });
        const shape = { hidden: base.hiddenSize, nHeads: armt.headCount, useDenom: armt.useDenom };
        assertMemories(t, memories, golden.memories, shape, { within: MEMORY_TOLERANCE });
    });
}
