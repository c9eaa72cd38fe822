import test from "ava";
import { z } from "zod";
import { checkSamples, refusal } from "../helpers/grammar-samples.js";

const tree = z.object({
    value: z.int(),
    get children() {
        return z.array(tree).max(2).optional();
    }
});

/** What zod 4 can write as JSON schema. */
const zodSchemas: Readonly<Record<string, z.ZodType>> = {
    int: z.int(),
    int32: z.int32(),
    uint32: z.uint32(),
    float32: z.float32(),
    number: z.number(),
    nonnegative: z.number().nonnegative(),
    positive: z.number().positive().max(1),
    between: z.number().gt(0.5).lt(2.75),
    hundredths: z.number().multipleOf(0.01).min(-3).max(3),
    fives: z.int().multipleOf(5).min(-20),
    bounds: z.object(Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`n${i}`, z.int().min(3 * i)]))),
    email: z.email(),
    shortEmail: z.email().max(30),
    html5Email: z.email({ pattern: z.regexes.html5Email }),
    uuid: z.uuid(),
    uuidv7: z.uuidv7(),
    guid: z.guid(),
    url: z.url(),
    httpUrl: z.httpUrl(),
    datetime: z.iso.datetime(),
    datetimeWithOffset: z.iso.datetime({ offset: true, precision: 3 }),
    date: z.iso.date(),
    time: z.iso.time(),
    duration: z.iso.duration(),
    ipv4: z.ipv4(),
    ipv6: z.ipv6(),
    cidrv4: z.cidrv4(),
    cidrv6: z.cidrv6(),
    base64: z.base64(),
    base64url: z.base64url(),
    nanoid: z.nanoid(),
    cuid2: z.cuid2(),
    ulid: z.ulid(),
    ksuid: z.ksuid(),
    e164: z.e164(),
    emoji: z.emoji(),
    hostname: z.hostname(),
    lengths: z.string().min(2).max(10),
    pattern: z.string().regex(/^[A-Z]{3}-\d+$/),
    twoPatterns: z.string().regex(/ab/).regex(/^x/),
    prefixed: z.string().startsWith("a.b").endsWith("z").includes("q"),
    exactly: z.string().length(5).regex(/^\w+$/),
    template: z.templateLiteral(["id-", z.int()]),
    record: z.record(z.string(), z.int()),
    recordOfEnum: z.record(z.enum(["a", "b"]), z.int()),
    partialRecord: z.partialRecord(z.enum(["a", "b"]), z.int()),
    recordOfPattern: z.record(z.string().regex(/^x\d+$/), z.boolean()),
    tuple: z.tuple([z.string().max(3), z.int()]),
    tupleWithRest: z.tuple([z.boolean()]).rest(z.int()),
    discriminated: z.discriminatedUnion("kind", [
        z.object({ kind: z.literal("a"), value: z.int() }),
        z.object({ kind: z.literal("b") })
    ]),
    intersection: z.intersection(z.looseObject({ a: z.int() }), z.looseObject({ b: z.boolean() })),
    literals: z.literal(["a", 1, null]),
    nullable: z.string().max(2).nullable(),
    strict: z.strictObject({ a: z.int().optional() }),
    loose: z.looseObject({ a: z.int() }),
    catchall: z.object({ a: z.int() }).catchall(z.boolean()),
    never: z.object({ a: z.never().optional(), b: z.int() }),
    withDefault: z.object({ a: z.int().default(3) }),
    readonly: z.array(z.int()).min(1).max(3).readonly(),
    tree
};

for (const target of ["draft-2020-12", "draft-7"] as const)
    test(`what zod describes in ${target} becomes a grammar whose texts zod accepts`, async (t) => {
        for (const [name, schema] of Object.entries(zodSchemas)) {
            const texts = await checkSamples(z.toJSONSchema(schema, { target }), 7, 15, target);
            for (const text of texts) {
                const { success, error } = schema.safeParse(JSON.parse(text));
                t.true(success, `${name}: ${text} ${error?.message}`);
            }
        }
    });

test("what a grammar cannot guarantee is refused by the name of its keyword", (t) => {
    // the header of a token is JSON in another alphabet
    t.is(refusal(z.toJSONSchema(z.jwt())).details.param, "schema.format");
    t.is(refusal(z.toJSONSchema(z.string().regex(/(a)\1/))).details.param, "schema.pattern");
});

/** What pydantic 2.14's `model_json_schema` gives for the types named. */
const pydanticSchemas: Readonly<Record<string, object>> = {
    "conint(gt=0, le=10), confloat, condecimal": {
        properties: {
            count: { exclusiveMinimum: 0, maximum: 10, title: "Count", type: "integer" },
            share: { exclusiveMaximum: 1.0, minimum: 0.0, title: "Share", type: "number" },
            price: {
                anyOf: [{ type: "number" }, { pattern: "^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$", type: "string" }],
                title: "Price"
            }
        },
        required: ["count", "share", "price"],
        title: "M",
        type: "object"
    },
    "constr, EmailStr, HttpUrl, UUID, datetime, date, time, timedelta, IPv4Address": {
        properties: {
            code: { maxLength: 8, minLength: 2, pattern: "^[a-z]+$", title: "Code", type: "string" },
            mail: { format: "email", title: "Mail", type: "string" },
            link: { format: "uri", maxLength: 2083, minLength: 1, title: "Link", type: "string" },
            id: { format: "uuid", title: "Id", type: "string" },
            at: { format: "date-time", title: "At", type: "string" },
            day: { format: "date", title: "Day", type: "string" },
            hour: { format: "time", title: "Hour", type: "string" },
            span: { format: "duration", title: "Span", type: "string" },
            address: { format: "ipv4", title: "Address", type: "string" },
            secret: { format: "password", title: "Secret", type: "string", writeOnly: true }
        },
        required: ["code", "mail", "link", "id", "at", "day", "hour", "span", "address", "secret"],
        title: "M",
        type: "object"
    },
    "Enum, set of it, dict, tuple, Optional, Literal, a model with its own kind": {
        $defs: {
            Color: { enum: ["red", "green"], title: "Color", type: "string" },
            Node: {
                properties: {
                    color: { $ref: "#/$defs/Color", default: "red" },
                    next: { anyOf: [{ $ref: "#/$defs/Node" }, { type: "null" }], default: null }
                },
                title: "Node",
                type: "object"
            }
        },
        properties: {
            colors: { items: { $ref: "#/$defs/Color" }, title: "Colors", type: "array", uniqueItems: true },
            counts: { additionalProperties: { type: "integer" }, title: "Counts", type: "object" },
            byColor: {
                additionalProperties: { type: "integer" },
                propertyNames: { $ref: "#/$defs/Color" },
                title: "Bycolor",
                type: "object"
            },
            byName: { patternProperties: { "^x": { type: "integer" } }, title: "Byname", type: "object" },
            pair: {
                maxItems: 2,
                minItems: 2,
                prefixItems: [{ type: "integer" }, { type: "boolean" }],
                title: "Pair",
                type: "array"
            },
            kind: { const: "a", title: "Kind", type: "string" },
            node: { $ref: "#/$defs/Node" }
        },
        required: ["colors", "counts", "byColor", "byName", "pair", "kind", "node"],
        title: "M",
        type: "object"
    }
};

test("what pydantic describes becomes a grammar", async (t) => {
    for (const schema of Object.values(pydanticSchemas)) t.is((await checkSamples(schema, 3, 20)).length, 20);
});
