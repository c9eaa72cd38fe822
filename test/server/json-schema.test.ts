import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import test from "ava";
import fc from "fast-check";
import { getLlama, type Llama, LlamaLogLevel } from "../../plugin/index.js";
import { compileSchema } from "../../src/server/engine/json-schema/compile.js";
import { ApiError } from "../../src/server/errors.js";
import { GrammarSampler } from "../helpers/gbnf.js";

const param = "schema";
const ajv = new Ajv2020({ strict: false });
addFormats.default(ajv);

let llama: Promise<Llama> | undefined;
const openLlama = () => (llama ??= getLlama({ logLevel: LlamaLogLevel.disabled, maxThreads: 1 }));

function grammarOf(schema: unknown): string {
    const { root, rules } = compileSchema(schema, { param });
    return rules.print(root);
}

/** Draws texts of a grammar, and fails for one that is not JSON or not valid. */
async function checkSamples(schema: unknown, seed: number, count: number): Promise<string[]> {
    const grammar = grammarOf(schema);
    const native = await (await openLlama()).createGrammar({ grammar });
    const isCompatible = (text: string) => (native as unknown as { _testText(text: string): boolean })._testText(text);
    const sampler = new GrammarSampler(grammar);
    const validate = ajv.compile(schema as object | boolean);
    const generator = random(seed);
    return Array.from({ length: count }, () => {
        const text = sampler.sample(generator);
        if (!isCompatible(text)) throw new Error(`llama.cpp refuses ${text}`);
        if (!validate(JSON.parse(text))) throw new Error(`${text}: ${ajv.errorsText(validate.errors)}`);
        return text;
    });
}

/** Mulberry32. */
function random(seed: number): (count: number) => number {
    let state = seed;
    return (count) => {
        state = (state + 0x6d2b79f5) | 0;
        let value = Math.imul(state ^ (state >>> 15), 1 | state);
        value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
        return Math.floor((((value ^ (value >>> 14)) >>> 0) / 2 ** 32) * count);
    };
}

function refusal(schema: unknown): ApiError {
    try {
        grammarOf(schema);
    } catch (error) {
        if (error instanceof ApiError) return error;
        throw error;
    }
    throw new Error(`not refused: ${JSON.stringify(schema)}`);
}

const name = fc.oneof(
    fc.constantFrom(
        "a",
        "ab",
        "abc",
        "b",
        "constructor",
        "toString",
        "",
        "$ref",
        'q"uote',
        "back\\slash",
        "ключ",
        "🦙",
        "new\nline"
    ),
    fc.string({ maxLength: 3 })
);
const scalar = fc.oneof(
    fc.string({ maxLength: 5, unit: "binary" }),
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.boolean(),
    fc.constant(null)
);
const count = fc.nat({ max: 4 });
const range = (min: string, max: string) =>
    fc.tuple(fc.option(count, { nil: undefined }), fc.option(count, { nil: undefined })).map(([from, more]) => ({
        ...(from === undefined ? {} : { [min]: from }),
        ...(more === undefined ? {} : { [max]: (from ?? 0) + more })
    }));

