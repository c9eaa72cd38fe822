import test from "ava";
import fc from "fast-check";
import { LosslessNumber } from "lossless-json";
import { compileSchema } from "../../src/server/engine/json-schema/compile.js";
import { ApiError } from "../../src/server/errors.js";
import { GrammarSampler } from "../helpers/gbnf.js";
import {
    acceptorOf,
    checkSamples,
    grammarOf,
    param,
    random,
    refusal,
    validatorOf
} from "../helpers/grammar-samples.js";
import { paced } from "../helpers/pace.js";
import { propertySeed } from "../helpers/property.js";

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

const formats = [
    "date",
    "time",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uuid",
    "byte",
    "uri-reference",
    "url",
    "json-pointer"
];
const patterns = [
    "^a",
    "b+$",
    "^[a-f\\d]{2,4}$",
    "x|^y$|z",
    "^(?!a)(?=.*[0-9]).{1,9}$",
    "^(?:a(?!b)|b(?=c)).*$",
    "^\\w+(?:-\\w+)*$",
    '^[^\\s"\\\\]*$',
    "é|\\u00e8|\\u{1F600}",
    "^\\p{Lu}\\P{L}?$",
    ""
];
const number = fc.oneof(
    fc.integer({ min: -1200, max: 1200 }),
    fc.integer({ min: -1_000_000, max: 1_000_000 }).map((value) => value / 1000),
    fc.constantFrom(0, 1e-7, 1e22, -1e22, 2 ** 53 - 1, 1 - 2 ** 53, 3.4e38, 0.1 + 0.2)
);
const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const bounds = fc
    .record({
        minimum: maybe(number),
        exclusiveMinimum: maybe(number),
        maximum: maybe(number),
        exclusiveMaximum: maybe(number),
        multipleOf: maybe(fc.constantFrom(1, 2, 5, 7, 60, 0.5, 0.25, 0.01))
    })
    .map((all) => Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)));

const { schema: anySchema } = fc.letrec<{ schema: unknown; object: { properties?: object } }>((tie) => ({
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
        fc
            .tuple(fc.constantFrom(...formats), range("minLength", "maxLength"), fc.boolean())
            .map(([format, lengths, isCounted]) => ({ type: "string", format, ...(isCounted ? lengths : {}) })),
        fc
            .tuple(fc.constantFrom(...patterns), range("minLength", "maxLength"))
            .map(([pattern, lengths]) => ({ type: "string", pattern, ...lengths })),
        fc.tuple(fc.constantFrom("integer", "number"), bounds).map(([type, about]) => ({ type, ...about })),
        fc.uniqueArray(fc.constantFrom("a", "b", 1, null, true), { minLength: 1 }).chain((values) =>
            range("minItems", "maxItems").map((counts) => ({
                type: "array",
                items: { enum: values },
                uniqueItems: true,
                ...counts
            }))
        ),
        fc
            .tuple(fc.constantFrom(...patterns), tie("schema"), tie("object"))
            .map(([pattern, value, { properties }]) => ({
                type: "object",
                ...(properties === undefined ? {} : { properties }),
                patternProperties: { [pattern]: value }
            })),
        fc.tuple(fc.constantFrom(...patterns), tie("schema")).map(([pattern, value]) => ({
            type: "object",
            propertyNames: { pattern, maxLength: 9 },
            additionalProperties: value
        })),
        fc.array(fc.oneof(tie("object"), tie("schema")), { minLength: 1, maxLength: 2 }).map((allOf) => ({ allOf })),
        scalar.map((value) => ({ const: value })),
        fc
            .array(fc.oneof(scalar, fc.array(scalar, { maxLength: 2 })), { minLength: 1, maxLength: 4 })
            .map((values) => ({ enum: values })),
        fc.array(fc.array(scalar, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 2 }).map((lists) => ({
            allOf: lists.map((list) => ({ enum: [...list, "a", null] })),
            maxLength: 3,
            minimum: 0
        })),
        fc.subarray(["string", "integer", "null", "object", "array"], { minLength: 1 }).map((type) => ({ type })),
        // of OpenAPI, and keywords about values of other kinds
        fc
            .tuple(
                fc.constantFrom("string", "integer", "number"),
                fc.constantFrom("int32", "int64", "float", "double"),
                fc.boolean(),
                bounds
            )
            .map(([type, format, nullable, about]) => ({ type, format, nullable, items: false, ...about })),
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
        { seed: propertySeed, numRuns: 400 }
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
        { type: ["string", "null"], enum: ["x", null, 3] },
        { type: "string", minLength: 7, maxLength: 3500 },
        { type: "array", items: { type: "boolean" }, maxItems: 10_000 },
        { anyOf: [{ minimum: 3 }, { maximum: -3 }], type: "integer" },
        { $ref: "#/$defs/node", $defs, maxProperties: 2 },
        {
            allOf: [
                { type: "object", properties: { a: { type: "integer" } }, required: ["a"] },
                { properties: { a: { minimum: 3 }, b: { type: "null" } }, additionalProperties: false }
            ]
        }
    ];
    for (const [seed, schema] of schemas.entries()) t.is((await checkSamples(schema, seed, 40)).length, 40);
});

