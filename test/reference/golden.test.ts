import test from "ava";
import { assertMemories } from "../helpers/assert-memories.js";
import { readCheckpoint } from "../helpers/checkpoint.js";
import { assertClose } from "../helpers/compare.js";
import { authorsGoldenNames, goldenCases, readAuthorsGolden } from "../helpers/golden.js";
import { generateReference, runReference } from "../helpers/reference.js";

// Hugging Face's RMSNorm and softmax round to float32 whatever the model's type, so the golden files are not float64
// throughout.
const LOGIT_TOLERANCE = 2e-5;
const MEMORY_TOLERANCE = 3e-6;

for (const { name, source, read } of goldenCases) {
    test(`reference gives the logits and memories of ${source}, ${name}`, async (t) => {
        const golden = await read();
        const model = await readCheckpoint(golden.folder);
        const { logits, sequence } = runReference(model, golden.ids, { closeLast: true });
        assertClose(t, logits, golden.logits, { within: LOGIT_TOLERANCE, rowLength: model.vocab, what: "logits" });
        assertMemories(t, sequence.memories, golden.memories, model, { within: MEMORY_TOLERANCE });
    });
}

for (const name of authorsGoldenNames) {
    test(`reference generates the tokens of the authors' code, ${name}`, async (t) => {
        const golden = await readAuthorsGolden(name);
        const model = await readCheckpoint(golden.folder);
        const { tokens, margins } = generateReference(model, golden.ids, { count: 24, overflow: "extend" });
        t.deepEqual(tokens, golden.generated);
        t.true(Math.min(...margins) > 2 * LOGIT_TOLERANCE, "rounding alone could change a token");
    });
}
