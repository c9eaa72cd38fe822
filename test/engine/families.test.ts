import test from "ava";
import fc from "fast-check";
import { families } from "../../src/convert/families.js";
import { baseArchitectures } from "../../src/formats/gguf/armt-keys.js";
import type { TinyOptions } from "../../src/tiny/options.js";
import { assertMemories } from "../helpers/assert-memories.js";
import { assertClose, largestDifference } from "../helpers/compare.js";
import { generateGreedy, loadTiny, readLogits, readMemories, withContext, withSequence } from "../helpers/contexts.js";
import { checkModels, tinyShapes } from "../helpers/property.js";
import { generateReference, runReference } from "../helpers/reference.js";
import { textIds } from "../helpers/tokens.js";

const LOGIT_TOLERANCE = 5e-4;
/** Rounding could change a greedy choice with a smaller margin. */
const MARGIN = 2 * LOGIT_TOLERANCE;

/** Every family except LLaMA (see test/engine/variants.test.ts), and the configurations that its code distinguishes. */
const models: Record<string, TinyOptions> = {
    "gemma3, transformers 5": {
        family: "gemma3_text",
        tied: true,
        layers: 5,
        headDim: 24,
        config: {
            query_pre_attn_scalar: 30,
            layer_types: ["sliding", "sliding", "full", "sliding", "full"].map((type) => `${type}_attention`),
            sliding_window: 17,
            rope_parameters: {
                full_attention: { rope_theta: 5000, rope_type: "linear", factor: 4 },
                sliding_attention: { rope_theta: 50, rope_type: "default" }
            }
        }
    },
    "gemma3, transformers 4, biases": {
        family: "gemma3_text",
        biases: true,
        config: { rope_parameters: null, rope_theta: 700, rope_local_base_freq: 70, sliding_window_pattern: 2 }
    },
    "gemma3, global layers alone": {
        family: "gemma3_text",
        tied: true,
        config: { rope_parameters: null, rope_theta: 900, sliding_window: 3, sliding_window_pattern: 1 }
    },
    "gpt2, wrapped positions": { family: "gpt2", wrapPositions: true },
    "gpt2, wrapped positions, memory apart from the text": {
        family: "gpt2",
        wrapPositions: true,
        config: { transformers_version: "5.17.0" }
    },
    "gpt2, positions one after another": { family: "gpt2", tied: true },
    "gpt2, GELU by the error function": { family: "gpt2", config: { activation_function: "gelu" } },
    "gpt2, v1 heads and gating": { family: "gpt2", wrapPositions: true, nHeads: 2, gating: true },
    gpt_neox: { family: "gpt_neox", biases: true },
    "gpt_neox, transformers 5, no parallel residual, no attention biases": {
        family: "gpt_neox",
        heads: 2,
        config: {
            hidden_act: "gelu_fast",
            use_parallel_residual: false,
            rope_parameters: { rope_theta: 500, rope_type: "default", partial_rotary_factor: 0.5 }
        }
    },
    "gpt_neox, linear rope, tied, all of a head turned": {
        family: "gpt_neox",
        tied: true,
        biases: true,
        config: {
            rope_parameters: null,
            rope_scaling: { type: "linear", factor: 2 },
            rotary_pct: 1,
            rotary_emb_base: 900
        }
    },
    mistral: { family: "mistral", config: { sliding_window: 17 } },
    phi3: { family: "phi3", tied: true },
    qwen2: { family: "qwen2", tied: true },
    "qwen3, heads of their own size": { family: "qwen3", heads: 4, kvHeads: 2, headDim: 24 },
    "qwen3, llama3 rope": {
        family: "qwen3",
        ropeScaling: { type: "llama3", factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 32 }
    },
    "phi3, llama3 rope over a part of a head": {
        family: "phi3",
        config: {
            rope_parameters: {
                rope_theta: 500,
                rope_type: "llama3",
                partial_rotary_factor: 0.5,
                factor: 8,
                low_freq_factor: 1,
                high_freq_factor: 4,
                original_max_position_embeddings: 32
            }
        }
    },
    "qwen3, biases, tied, one key head": { family: "qwen3", heads: 4, kvHeads: 1, biases: true, tied: true }
};