const { schema: anySchema } = fc.letrec<{ schema: unknown; object: object }>((tie) => ({
    object: fc
        .tuple(
            fc.array(
                fc.tuple(
                    name.filter((text) => text !== "__proto__"),
                    tie("schema")
                ),
                { maxLength: 4 }
            ),
            fc.subarray([0, 1, 2, 3]),
            fc.option(fc.oneof(fc.boolean(), tie("schema")), { nil: undefined }),
            fc.oneof(
                { weight: 3, arbitrary: fc.constant({}) },
                { weight: 1, arbitrary: range("minProperties", "maxProperties") }
            )
        )
        .map(([properties, required, additionalProperties, counts]) => ({
            type: "object",
            properties: Object.fromEntries(properties),
            required: [...new Set(properties.map(([key]) => key))].filter((_, i) => required.includes(i)),
            ...(additionalProperties === undefined ? {} : { additionalProperties }),
            ...counts
        })),
    schema: fc.oneof(
        { depthSize: "small", withCrossShrink: true },
        fc.constantFrom({}, true, { title: "Any" }),
        fc.constantFrom("integer", "number", "boolean", "null").map((type) => ({ type })),
        range("minLength", "maxLength").map((lengths) => ({ type: "string", ...lengths })),
        fc.constantFrom("date", "time", "date-time", "uuid").map((format) => ({ type: "string", format })),
        scalar.map((value) => ({ const: value })),
        fc
            .array(fc.oneof(scalar, fc.array(scalar, { maxLength: 2 })), { minLength: 1, maxLength: 4 })
            .map((values) => ({ enum: values })),
        fc.subarray(["string", "integer", "null", "object", "array"], { minLength: 1 }).map((type) => ({ type })),
        tie("object"),
        fc
            .tuple(
                fc.option(tie("schema"), { nil: undefined }),
                fc.array(tie("schema"), { maxLength: 3 }),
                range("minItems", "maxItems")
            )
            .map(([items, prefixItems, counts]) => ({
                type: "array",
                ...(items === undefined ? {} : { items }),
                ...(prefixItems.length === 0 ? {} : { prefixItems }),
                ...counts
            })),
        fc
            .tuple(fc.constantFrom("anyOf", "oneOf"), fc.array(tie("schema"), { minLength: 1, maxLength: 3 }))
            .map(([key, list]) => ({ [key]: list }))
    )
}));

test("what a grammar lets through is JSON that is valid by its schema", async (t) => {
    let refused = 0;
    let drawn = 0;
    await fc.assert(
        fc.asyncProperty(anySchema, fc.nat(), async (schema, seed) => {
            try {
                drawn += (await checkSamples(schema, seed, 8)).length;
            } catch (error) {
                if (!(error instanceof ApiError)) throw error;
                t.is(error.status, 400);
                t.truthy(error.details.param?.startsWith(param));
                refused++;
            }
        }),
        { numRuns: 400 }
    );
    t.true(drawn > 1000, `${drawn} texts, ${refused} schemas refused`);
});

test("any value is valid where a schema says nothing", async (t) => {
    for (const schema of [
        {},
        true,
        { title: "x" },
        { type: "array", items: {} },
        { properties: { a: {} }, required: ["a"] }
    ])
        t.is((await checkSamples(schema, 1, 30)).length, 30);
    t.true(new GrammarSampler(grammarOf({})).sample(random(3)) !== "");
    t.is(refusal(false).status, 400);
});

test("references, records and alternatives that can be told apart keep to their schema", async (t) => {
    const $defs = {
        node: {
            type: "object",
            properties: { v: { type: "integer" }, next: { anyOf: [{ $ref: "#/$defs/node" }, { type: "null" }] } },
            required: ["v", "next"],
            additionalProperties: false
        },
        "odd/name ~": { type: "boolean" }
    };
    const kind = (name: string, value: object) => ({
        type: "object",
        properties: { kind: { const: name }, value },
        required: ["kind", "value"]
    });
    const schemas: object[] = [
        { $ref: "#/$defs/node", $defs },
        { type: "array", items: { $ref: "#/$defs/odd~1name%20~0" }, maxItems: 3, $defs },
        { type: "object", properties: { sub: { $ref: "#" }, x: { type: "null" } } },
        {
            oneOf: [kind("a", { type: "string" }), kind("b", { type: "array" })],
            discriminator: { propertyName: "kind" }
        },
        { oneOf: [{ type: "string" }, { type: "number" }, { type: "null" }] },
        { allOf: [{ type: "boolean" }], title: "one" },
        { type: "object", additionalProperties: { type: "boolean" }, minProperties: 1, maxProperties: 3 },
        { type: "object", propertyNames: { enum: ["a", "b"] }, additionalProperties: { type: "integer" } },
        { type: "object", properties: { ab: { type: "null" } }, additionalProperties: { type: "string" } },
        { type: "object", required: ["id"], additionalProperties: { type: "number" } },
        { type: ["string", "null"], enum: ["x", null, 3] }
    ];
    for (const [seed, schema] of schemas.entries()) t.is((await checkSamples(schema, seed, 40)).length, 40);
});

