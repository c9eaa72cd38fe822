import test from "ava";
import type { Token } from "node-llama-cpp";
import { loadTiny, withContext } from "../helpers/contexts.js";

test("FP8 on a backend without it is an error that says what to do", async (t) => {
    const { model } = await loadTiny(t);
    const message =
        /precision is "fp8", but there are layers on CPU, .*run `npx armt build --gpu cuda --tuned`.*or leave the option out/;
    await t.throwsAsync(
        withContext(model, { precision: "fp8" }, async () => {}),
        { message }
    );
    await t.throwsAsync(
        withContext(model, { precision: "fp8", fp8Products: ["down"] }, async () => {}),
        { message }
    );
});

test("without FP8, a context says so", async (t) => {
    const { model } = await loadTiny(t);
    await withContext(model, { precision: "auto" }, async (context) => {
        t.is(context.armt!.precision, "auto");
        t.deepEqual(context.armt!.fp8Products, []);
        await context.getSequence().evaluateWithoutGeneratingNewTokens([1, 2, 3, 4] as Token[]);
        t.deepEqual(context.armt!.fp8Counts, { computed: 0, left: 0 });
    });
});