for (const [name, options] of Object.entries(models)) {
    for (const schedule of ["sequential", "diagonal"] as const) {
        test(`engine gives the reference's logits, memories and tokens, ${name}, ${schedule}`, async (t) => {
            const { model, reference } = await loadTiny(t, { segmentSize: 12, memTokens: 5, layers: 3, ...options });
            const { segmentSize, vocab } = reference;
            const ids = textIds(5 * segmentSize + 4, vocab);
            const expected = runReference(reference, ids, { closeLast: true });
            for (const batchSize of [1, 5, segmentSize, segmentSize + 3, ids.length]) {
                for (const flashAttention of [false, true]) {
                    const maxCells = reference.layers.length; // a CPU's default is one layer at a time
                    await withSequence(model, { schedule, batchSize, flashAttention, maxCells }, async (sequence) => {
                        const what = `batch size ${batchSize}, flash attention ${flashAttention}:`;
                        const close = { within: LOGIT_TOLERANCE, rowLength: vocab, what: `${what} logits` };
                        assertClose(t, await readLogits(sequence, ids), expected.logits, close);
                        await sequence.armt!.closeSegment();
                        assertMemories(t, await readMemories(sequence), expected.sequence.memories, reference, {
                            what
                        });
                    });
                }
            }
            const generated = generateReference(reference, ids, { count: 30, overflow: "close" });
            const sure = generated.margins.findIndex((margin) => margin < MARGIN);
            const count = sure < 0 ? generated.tokens.length : sure;
            t.true(count >= 10, `only ${count} tokens of this prompt are beyond rounding`);
            await withSequence(model, { schedule }, async (sequence) => {
                const tokens = await generateGreedy(sequence, ids, 30);
                t.deepEqual(tokens.slice(0, count), generated.tokens.slice(0, count));
            });
        });
    }

    test(`parallel sequences share steps, ${name}`, async (t) => {
        const { model, reference } = await loadTiny(t, { segmentSize: 12, memTokens: 5, layers: 2, ...options });
        const prompts = [textIds(30, reference.vocab, 1), textIds(30, reference.vocab, 2)];
        await withContext(model, { sequences: 2, batchSize: 16 }, async (context) => {
            const logits = await Promise.all(prompts.map((ids) => readLogits(context.getSequence(), ids)));
            for (const [i, ids] of prompts.entries()) {
                const close = { within: LOGIT_TOLERANCE, rowLength: reference.vocab, what: `sequence ${i}:` };
                assertClose(t, logits[i]!, runReference(reference, ids).logits, close);
            }
        });
    });
}

test("a segment can't outgrow the position table", async (t) => {
    const { model } = await loadTiny(t, { family: "gpt2", wrapPositions: true, segmentSize: 12, memTokens: 5 });
    const bound = /position table has 133 rows, which leaves 128 with the memory tokens/;
    const context = (armt: object) => withContext(model, armt, async () => {});
    await t.throwsAsync(context({ segmentSize: 129 }), { message: bound });
    await t.throwsAsync(context({ segmentOverflow: "extend", openSegmentLimit: 129 }), { message: bound });
    await t.notThrowsAsync(context({ segmentSize: 128 }));
    await t.notThrowsAsync(context({ segmentOverflow: "extend" }));
});

test("a segment may outgrow the attention window, which then cuts into it", async (t) => {
    const { model, reference } = await loadTiny(t, {
        family: "mistral",
        config: { sliding_window: 9 },
        segmentSize: 12,
        memTokens: 5
    });
    const ids = textIds(50, reference.vocab);
    for (const schedule of ["sequential", "diagonal"] as const)
        for (const segmentSize of [3, 4, 5, 12, 20]) {
            const expected = runReference(reference, ids, { segmentSize }).logits;
            await withSequence(model, { schedule, segmentSize, batchSize: 7 }, async (sequence) => {
                const what = `${schedule}, segments of ${segmentSize}`;
                const close = { within: LOGIT_TOLERANCE, rowLength: reference.vocab, what };
                assertClose(t, await readLogits(sequence, ids), expected, close);
            });
        }
});

const bases = fc.record({
    family: fc.constantFrom(...baseArchitectures),
    shape: tinyShapes,
    biases: fc.boolean(),
    wrapPositions: fc.boolean(),
    apart: fc.boolean(),
    share: fc.constantFrom(0.5, 1),
    parallel: fc.boolean(),
    scaling: fc.constantFrom(undefined, 2, 8),
    local: fc.array(fc.boolean(), { minLength: 10, maxLength: 10 })
});