test("items of several schemas, and different items, keep to their schema", async (t) => {
    const unique = (items: object, more: object = {}) => ({ type: "array", items, uniqueItems: true, ...more });
    const [a, b] = [
        { a: 1, b: 2 },
        { b: 2, a: 1 }
    ];
    const schemas: object[] = [
        unique({ type: "string", enum: ["a", "b", 3] }, { minItems: 1 }),
        unique({ allOf: [{ enum: ["a", 1, 2] }, { type: "integer" }] }, { minItems: 2 }),
        unique({ enum: [a, b, [a], [b], 0, -0, "0"] }, { minItems: 4 }),
        unique({ const: null }),
        unique({ enum: [1, 5], const: 5 }),
        { allOf: [{ prefixItems: [{ type: "integer" }, {}] }, { items: { minimum: 3 }, minItems: 1 }] },
        { allOf: [{ prefixItems: [{}], items: { type: "boolean" } }, { prefixItems: [{ type: "null" }, {}, {}] }] },
        { anyOf: [{ type: "array", items: { $ref: "#" }, minItems: 1 }, { type: "null" }] }
    ];
    for (const schema of schemas) t.is((await checkSamples(schema, 5, 40)).length, 40, JSON.stringify(schema));
    const draft7 = { allOf: [{ items: [{ type: "integer" }], additionalItems: { type: "null" } }, { maxItems: 3 }] };
    t.is((await checkSamples(draft7, 5, 40, "draft-7")).length, 40);
    t.is(refusal(unique({ enum: [a, b, 0, -0] }, { minItems: 3 })).details.param, "schema.minItems");
});

