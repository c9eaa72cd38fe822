import test from "ava";
import { LosslessNumber } from "lossless-json";
import { compileSchema } from "../../src/server/engine/json-schema/compile.js";
import { compileAll } from "../../src/server/engine/json-schema/compile-all.js";
import { Rules } from "../../src/server/engine/json-schema/gbnf.js";
import { ApiError } from "../../src/server/errors.js";

const never = new AbortController().signal;

/** A schema that takes more steps than are made on the event loop. */
const costly = { type: "object", properties: Object.fromEntries(Array.from({ length: 400 }, (_, i) => [i, {}])) };
const long = new LosslessNumber("12345678901234567890");

/** The grammar of the first of several schemas, which share their rules. */
async function grammarOf(schemas: readonly unknown[], signal = never): Promise<string[]> {
    const given = schemas.map((schema, i) => ({ schema, param: `tools.${i}` }));
    const { rules, roots } = await compileAll(given, signal);
    return roots.map((root) => rules.print(root));
}

function expected(schemas: readonly unknown[]): string[] {
    const rules = new Rules();
    const roots = schemas.map((schema, i) => compileSchema(schema, { param: `tools.${i}` }, rules).root);
    return roots.map((root) => rules.print(root));
}

test("schemas become the same grammar on the event loop and in the worker, with the digits of all numbers", async (t) => {
    for (const schemas of [
        [{ const: long }, { type: "object", properties: { a: { type: "integer" } } }],
        [{ const: long }, costly, { enum: [[long, { __proto__: null, a: long }], 1] }]
    ]) {
        const grammars = await grammarOf(schemas);
        t.deepEqual(grammars, expected(schemas));
        t.true(grammars[0]!.includes("12345678901234567890"));
    }
});

test("rules can be added to a grammar from the worker, and equal ones are stored once", async (t) => {
    const { rules, roots } = await compileAll([{ schema: costly, param: "a" }], never);
    const names = new Map(rules.data.names);
    const { size } = rules.data.bodies;
    t.true(size > 400);
    for (const [body, name] of names) t.is(rules.add(body), name);
    t.is(rules.data.bodies.size, size);
    const added = rules.add(`${roots[0]} "new"` as (typeof roots)[0]);
    t.false([...names.values()].includes(added));
    t.true(rules.print(added).includes(`\n${added} ::= ${roots[0]} "new"\n`));
});

test("errors are the same on the event loop and in the worker", async (t) => {
    const wrong = { type: "string", format: "none" };
    for (const schemas of [[wrong], [costly, wrong], ["x".repeat(2 ** 21)]]) {
        const error = await t.throwsAsync(grammarOf(schemas), { instanceOf: ApiError });
        const { message, details, status } = t.throws(() => expected(schemas), { instanceOf: ApiError })!;
        t.deepEqual([error.message, error.details, error.status], [message, details, status]);
    }
    const gone = new Error("gone");
    t.is(await t.throwsAsync(grammarOf([costly], AbortSignal.abort(gone))), gone);
});