type Base = typeof bases extends fc.Arbitrary<infer T> ? T : never;

/** A base model's own keys, and sizes that its family allows. */
function baseOptions({
    family,
    shape,
    biases,
    wrapPositions,
    apart,
    share,
    parallel,
    scaling,
    local
}: Base): TinyOptions {
    const { keys } = families[family];
    const config: Record<string, unknown> = {};
    const ownHeads = keys.headSize === undefined;
    const rope = scaling === undefined ? { rope_type: "default" } : { rope_type: "linear", factor: scaling };
    if (family === "gpt2" && apart) config.transformers_version = "5.0.0";
    if (family !== "gpt2") config.rope_parameters = { rope_theta: 300, ...rope };
    if (family === "gpt_neox" || family === "phi3")
        config.rope_parameters = { rope_theta: 300, ...rope, partial_rotary_factor: share };
    if (family === "gpt_neox") config.use_parallel_residual = parallel;
    if (family === "gemma3_text") {
        config.layer_types = local
            .slice(0, shape.layers)
            .map((isLocal) => (isLocal ? "sliding_attention" : "full_attention"));
        config.rope_parameters = {
            full_attention: { rope_theta: 300, ...rope },
            sliding_attention: { rope_theta: 20, rope_type: "default" }
        };
        config.query_pre_attn_scalar = 20;
    }
    return {
        ...shape,
        family,
        biases,
        wrapPositions: wrapPositions && family === "gpt2",
        // not defined for wrapped positions
        sink: shape.sink && !(wrapPositions && family === "gpt2"),
        slidingWindow: shape.slidingWindow && family !== "gpt2",
        hidden: ownHeads ? shape.heads * shape.headDim : shape.hidden,
        kvHeads: ownHeads ? shape.heads : shape.kvHeads,
        dMem: ownHeads ? shape.heads * shape.headDim : shape.dMem,
        config
    };
}

test("the engine agrees with the reference for every family at any size", async (t) => {
    t.timeout(600_000);
    const counts = new Map<string, number>();
    // RoPE rotates an even number of elements, so not half of a head of 10
    const possible = bases.filter(({ share, shape }) => (share * shape.headDim) % 2 === 0);
    await checkModels(possible, { most: 60, least: 20, seconds: 60 }, async (base) => {
        const tiny = await loadTiny(t, baseOptions(base));
        const ids = textIds(4 * base.shape.segmentSize + 1, base.shape.vocab);
        const expected = runReference(tiny.reference, ids, { closeLast: true });
        for (const schedule of ["sequential", "diagonal"] as const) {
            const maxCells = tiny.reference.layers.length;
            await withSequence(tiny.model, { schedule, maxCells, batchSize: 20 }, async (sequence) => {
                const what = `${JSON.stringify(base)}, ${schedule}:`;
                const close = { within: LOGIT_TOLERANCE, rowLength: tiny.reference.vocab, what };
                assertClose(t, await readLogits(sequence, ids), expected.logits, close);
                await sequence.armt!.closeSegment();
                const { memories } = expected.sequence;
                assertMemories(t, await readMemories(sequence), memories, tiny.reference, { what });
            });
        }
        await tiny.model.dispose();
        counts.set(base.family, (counts.get(base.family) ?? 0) + 1);
    });
    t.log([...counts].map(([family, count]) => `${family}: ${count}`).join(", "));
});

for (const family of baseArchitectures) {
    test(`logits stay close with q8_0 weights, ${family}`, async (t) => {
        const shape = { hidden: 64, heads: 2, kvHeads: families[family].keys.kvHeads === undefined ? 2 : 1, layers: 4 };
        const { model, reference } = await loadTiny(t, { ...shape, family, headDim: 32 }, "q8_0");
        const ids = textIds(16 * 4 + 5, reference.vocab);
        const logits = await withSequence(model, { kvType: "F16" }, (sequence) => readLogits(sequence, ids));
        const { value } = largestDifference(logits, runReference(reference, ids).logits, reference.vocab);
        t.log(`error ${value.toFixed(4)}`);
        t.true(value <= 0.6, String(value));
        t.true(value > 1e-6, "the type makes no difference; is it used?");
    });
}
