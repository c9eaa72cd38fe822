import test from "ava";
import { readCheckpoint } from "../helpers/checkpoint.js";
import { assertClose } from "../helpers/compare.js";
import { authorsGoldenNames, madeGoldenNames, readAuthorsGolden, readMadeGolden } from "../helpers/golden.js";
import { generateReference, runReference } from "../helpers/reference.js";

// Hugging Face's RMSNorm and softmax round to float32 whatever the model's type, so the golden files are not float64 to the end.
const LOGIT_TOLERANCE = 2e-5;
const MEMORY_TOLERANCE = 3e-6;

for (const name of authorsGoldenNames) {
    test(`reference gives the logits and memories of the authors' code, ${name}`, async (t) => {
        const golden = await readAuthorsGolden(name);
        const model = await readCheckpoint(golden.folder);
        const { logits, sequence } = runReference(model, golden.ids, { closeLast: true });
        assertClose(t, logits, golden.logits, { within: LOGIT_TOLERANCE, rowLength: model.vocab, what: "logits" });
        t.is(golden.memories.length, model.layers.length);
        for (const [il, { a, z }] of golden.memories.entries()) {
            const close = { within: MEMORY_TOLERANCE, relative: true };
            const memory = sequence.memories[il]!;
            const rowLength = model.hidden / model.nHeads;
            assertClose(t, memory.a, a, { ...close, rowLength, what: `A of layer ${il}` });
            assertClose(t, memory.z, z, { ...close, rowLength: z.length, what: `z of layer ${il}` });
        }
    });

    test(`reference generates the tokens of the authors' code, ${name}`, async (t) => {
        const golden = await readAuthorsGolden(name);
        const model = await readCheckpoint(golden.folder);
        const { tokens, margins } = generateReference(model, golden.ids, { count: 24, overflow: "extend" });
        t.deepEqual(tokens, golden.generated);
        t.true(Math.min(...margins) > 2 * LOGIT_TOLERANCE, "a token is a matter of rounding");
    });
}

for (const name of madeGoldenNames) {
    test(`reference gives the logits and memories of transformers' layers, ${name}`, async (t) => {
        const golden = await readMadeGolden(name);
        const model = await readCheckpoint(golden.folder);
        const { logits, sequence } = runReference(model, golden.ids, { closeLast: true });
        assertClose(t, logits, golden.logits, { within: LOGIT_TOLERANCE, rowLength: model.vocab, what: "logits" });
        t.is(golden.memories.length, model.layers.length);
        for (const [il, { a, z }] of golden.memories.entries()) {
            const close = { within: MEMORY_TOLERANCE, relative: true };
            const memory = sequence.memories[il]!;
            assertClose(t, memory.a, a, { ...close, rowLength: model.hidden, what: `A of layer ${il}` });
            assertClose(t, memory.z, z, { ...close, rowLength: z.length, what: `z of layer ${il}` });
        }
    });
}
