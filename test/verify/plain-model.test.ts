import test, { type ExecutionContext } from "ava";
import { openCheckpoint } from "../../src/convert/open-checkpoint.js";
import { runPlainModel } from "../../src/verify/plain-model.js";
import { assertClose } from "../helpers/compare.js";
import {
    authorsGoldenNames,
    type Golden,
    madeGoldenNames,
    readAuthorsGolden,
    readMadeGolden
} from "../helpers/golden.js";

// as in test/reference/golden.test.ts: the golden files are not float64 to the end
const LOGIT_TOLERANCE = 2e-5;
const MEMORY_TOLERANCE = 6e-6;

async function compare(t: ExecutionContext, golden: Golden): Promise<void> {
    const checkpoint = await openCheckpoint({ checkpoint: golden.folder });
    t.teardown(() => checkpoint.weights.close());
    const { base, armt } = checkpoint;
    const { logits, memories } = await runPlainModel(checkpoint, golden.ids, { segmentSize: armt.segmentSize });
    const all = Float64Array.from(logits.flatMap((segment) => [...segment]));
    assertClose(t, all, golden.logits, { within: LOGIT_TOLERANCE, rowLength: base.vocabSize, what: "logits" });
    t.is(memories.length, golden.memories.length);
    for (const [il, { a, z }] of golden.memories.entries()) {
        const close = { within: MEMORY_TOLERANCE, relative: true };
        const memory = memories[il]!;
        assertClose(t, memory.a, a, {
            ...close,
            rowLength: base.hiddenSize / armt.headCount,
            what: `A of layer ${il}`
        });
        assertClose(t, memory.z, z, { ...close, rowLength: z.length, what: `z of layer ${il}` });
    }
}

for (const name of authorsGoldenNames) {
    test(`the plain model gives the logits and memories of the authors' code, ${name}`, async (t) => {
        await compare(t, await readAuthorsGolden(name));
    });
}

for (const name of madeGoldenNames) {
    test(`the plain model gives the logits and memories of transformers' layers, ${name}`, async (t) => {
        await compare(t, await readMadeGolden(name));
    });
}
