import test from "ava";
import { type FamilyName, families } from "../../src/convert/families.js";
import { llama3FrequencyDivisors, parseRope } from "../../src/convert/rope.js";
import { JsonFile } from "../../src/util/json-file.js";
import { parseStrictJsonObject } from "../../src/util/strict-json.js";

const rope = (config: object, family: FamilyName = "llama") =>
    parseRope(new JsonFile("config.json", parseStrictJsonObject(JSON.stringify(config))), families[family], 64);
const llama3 = { factor: 32, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
const parsed = { type: "llama3", factor: 32, lowFreqFactor: 1, highFreqFactor: 4, originalContext: 8192 } as const;

test("both generations of config files are read", (t) => {
    t.deepEqual(rope({}), { theta: 10_000, dimensions: 64, scaling: undefined, local: undefined });
    t.deepEqual(rope({ rope_theta: 5e5, rope_scaling: null }), {
        theta: 5e5,
        dimensions: 64,
        scaling: undefined,
        local: undefined
    });
    t.deepEqual(rope({ rope_theta: 5e5, rope_scaling: { type: "linear", factor: 2 }, local: undefined }), {
        theta: 5e5,
        dimensions: 64,
        scaling: { type: "linear", factor: 2 },
        local: undefined
    });
    t.deepEqual(rope({ rope_theta: 5e5, rope_scaling: { rope_type: "llama3", ...llama3 } }), {
        theta: 5e5,
        dimensions: 64,
        scaling: parsed,
        local: undefined
    });
    t.deepEqual(rope({ rope_parameters: { rope_theta: 7, rope_type: "default" } }), {
        theta: 7,
        dimensions: 64,
        scaling: undefined,
        local: undefined
    });
    t.deepEqual(rope({ rope_parameters: { rope_theta: 7, rope_type: "llama3", ...llama3 } }), {
        theta: 7,
        dimensions: 64,
        scaling: parsed,
        local: undefined
    });
});

test("the part of a head that is turned has a key of its own in some families", (t) => {
    t.is(rope({}, "gpt_neox").dimensions, 16);
    t.like(rope({ rotary_pct: 0.5, rotary_emb_base: 9 }, "gpt_neox"), { dimensions: 32, theta: 9 });
    t.is(rope({ rope_parameters: { rope_theta: 9, partial_rotary_factor: 1 } }, "gpt_neox").dimensions, 64);
    t.is(rope({ partial_rotary_factor: 0.75 }, "phi3").dimensions, 48);
});

test("what can't be reproduced is refused by name", (t) => {
    t.throws(() => rope({ rope_scaling: { type: "yarn", factor: 2 } }), {
        name: "ArmtError",
        message: /RoPE type "yarn"/
    });
    t.throws(() => rope({ rope_scaling: { type: "linear" } }), { message: /has no `factor`/ });
    t.throws(() => rope({ partial_rotary_factor: 0.5 }), { message: /`partial_rotary_factor` is 0\.5/ });
    t.throws(() => rope({ rope_theta: -1 }), { message: /`rope_theta` is -1/ });
    t.throws(() => rope({ rope_scaling: { rope_type: "llama3", ...llama3, high_freq_factor: 1 } }), {
        message: /more than low_freq_factor/
    });
});

test("llama3 scaling leaves short wavelengths, divides long ones and interpolates between", (t) => {
    const divisors = llama3FrequencyDivisors(500_000, 64, parsed);
    t.is(divisors.length, 32);
    t.true(divisors.subarray(0, 15).every((value) => value === 1));
    t.true(divisors.subarray(18).every((value) => value === 32));
    // Computed apart, by the formula of Llama 3.1's reference code, for Llama 3.2 1B's parameters.
    const between = [1.65133, 3.29226, 9.66673];
    for (const [i, expected] of between.entries()) t.true(Math.abs(divisors[15 + i]! - expected) < 1e-5, `${15 + i}`);
});