test("schemas that OpenAPI's generators write keep to their schema", async (t) => {
    const drawn = async (schema: object) =>
        new Set((await checkSamples(schema, 7, 40)).map((text) => text.replaceAll(" ", "")));
    const nullable = { nullable: true };
    t.true((await drawn({ type: "boolean", ...nullable })).has("null"));
    t.false((await drawn({ type: "boolean", nullable: false })).has("null"));
    // null has to be listed, too
    t.deepEqual(await drawn({ type: "string", enum: ["a"], ...nullable }), new Set(['"a"']));
    t.true((await drawn({ type: "string", enum: ["a", null], ...nullable })).has("null"));
    t.deepEqual(await drawn({ type: "integer", format: "int32", enum: [0, 3e9, 1.5] }), new Set(["0"]));
    const long = new LosslessNumber("9223372036854775807");
    t.true(grammarOf({ type: "integer", format: "int64", enum: [1, long] }).includes("9223372036854775807"));
    t.true((await drawn({ type: "array", items: { type: "integer", format: "int64" }, maxItems: 2 })).size > 9);
    t.true((await drawn({ type: "number", format: "double" })).size > 9);
    t.true((await drawn({ type: "string", additionalProperties: false })).size > 9);
    t.deepEqual(await drawn({ type: "array", items: { not: {} } }), new Set(["[]"]));
    t.deepEqual(await drawn({ anyOf: [{ not: {} }, { type: "null" }] }), new Set(["null"]));
    const open = { properties: { a: { type: "null" } }, unevaluatedProperties: { type: "boolean" }, maxProperties: 1 };
    t.true((await drawn({ type: "object", ...open })).has('{"a":null}'));
    t.deepEqual(
        await drawn({ type: "object", unevaluatedProperties: { not: {} } }),
        await drawn({ type: "object", maxProperties: 0 })
    );
    const pet = { type: "object", properties: { kind: { type: "string", enum: ["cat", "dog"] } }, required: ["kind"] };
    const cat = { properties: { kind: { enum: ["cat", "lynx"] } }, xml: { name: "cat" } };
    t.deepEqual(
        await drawn({ allOf: [pet, cat, { maxProperties: 1 }] }),
        await drawn({
            ...pet,
            properties: { kind: { const: "cat" } }
        })
    );
    const components = { schemas: { Pet: { type: "null" } } };
    t.deepEqual(await drawn({ $ref: "#/components/schemas/Pet", components }), new Set(["null"]));
    t.is(refusal({ allOf: [{ enum: ["a"] }, { const: "b" }] }).details.param, "schema.allOf");

    for (const [type, quote] of [
        ["integer", ""],
        ["number", ""],
        ["string", '"']
    ] as const)
        for (const [format, low, high] of [
            ["int64", -(2n ** 63n), 2n ** 63n - 1n],
            ["uint64", 0n, 2n ** 64n - 1n]
        ] as const) {
            const accepts = await acceptorOf(grammarOf({ type, format }));
            const isIn = [low, low - 1n, high, high + 1n].map((value) => accepts(`${quote}${value}${quote}`));
            t.deepEqual(isIn, [true, false, true, false], `${type} ${format}`);
        }
    t.is(refusal({ type: "integer", format: "phone" }).details.param, "schema.format");
});

