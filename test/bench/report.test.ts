import { writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { benchPlot, benchTable } from "../../src/bench/report.js";
import { type BenchResults, keptGroups, readResults, writeResults } from "../../src/bench/results.js";
import { ratios, summarize } from "../../src/bench/statistics.js";
import { temporaryFolder } from "../helpers/temporary.js";

const times = { stock: [400, 500, 420], diagonal: [200, 200, 210] };
const group: BenchResults["groups"][number] = {
    kind: "prompt",
    tokens: 4096,
    segmentSize: 256,
    cases: (["stock", "diagonal"] as const).map((name) => ({
        name,
        milliseconds: summarize(times[name]),
        tokensPerSecond: 10_000,
        peakBytes: 100 * 2 ** 20,
        overFloor: summarize([1.5])
    })),
    failures: [],
    ratios: [{ name: "diagonal / stock", ...ratios(times.stock, times.diagonal) }],
    floor: {
        device: "a CPU",
        rate: summarize([5e10]),
        operations: { armt: 5e9, stock: 1e10 },
        milliseconds: { armt: 100, stock: 200 }
    }
};
const results: BenchResults = {
    format: "armt bench 1",
    date: "2026-01-01T00:00:00.000Z",
    command: "armt bench",
    device: "a <CPU>",
    machine: { cpu: "a CPU", cores: 2, memoryGiB: 8, platform: "linux x64", versions: { node: "v20" } },
    model: {
        name: "15m",
        type: "F16",
        fingerprint: "0".repeat(64),
        bytes: 1,
        layers: 6,
        hidden: 288,
        memoryTokens: 16,
        memoryKeyLength: 64
    },
    settings: {
        gpu: false,
        threads: 1,
        runs: 3,
        lengths: [4096],
        segments: [256],
        batchSize: 512,
        stockBatchSize: 512,
        schedules: ["diagonal"],
        stock: true,
        stockLibrary: "published",
        decode: false
    },
    groups: [group]
};

test("a ratio is the median of the ratios of all rounds, not the ratio of two medians", (t) => {
    t.is(ratios(times.stock, times.diagonal).median, 2);
    t.regex(benchTable(results), /4k +256 +diagonal +200 ms +\[200 ms 210 ms\] +10000 +2\.00x +1\.50x +100 MiB/);
});

test("the table says why a case was not measured", (t) => {
    const [stock, diagonal] = group.cases;
    const failures = [{ name: "stock" as const, reason: "out of memory" }];
    const table = benchTable({ ...results, groups: [{ ...group, cases: [diagonal!], ratios: [], failures }] });
    t.regex(table, /stock was not measured: out of memory/);
    t.is(stock!.name, "stock");
});

test("with FP8, the table says how many products were computed in it, and how many were not", (t) => {
    t.notRegex(benchTable(results), /in FP8/);
    const counts = { graphs: 30, reused: 20, replayed: 10 };
    const cases = [
        { ...group.cases[1]!, graphs: counts },
        { ...group.cases[1]!, name: "diagonal fp8" as const, graphs: { ...counts, fp8: { computed: 480, left: 120 } } }
    ];
    const table = benchTable({ ...results, groups: [{ ...group, cases, ratios: [] }] });
    t.regex(table, /graphs +reused +replayed +in FP8 +left\n/);
    t.regex(table, / diagonal +.* 30 +20 +10\n/);
    t.regex(table, / diagonal fp8 +.* 30 +20 +10 +480 +120\n/);
});

test("the plot has a line for each case, and the floor", (t) => {
    const longer = { ...group, tokens: 8192 };
    const plot = benchPlot({ ...results, groups: [longer, group] });
    // time: stock, diagonal, floor; memory: stock, diagonal
    t.is(plot.match(/<polyline/g)?.length, 5);
    t.is(plot.match(/<circle/g)?.length, 10);
    t.true(plot.includes("a &lt;CPU&gt;"));
    t.regex(benchPlot({ ...results, groups: [] }), /^<svg .*<\/svg>\n$/s);
});

test("results survive writing and reading", async (t) => {
    const file = path.join(temporaryFolder(t), "b.json");
    await writeResults(file, results);
    t.deepEqual(await readResults(file), results);
    writeFileSync(file, JSON.stringify({ ...results, groups: [{ ...group, floor: undefined }] }));
    await t.throwsAsync(readResults(file), { message: /is not a result of armt bench: groups\.0\.floor/ });
});

test("a run resumes only on the same device, with the same versions, model and settings", (t) => {
    t.is(
        keptGroups(results, { ...results, settings: { ...results.settings, lengths: [1] } }, "b.json"),
        results.groups
    );
    const { machine, model, settings } = results;
    for (const [now, message] of [
        [{ device: "another" }, /its device is "a <CPU>", now it is "another"/],
        [{ machine: { ...machine, versions: { node: "v22" } } }, /its version of node is "v20", now it is "v22"/],
        [{ model: { ...model, fingerprint: "1".repeat(64) } }, /its model is/],
        [{ settings: { ...settings, threads: 2 } }, /its threads is 1, now it is 2/],
        [{ settings: { ...settings, maxCells: 4 } }, /its maxCells is undefined, now it is 4/]
    ] as const)
        t.throws(() => keptGroups(results, { ...results, ...now }, "b.json"), { message });
});
