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

test("reference that follows other tokens says how far they are below the most likely ones", async (t) => {
    const golden = await readAuthorsGolden("v1-heads-gating");
    const model = await readCheckpoint(golden.folder);
    const options = { count: 24, overflow: "extend" } as const;
    const same = generateReference(model, golden.ids, { ...options, follow: golden.generated });
    t.deepEqual(same.tokens, golden.generated);
    t.true(same.behind.every((distance) => distance === 0));

    // the best two are 0.012 apart at index 20; a GPU took the second
    const follow = [...golden.generated.slice(0, 20), 71, 65, 92, 25];
    const { tokens, margins, behind } = generateReference(model, golden.ids, { ...options, follow });
    t.deepEqual(tokens.slice(0, 21), golden.generated.slice(0, 21));
    t.is(behind[20], margins[20]);
    t.true(margins[20]! > 0.011 && margins[20]! < 0.013);
    t.deepEqual(tokens.slice(21), [65, 92, 25]);

    const wrong = generateReference(model, golden.ids, { ...options, follow: follow.with(10, 1) });
    t.deepEqual(wrong.tokens.slice(0, 11), golden.generated.slice(0, 11));
    t.true(wrong.behind[10]! > wrong.margins[10]!);
    t.true(wrong.behind[10]! > 0.1);
});