test("the arguments of a call are an object, whatever the schema's form", (t) => {
    const rootOf = (schema: unknown) => {
        const { root, rules } = compileSchema(schema, { param, object: true });
        return rules.print(root);
    };
    const $defs = { text: { type: "string" }, args: { type: "object", properties: { a: { type: "null" } } } };
    for (const schema of [
        { type: ["object", "null"] },
        { type: "object", nullable: true },
        { type: null, properties: {} },
        { $ref: "#/$defs/args", $defs },
        { anyOf: [{ $ref: "#/$defs/args" }, { $ref: "#/$defs/text" }, { type: "null" }], $defs }
    ]) {
        const sampler = new GrammarSampler(rootOf(schema));
        const generator = random(2);
        for (let i = 0; i < 20; i++) t.regex(sampler.sample(generator), /^\{/, JSON.stringify(schema));
    }
    for (const schema of [{ $ref: "#/$defs/text", $defs }, { enum: ["a"] }, { type: ["string", "null"] }])
        t.throws(() => rootOf(schema), { instanceOf: ApiError }, JSON.stringify(schema));
});

test("what a grammar cannot keep to is refused, with the name of the keyword", (t) => {
    const refused: [schema: unknown, name: string][] = [
        [{ type: "string", pattern: "(a)\\1" }, "schema.pattern"],
        [{ type: "string", pattern: "\\ba" }, "schema.pattern"],
        [{ type: "string", pattern: "^(?:a(?=.*z))+" }, "schema.pattern"],
        [{ type: "string", pattern: "(?<=a)b" }, "schema.pattern"],
        [{ type: "string", pattern: "(" }, "schema.pattern"],
        [{ type: "string", pattern: "[a-z]{900}[a-z]{900}.{900}[a-z]{9000}" }, "schema.pattern"],
        [{ type: "string", pattern: "^(?!)a$" }, "schema.pattern"],
        [{ type: "string", format: "date", pattern: "^x" }, "schema.pattern"],
        [{ type: "integer", minimum: 3, maximum: 2 }, "schema.minimum"],
        [{ type: "integer", minimum: 3, maximum: 5, multipleOf: 6 }, "schema.minimum"],
        [{ type: "number", minimum: "3" }, "schema.minimum"],
        [{ type: "number", multipleOf: 0 }, "schema.multipleOf"],
        [{ type: "number", multipleOf: 1e-9 }, "schema.multipleOf"],
        [{ type: "object", properties: { a: { not: { type: "null" } } } }, "schema.properties.a.not"],
        [{ type: "array", items: {}, uniqueItems: true }, "schema.uniqueItems"],
        [{ type: "array", items: { enum: [1, 5], minimum: 3 }, uniqueItems: true }, "schema.uniqueItems"],
        [
            { allOf: [{ prefixItems: [{ type: "integer" }] }, { items: { type: "null" } }] },
            "schema.prefixItems.0.allOf"
        ],
        [{ allOf: [{ type: "string" }, { type: "integer" }] }, "schema.allOf"],
        [{ type: "object", patternProperties: { "^a": {} }, properties: { ab: {} } }, "schema.patternProperties"],
        [{ type: "object", properties: { b: {} }, propertyNames: { pattern: "^a" } }, "schema.propertyNames"],
        [{ type: "object", additionalProperties: {}, minProperties: 2 }, "schema.minProperties"],
        [{ type: "object", additionalProperties: false, required: ["a"] }, "schema.required"],
        [{ type: "object", properties: { constructor: false } }, "schema.properties.constructor"],
        [
            {
                allOf: [
                    { properties: {}, additionalProperties: false },
                    { properties: { toString: { type: "object" } } }
                ]
            },
            "schema.properties.toString"
        ],
        [{ oneOf: [{ type: "integer" }, { type: "number" }] }, "schema.oneOf"],
        [{ oneOf: [{ enum: ["a", "b"] }, { enum: ["b"] }] }, "schema.oneOf"],
        [{ oneOf: [{ const: { a: [1], b: 2 } }, { const: { b: 2, a: [1] } }] }, "schema.oneOf"],
        [{ oneOf: [{ const: new LosslessNumber("1.0") }, { const: 1 }] }, "schema.oneOf"],
        [{ enum: ["a"], type: "integer" }, "schema.enum"],
        [{ $ref: "#/$defs/none" }, "schema.$ref"],
        [{ $ref: "https://example.org/schema" }, "schema.$ref"],
        [{ $ref: "#" }, "schema"],
        [{ anyOf: [{ $ref: "#" }, { type: "null" }] }, "schema"],
        // values that never end
        [{ properties: { a: { $ref: "#" } }, required: ["a"] }, "schema"],
        [{ type: "array", items: { anyOf: [{ $ref: "#" }, { $ref: "#" }] }, minItems: 1 }, "schema"],
        [{ type: "object", additionalProperties: { $ref: "#" }, minProperties: 1 }, "schema"],
        [{ properties: { ["__proto__"]: {} }, additionalProperties: false }, "schema.properties.__proto__"],
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
    const pattern = (source: string, more: object = {}) => ({ type: "string", pattern: source, ...more });
    const patterns = (count: number, make: (i: number) => string) => object(count, (i) => pattern(make(i)));
    const letter = (i: number) => String.fromCodePoint(0x400 + i);
    const defs = (count: number, make: (next: object, i: number) => object) => ({
        $ref: "#/$defs/0",
        $defs: Object.fromEntries(
            many(count, (i) => [i, i === count - 1 ? { type: "string" } : make({ $ref: `#/$defs/${i + 1}` }, i)])
        )
    });
    const properties = ["L", "N", "P", "S", "Z", "M", "Lu", "Ll", "Nd", "Po", "Sm", "Sc", "Alphabetic", "Emoji"];
    const schemas: object[] = [
        // nested quantifiers, and choices that must be remembered
        pattern("^((((a{1,9}){1,9}){1,9}){1,9})$"),
        pattern("^([a-z]{1,50}){1,50}$"),
        pattern("(a|b)*a(a|b){12}"),
        pattern(`^${"a?".repeat(1000)}$`),
        patterns(30, (i) => `(a|b)*a(a|b){8}${i}`),
        // large counts
        pattern("a{1000}"),
        pattern("a{0,1000}b"),
        pattern("^(a{1000}){1000}$"),
        pattern("x".repeat(3000)),
        pattern(`^${"[a-z]".repeat(20_000)}$`),
        object(12, (i) => pattern("^(ab|cd|ef)+$", { minLength: 700 + i })),
        // classes of characters
        pattern(`^(${properties.map((name) => `\\p{${name}}?`).join("")}){4}$`),
        pattern("(\\p{L}|\\p{N})*\\p{L}(\\p{L}|\\p{N}){7}"),
        pattern(`^${many(300, (i) => `[^${letter(i)}]`).join("")}$`),
        pattern(`(${many(200, (i) => `[^${letter(i)}]${letter(i)}`).join("|")})*`),
        pattern(`[${many(20_000, (i) => String.fromCodePoint(0x4e00 + 2 * (i % 9000))).join("")}]{9}`),
        // many words, patterns and assertions
        pattern(many(700, (i) => `word${i * 7919}`).join("|")),
        patterns(300, (i) => `${i}x.*y${i}`),
        pattern(`^${many(12, (i) => `(?=.*${letter(i)})`).join("")}.*$`),
        { allOf: many(30, (i) => pattern(`x${i}`)) },
        {
            type: "object",
            properties: Object.fromEntries(many(200, (i) => [`name${i}`, {}])),
            patternProperties: Object.fromEntries(many(60, (i) => [`^x${i}`, {}]))
        },
        pattern(`${"(".repeat(5000)}a${")".repeat(5000)}`),
        // numbers
        object(300, (i) => ({ type: "number", minimum: i + 0.123456, maximum: 98765.4321 + i })),
        object(20, (i) => ({ type: "integer", multipleOf: 1900 + i })),
        // references that go round, or double with each level
        { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } } },
        { $ref: "#/$defs/a", $defs: { a: { allOf: [{ $ref: "#/$defs/a" }] } } },
        { $ref: "#/$defs/a", $defs: { a: { oneOf: [{ $ref: "#/$defs/a" }, { type: "null" }] } } },
        { anyOf: many(500, (i) => ({ $ref: `#/anyOf/${(i + 1) % 500}` })) },
        defs(30, (next) => ({ allOf: [next, next] })),
        defs(25, (next) => ({ oneOf: [next, next] })),
        defs(30, (next) => object(2, (i) => ({ allOf: [next, { minLength: i }] }))),
        // long lists
        { type: "object", required: many(40_000, (i) => `name ${i}`), additionalProperties: true },
        { allOf: many(99, (i) => ({ properties: Object.fromEntries(many(100, (k) => [`${i} ${k}`, {}])) })) },
        { oneOf: many(100, (i) => ({ enum: many(2000, (k) => `${i} ${k}`) })) },
        { oneOf: many(90, (i) => ({ const: `${"x".repeat(10_000)}${i}` })) },
        object(0, () => ({}), { properties: { ["x".repeat(9999)]: {} }, additionalProperties: true }),
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
    // processor time. Unit: milliseconds
    const limit = 100;
    for (const schema of schemas) {
        const what = JSON.stringify(schema).slice(0, 80);
        // the first attempts include what runs once, such as a list of all letters
        let took = Number.POSITIVE_INFINITY;
        for (let attempt = 0; attempt < 5 && took >= limit; attempt++) {
            const before = process.cpuUsage();
            const { details, status } = refusal(schema);
            const { user, system } = process.cpuUsage(before);
            t.is(status, 400, what);
            t.true(details.param!.startsWith(param), what);
            took = Math.min(took, (user + system) / 1000);
        }
        t.true(took < limit || took < paced(limit), `${what} took ${took} ms`);
    }
});

test("patterns and numbers of ordinary forms fit into a grammar", async (t) => {
    const password = "^(?=.*[a-z])(?=.*[A-Z])(?=.*\\d)(?=.*[@$!%*?&])[A-Za-z\\d@$!%*?&]{8,64}$";
    const name = "^\\p{Lu}[\\p{L}\\p{M}]*(?:[ '-]\\p{Lu}?[\\p{L}\\p{M}]+)*$";
    const schema = {
        type: "object",
        properties: {
            name: { type: "string", pattern: name },
            city: { type: "string", pattern: "^[\\p{L}\\p{M}' -]{1,100}$" },
            password: { type: "string", pattern: password },
            latitude: { type: "number", minimum: -90, maximum: 90 },
            price: { type: "number", multipleOf: 0.01, minimum: 0 }
        },
        required: ["name", "city", "password", "latitude", "price"],
        additionalProperties: false
    };
    await checkSamples(schema, 20, 50);
    // what is known from before costs the same again
    t.is(grammarOf(schema), grammarOf(schema));
    t.regex(refusal({ type: "integer", multipleOf: 359 }).message, /multipleOf.* is too large for a grammar/);
});

test("exponents of any size take no time, and what they make of a bound is exact", (t) => {
    const long = (text: string) => new LosslessNumber(text);
    const before = process.cpuUsage();
    const number = (minimum: unknown) => grammarOf({ type: "number", minimum, maximum: 3 });
    const [aboveZero, belowZero] = [number(1e-7), number(-1e-7)];
    for (const text of ["1e-99999999", "0.001e-500", `0.${"0".repeat(700)}1`, `${"1".repeat(300)}e-9999`])
        t.is(number(long(text)), aboveZero, text.slice(0, 20));
    t.is(number(long("-1e-99999999")), belowZero);
    for (const text of ["0e99999999", "-0e-99999999", "0.0e999"]) t.is(number(long(text)), number(0), text);
    t.is(number(long(`1${"0".repeat(500)}e-500`)), number(1));
    t.is(number(long(`1${"0".repeat(499)}1e-500`)), number(1.0000001));
    for (const text of ["1e-99999999", "1e-401"])
        t.is(refusal({ type: "number", multipleOf: long(text) }).details.param, "schema.multipleOf");
    const { user, system } = process.cpuUsage(before);
    // without a limit, one of them took a minute
    t.true(user + system < 5_000_000, `${user + system} µs`);
});

const decimal = fc
    .tuple(fc.bigInt({ min: -(10n ** 19n), max: 10n ** 19n }), fc.nat({ max: 20 }))
    .map(([value, digits]) => value / 10n ** BigInt(digits));

test("integers of a grammar are those within its bounds, to the last digit", async (t) => {
    const long = (value: bigint) => new LosslessNumber(String(value));
    let inside = 0;
    await fc.assert(
        fc.asyncProperty(decimal, decimal, fc.boolean(), fc.boolean(), async (a, b, isAbove, isBelow) => {
            // an excluded bound keeps a distance if floating-point numbers near it are further away
            const isExact = [a, b].every((value) => value > -(2n ** 51n) && value < 2n ** 51n);
            const [low, high] = a <= b ? [a, b] : [b, a];
            const [first, last] = [isAbove && isExact ? low + 1n : low, isBelow && isExact ? high - 1n : high];
            const schema = {
                type: "integer",
                [isAbove && isExact ? "exclusiveMinimum" : "minimum"]: long(low),
                [isBelow && isExact ? "exclusiveMaximum" : "maximum"]: long(high)
            };
            if (first > last) return void t.is(refusal(schema).status, 400);
            const accepts = await acceptorOf(grammarOf(schema));
            const near = [first, last, 0n, (first + last) / 2n, first / 10n, last / 10n, first * 10n, last * 10n];
            for (const value of near.flatMap((each) => [each - 1n, each, each + 1n])) {
                const isIn = value >= first && value <= last;
                if (isIn) inside++;
                if (accepts(String(value)) !== isIn) t.fail(`${first} to ${last}: ${value}`);
            }
        }),
        { seed: propertySeed, numRuns: 150 }
    );
    t.true(inside > 500, `${inside}`);
});

test("numbers of a grammar are those within its bounds, and multiples, as ajv finds", async (t) => {
    let inside = 0;
    await fc.assert(
        fc.asyncProperty(fc.constantFrom("integer", "number"), bounds, fc.nat(), async (type, about, seed) => {
            const schema = { type, ...about };
            let texts: string[];
            try {
                texts = await checkSamples(schema, seed, 5);
            } catch (error) {
                if (error instanceof ApiError) return;
                throw error;
            }
            const accepts = await acceptorOf(grammarOf(schema));
            const validate = validatorOf(schema);
            const given = Object.values(about).filter((value) => value !== undefined && Math.abs(value) < 1e6);
            for (const near of [...given, ...texts.map(Number)] as number[])
                for (const step of [0, 1, -1, 0.01, -0.01]) {
                    const value = Number((near + step).toFixed(6));
                    // the grammar leaves out many digits, and ajv takes large quotients for fractions
                    const most = about.multipleOf === undefined ? 1e9 : 1e4;
                    if (Math.abs(value) >= most || /e/.test(String(value)) || Object.is(value, -0)) continue;
                    if (validate(value)) inside++;
                    if (accepts(String(value)) !== validate(value))
                        t.fail(
                            `${JSON.stringify(schema)}: ${value} is ${validate(value) ? "left out" : "let through"}`
                        );
                }
        }),
        { seed: propertySeed, numRuns: 300 }
    );
    t.true(inside > 300, `${inside}`);
});

test("many numbers with bounds of their own fit into a grammar at once", async (t) => {
    const object = (make: (i: number) => object) => {
        const names = Array.from({ length: 60 }, (_, i) => `property ${i}`);
        const properties = Object.fromEntries(names.map((each, i) => [each, make(i)]));
        return { type: "object", properties, required: names, additionalProperties: false };
    };
    const schemas = [
        object((i) => ({ type: "integer", minimum: i, maximum: 2 ** 53 - 1 })),
        object((i) => ({ type: "integer", minimum: -i })),
        object((i) => ({ type: "integer", format: "int32", minimum: i, maximum: 1000 + 7 * i })),
        object((i) => ({ type: "integer", minimum: -(2 ** 45) * (i + 1) - 1, maximum: 3 ** 30 * (i + 1) })),
        object((i) => ({ type: "integer", exclusiveMinimum: i, multipleOf: 60 })),
        object((i) => ({ type: "number", minimum: i, multipleOf: 0.01 })),
        object((i) => ({ type: "number", exclusiveMinimum: i + 0.123456, maximum: 98765.4321 + i }))
    ];
    const limit = 100;
    for (const [i, schema] of schemas.entries()) {
        let took = Number.POSITIVE_INFINITY;
        for (let attempt = 0; attempt < 5 && took >= limit; attempt++) {
            const before = process.cpuUsage();
            const grammar = grammarOf(schema);
            const { user, system } = process.cpuUsage(before);
            took = Math.min(took, (user + system) / 1000);
            t.true(grammar.length < 100_000, `${grammar.length}`);
        }
        t.true(took < limit || took < paced(limit), `schema ${i} took ${took} ms`);
        await checkSamples(schema, i, 3);
    }
    // rests of digits are written once
    const [one, all] = [grammarOf({ type: "integer", minimum: 3 }), grammarOf(schemas[0])];
    t.true(all.length < 20 * one.length, `${one.length} characters for one, ${all.length} for all`);
});