test("what a grammar cannot keep to is refused, with the name of the keyword", (t) => {
    const refused: [schema: unknown, name: string][] = [
        [{ type: "string", pattern: "^a" }, "schema.pattern"],
        [{ type: "integer", minimum: 3 }, "schema.minimum"],
        [{ type: "object", properties: { a: { not: {} } } }, "schema.properties.a.not"],
        [{ type: "array", items: {}, uniqueItems: true }, "schema.uniqueItems"],
        [{ type: "object", additionalProperties: {}, minProperties: 2 }, "schema.minProperties"],
        [{ type: "object", additionalProperties: false, required: ["a"] }, "schema.required"],
        [{ oneOf: [{ type: "integer" }, { type: "number" }] }, "schema.oneOf"],
        [{ oneOf: [{ enum: ["a", "b"] }, { enum: ["b"] }] }, "schema.oneOf"],
        [{ enum: ["a"], type: "integer" }, "schema.enum"],
        [{ $ref: "#/$defs/none" }, "schema.$ref"],
        [{ $ref: "https://example.org/schema" }, "schema.$ref"],
        [{ $ref: "#" }, "schema"],
        [{ anyOf: [{ $ref: "#" }, { type: "null" }] }, "schema"],
        [{ type: "array", minItems: 3, maxItems: 2 }, "schema.minItems"],
        [{ type: "string", format: "regex" }, "schema.format"],
        [{ type: "text" }, "schema.type"]
    ];
    for (const [schema, name] of refused) {
        const { status, details, message } = refusal(schema);
        t.is(status, 400);
        t.is(details.param, name, message);
    }
});

test("a schema that would take long is refused at once", (t) => {
    const many = <T>(count: number, make: (i: number) => T) => Array.from({ length: count }, (_, i) => make(i));
    const object = (count: number, make: (i: number) => object, more: object = {}) => ({
        type: "object",
        properties: Object.fromEntries(many(count, (i) => [`property ${i}`, make(i)])),
        ...more
    });
    const list = (name: string, more: object = {}) => ({ type: "array", items: { $ref: `#/$defs/${name}` }, ...more });
    const schemas: object[] = [
        object(1990, () => ({ type: "string" })),
        object(1000, () => ({ type: "string" }), { minProperties: 500, maxProperties: 700 }),
        object(900, () => ({ type: "null" }), { additionalProperties: { type: "boolean" } }),
        object(900, () => ({ type: "string", minLength: 1000 })),
        { enum: many(2000, (i) => `${i} ${"x".repeat(80)}`) },
        { enum: many(2000, (i) => `${i} ${"x".repeat(8000)}`) },
        { oneOf: many(900, (i) => object(1, () => ({ const: i }), { required: ["property 0"] })) },
        many(40, () => 0).reduce<object>((inside) => ({ type: "array", items: inside }), {}),
        many(18, () => 0).reduce<object>((inside) => ({ type: "array", prefixItems: [inside, inside] }), {}),
        // alternatives that begin alike, doubled with each level
        {
            $ref: "#/$defs/0",
            $defs: Object.fromEntries(
                many(15, (i) => [i, i === 14 ? {} : { anyOf: [list(`${i + 1}`), list(`${i + 1}`, { maxItems: 5 })] }])
            )
        },
        { $ref: "#/$defs/n", $defs: { n: { anyOf: [list("n"), list("n", { maxItems: 3 }), { type: "null" }] } } }
    ];
    for (const [i, schema] of schemas.entries()) {
        const before = process.cpuUsage();
        const { details } = refusal(schema);
        const { user } = process.cpuUsage(before);
        t.true(details.param!.startsWith(param));
        t.true(user < 400_000, `schema ${i} took ${user / 1000} ms`);
    }
});
