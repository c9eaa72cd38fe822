import test from "ava";
import type { MemoryRow } from "../../../src/eval/questions/measure.js";
import { memoryPlot, memoryTable } from "../../../src/eval/questions/report.js";
import { wilson } from "../../../src/eval/questions/share.js";
import { formatLength, parseLength } from "../../../src/util/lengths.js";

const row: MemoryRow = {
    form: "plain",
    tokens: 4096,
    haystacks: 5,
    asked: 40,
    right: 30,
    recall: 0.75,
    interval: wilson(30, 40),
    withoutMemory: { asked: 40, right: 2, recall: 0.05 },
    readSeconds: 2,
    tokensPerSecond: 10240,
    processBytes: 100 * 2 ** 20,
    byDepth: Array.from({ length: 10 }, (_, i) => ({
        asked: i === 0 ? 0 : 4,
        right: i === 0 ? 0 : 3,
        recall: i === 0 ? 0 : 0.75
    })),
    byKind: {},
    wrong: []
};

test("lengths are read and written as people do", (t) => {
    for (const [text, tokens] of [
        ["4096", 4096],
        ["4k", 4096],
        ["1m", 1048576],
        [" 128K ", 131072]
    ] as const)
        t.is(parseLength(text), tokens);
    for (const text of ["", "k", "4.5k", "-1", "0", "4g", "9999999999m"])
        t.throws(() => parseLength(text), { instanceOf: RangeError });
    t.deepEqual([1024, 1000, 131072, 2097152].map(formatLength), ["1k", "1000", "128k", "2m"]);
});

test("Wilson's interval is that of the textbooks", (t) => {
    const near = (actual: readonly number[], expected: readonly number[]) =>
        actual.forEach((value, i) => {
            t.true(Math.abs(value - expected[i]!) < 5e-4, `${value} for ${expected[i]}`);
        });
    near(wilson(10, 20), [0.2993, 0.7007]);
    near(wilson(20, 20), [0.8389, 1]);
    near(wilson(0, 20), [0, 0.1611]);
    t.deepEqual(wilson(0, 0), [0, 1]);
});

test("the table has a line for each model and length", (t) => {
    const table = memoryTable([
        { model: "a.gguf", rows: [row] },
        { model: "longer.gguf", rows: [row, { ...row, tokens: 131072 }] }
    ]);
    const lines = table.trimEnd().split("\n");
    t.is(lines.length, 4);
    t.regex(lines[1]!, /^a\.gguf +4k +75\.0 % +59\.8 % - 85\.8 % +30\/40 +5\.0 % +10240 +100 MiB$/);
    t.regex(lines[3]!, /^longer\.gguf +128k /);
});

test("the plot has a point for each length and a cell for each tenth, and names are no markup", (t) => {
    const svg = memoryPlot([{ model: "<b>&.gguf", rows: [row, { ...row, tokens: 131072 }] }], "planted facts");
    t.is(svg.match(/<circle /g)?.length, 2);
    t.is(svg.match(/30\/40|3\/4</g)?.length, 18);
    t.false(svg.includes("<b>"));
    t.true(svg.includes("&lt;b&gt;&amp;.gguf"));
});
