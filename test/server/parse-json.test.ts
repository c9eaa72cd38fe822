import test from "ava";
import fc from "fast-check";
import { LosslessNumber } from "lossless-json";
import { BodyScan } from "../../src/server/BodyScan.js";
import { ApiError } from "../../src/server/errors.js";
import { JsonParser } from "../../src/server/JsonParser.js";
import { parseJson, withLongNumbers } from "../../src/server/parse-json.js";
import { ByteCollector } from "../../src/util/ByteCollector.js";
import { propertySeed } from "../helpers/property.js";

const never = new AbortController().signal;
const parse = (text: string) => withLongNumbers(parseJson(Buffer.from(text), true));

test("long integers keep their digits wherever they are, under any name", (t) => {
    const long = "12345678901234567890";
    const text = `{"a":[${long},1,{"__proto__":${long},"constructor":[${long}]}],"n":-${long},"f":1.5}`;
    const value = parse(text) as { a: [unknown, number, object]; n: unknown };
    t.deepEqual(value.a[0], new LosslessNumber(long));
    t.deepEqual(value.n, new LosslessNumber(`-${long}`));
    const entries = new Map(Object.entries(value.a[2]));
    t.deepEqual([...entries.keys()], ["__proto__", "constructor"]);
    t.deepEqual(entries.get("__proto__"), new LosslessNumber(long));
    t.is(Object.getPrototypeOf(value.a[2]), Object.prototype);
    t.deepEqual(parse(long), new LosslessNumber(long));
});

test("numbers that a prompt shows keep their notation, and parameters are numbers", (t) => {
    const scanned = (text: string) => {
        const scan = new BodyScan();
        for (const byte of Buffer.from(text)) scan.push(Uint8Array.of(byte));
        return withLongNumbers(parseJson(Buffer.from(text), scan.hasLongNumber));
    };
    for (const number of ["1.0", "-1.10", "0.0", "1e5", "2E-3"]) {
        const { temperature, tools } = scanned(
            `{"temperature":${number},"tools":[{"input_schema":{"a":[${number}]}}]}`
        ) as {
            temperature: unknown;
            tools: { input_schema: { a: unknown[] } }[];
        };
        t.is(temperature, Number(number));
        t.deepEqual(tools[0]!.input_schema.a, [new LosslessNumber(number)]);
    }
    for (const number of ["10", "1.5", "0", "-3", "0.1"])
        t.deepEqual(scanned(`{"input":${number}}`), { input: Number(number) });
    // putting back very many would take long
    const many = `{"input":[${"1.0,".repeat(10_000)}1.0],"n":9007199254740993}`;
    const { input, n } = scanned(many) as { input: unknown[]; n: unknown };
    t.true(input.every((value) => value === 1));
    t.deepEqual(n, new LosslessNumber("9007199254740993"));
});

test("numbers that JavaScript cannot hold keep their digits, and doubles as programs write them are numbers", (t) => {
    const scanned = (text: string) => {
        const scan = new BodyScan();
        scan.push(Buffer.from(text));
        return withLongNumbers(parseJson(Buffer.from(text), scan.hasLongNumber));
    };
    for (const number of [
        "1e400",
        "-1.5E+400",
        "1e-400",
        "9007199254740993",
        "9.007199254740993e15",
        "9007199254740993.0",
        "123456789012.345678901",
        "0.10000000000000000001"
    ]) {
        const { a } = scanned(`{"a":[${number}]}`) as { a: [unknown] };
        t.true(a[0] instanceof LosslessNumber, number);
        t.is((a[0] as LosslessNumber).value, number);
    }
    for (const number of [
        "0",
        "-1.50",
        "1E+2",
        "1e-300",
        "5e-324",
        "1.7976931348623157e308",
        "1e21",
        "9007199254740991"
    ])
        t.deepEqual(scanned(`[${number},true]`), [Number(number), true], number);
    for (const number of ["0.69999999999999996", "0.30000000000000004", "0.69999998807907104"])
        t.deepEqual(scanned(number), Number(number), number);
});

test("both parsers give the same values", (t) => {
    fc.assert(
        fc.property(fc.json({ maxDepth: 4 }), (text) => {
            fc.pre(!/\d{16}/.test(text));
            t.deepEqual(parse(text), JSON.parse(text));
        }),
        { seed: propertySeed }
    );
});

test("a body is counted alike however it is cut into pieces", (t) => {
    const outcome = (pieces: readonly Buffer[]) => {
        const scan = new BodyScan();
        try {
            for (const piece of pieces) scan.push(piece);
            return scan.hasLongNumber;
        } catch (error) {
            return (error as ApiError).message;
        }
    };
    const deep = `${"[".repeat(65)}${"]".repeat(65)}`;
    const texts = fc.oneof(
        fc.json(),
        fc.constantFrom('"a\\\\"', `["\\"",1234567890123456]`, '{"[[":"123456789012345678"}', deep)
    );
    fc.assert(
        fc.property(texts, fc.array(fc.nat({ max: 100 }), { maxLength: 5 }), (text, cuts) => {
            const bytes = Buffer.from(text);
            const ends = [...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
            const pieces = ends.map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end));
            t.is(outcome(pieces), outcome([bytes]), text);
        }),
        { seed: propertySeed }
    );
    // in linear time
    t.false(outcome([Buffer.from(`"${"\\\\n".repeat(2 ** 22)}`)]));
    t.is(outcome([Buffer.from('"[[1234567890123456789"')]), false);
    t.regex(String(outcome([Buffer.from(deep)])), /64 levels/);
});

test("a body of too many parts is refused while it arrives", (t) => {
    const refused = (part: string, count: number) =>
        t.throws(() => new BodyScan().push(Buffer.from(part.repeat(count))), { instanceOf: ApiError }).status;
    t.is(refused("1,", 1_100_000), 413);
    t.is(refused('"",', 110_000), 413);
    t.is(refused("1234567890123456,", 11_000), 413);
    t.notThrows(() => new BodyScan().push(Buffer.from("1,".repeat(1_000_000))));
});

test("a long body is parsed in a worker, with the same results and errors", async (t) => {
    const parser = new JsonParser();
    const filler = "x".repeat(2 ** 19);
    const collect = (bytes: Uint8Array) => {
        const pieces = new ByteCollector();
        for (let at = 0, length = 1; at < bytes.length; at += length, length = (length * 3) % 100_000)
            pieces.push(bytes.subarray(at, at + length));
        return pieces;
    };
    const of = (text: string, signal = never) => parser.parse(collect(Buffer.from(text)), true, signal);
    const value = (await of(`{"a":"${filler}","__proto__":12345678901234567890}`)) as object;
    t.deepEqual(Object.entries(value)[1], ["__proto__", new LosslessNumber("12345678901234567890")]);
    const error = await t.throwsAsync(of(`{"a":"${filler}"`), { instanceOf: ApiError });
    t.is(error.details.code, "invalid_json");
    const bytes = Buffer.concat([Buffer.from(`"${filler}`), Buffer.of(0xff, 0x22)]);
    t.regex(
        (await t.throwsAsync(parser.parse(collect(bytes), false, never), { instanceOf: ApiError })).message,
        /not UTF-8/
    );
    const gone = new Error("gone");
    t.is(await t.throwsAsync(of(`"${filler}"`, AbortSignal.abort(gone))), gone);
    t.is(((await of(`"${filler}"`)) as string).length, filler.length);
});
