import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { peersPlot, peersTable } from "../../../bench/peers/report.js";
import { formatPeersResults, mergeParts, type PartSource, type PeersResults } from "../../../bench/peers/results.js";
import { runNode } from "../../helpers/armt-command.js";
import { repositoryRoot } from "../../helpers/repository.js";
import { temporaryFolder } from "../../helpers/temporary.js";

const run = (what: string, median: number, more: object = {}) => ({
    what,
    type: "bf16",
    layers: 2,
    hidden: 64,
    tokens: 4096,
    median,
    least: median - 0.001,
    most: median + 0.002,
    ...more
});
const authors = {
    device: "a <GPU>",
    unit: "seconds",
    torch: "2.0",
    sdpa: "auto",
    sources: { "fast_executor.py": "0123" },
    checks: [{ what: "diagonal, f32", ok: true }],
    failed: [{ what: "authors, segment 1024 diagonal", error: "out of memory\nTried to" }],
    runs: [
        run("authors, segment 512 diagonal", 1.5),
        run("authors, segment 512 sequential", 9.25, { times: 2 }),
        run("authors, segment 256 diagonal", 1.75),
        run("PyTorch full attention (SDPA)", 3.25)
    ]
};
const cudnn = {
    device: "a <GPU>",
    unit: "seconds",
    sdpa: "cudnn",
    runs: [run("PyTorch full attention (SDPA)", 3.125)]
};
const engine = {
    device: "a <GPU>",
    unit: "seconds",
    runs: [
        run("segment 512 diagonal", 0.75, { graphs: 7 }),
        run("segment 512 sequential", 0.875),
        // as those of one name in `targets`: another text, another type, another shape
        run("segment 512 diagonal", 5.5, { tokens: 8192 }),
        run("segment 512 diagonal", 6.5, { type: "f16" }),
        run("segment 512 diagonal", 7.5, { layers: 3 }),
        run("segment 512 160M diagonal", 8.5),
        run("no fusions, segment 512 diagonal", 0.125),
        run("llama.cpp full attention, batches of 512", 6.25)
    ]
};
const files = { authors, cudnn, engine };
type Name = keyof typeof files;

/** Writes the files of the parts and returns the options to merge them. */
function sources(t: ExecutionContext, changed: Partial<Record<Name, object>> = {}): PartSource[] {
    const folder = temporaryFolder(t);
    return (Object.keys(files) as Name[]).map((name) => {
        const file = path.join(folder, `${name}.json`);
        writeFileSync(file, JSON.stringify(changed[name] ?? files[name]));
        return { name, file, command: `makes ${name}`, ...(name === "cudnn" ? { note: "later" } : {}) };
    });
}

const merge = (parts: readonly PartSource[]): Promise<PeersResults> =>
    mergeParts(parts, { date: "2026-01-31", model: "a model" });

/** Cells of the table row that begins with this text. */
const cells = (table: string, start: string) =>
    table
        .split("\n")
        .find((line) => line.startsWith(start))
        ?.split(/ {2,}/);

test("a merged result has all parts in order, with their runs and the description of each program", async (t) => {
    const results = await merge(sources(t));
    const { device: _, unit: __, ...own } = authors;
    t.deepEqual(results, {
        format: "cuda-check 1",
        date: "2026-01-31",
        device: "a <GPU>",
        unit: "seconds",
        model: "a model",
        parts: [
            { name: "authors", command: "makes authors", ...own },
            { name: "cudnn", command: "makes cudnn", note: "later", sdpa: "cudnn", runs: cudnn.runs },
            { name: "engine", command: "makes engine", runs: engine.runs }
        ]
    });
    const text = formatPeersResults(results);
    t.deepEqual(JSON.parse(text), results);
    t.true(text.includes(`    {"what": "segment 512 diagonal", "type": "bf16", "layers": 2, "hidden": 64, `));
    t.deepEqual(JSON.parse(formatPeersResults({ ...results, parts: [] })), { ...results, parts: [] });
});

test("the table has the runs of one text and shape, and the ratio of the diagonals", async (t) => {
    const table = peersTable(await merge(sources(t)));
    t.deepEqual(cells(table, "512"), [
        "512",
        "9.250 [9.249 9.252]",
        "1.500 [1.499 1.502]",
        "0.875 [0.874 0.877]",
        "0.750 [0.749 0.752]",
        "2.00x"
    ]);
    t.deepEqual(cells(table, "256"), ["256", "1.750 [1.749 1.752]"]);
    t.true(table.indexOf("\n256 ") < table.indexOf("\n512 "));
    t.deepEqual(cells(table, "PyTorch full attention (SDPA) "), [
        "PyTorch full attention (SDPA)",
        "3.250 [3.249 3.252]"
    ]);
    t.deepEqual(cells(table, "PyTorch full attention (SDPA), cudnn")?.[1], "3.125 [3.124 3.127]");
    t.deepEqual(cells(table, "llama.cpp full attention")?.[1], "6.250 [6.249 6.252]");
    for (const other of ["5.500", "6.500", "7.500", "8.500", "0.125"]) t.false(table.includes(other), other);
    t.regex(table, /^2 layers of 64, bf16; reading 4,096 tokens/m);
    t.true(
        table.endsWith("authors, segment 1024 diagonal was not measured (authors): out of memory\n"),
        "the reason, in one line"
    );
});

test("the table shows the parts that were measured", async (t) => {
    const all = sources(t);
    const alone = peersTable(await merge([all[2]!]));
    t.deepEqual(cells(alone, "512")?.slice(1), ["0.875 [0.874 0.877]", "0.750 [0.749 0.752]"]);
    t.false(alone.includes("x\n"));
    const full = await merge([all[1]!]);
    t.is(cells(peersTable(full), "PyTorch")?.[1], "3.125 [3.124 3.127]");
    t.is(peersPlot(full), undefined);
    const [, , other] = sources(t, { engine: { ...engine, runs: [run("2 segments of 256", 1)] } });
    const unknown = await merge([other!]);
    t.is(unknown.parts[0]!.runs.length, 1);
    t.regex(peersTable(unknown), /none of the runs is of those that are compared/);
    t.is(peersPlot(unknown), undefined);
    await t.throwsAsync(merge([]), { message: /no part/ });
});

test("two runs of one name are refused", async (t) => {
    const all = sources(t);
    const results = await merge([...all, { ...all[2]!, name: "again" }]);
    t.throws(() => peersTable(results), {
        message: '"segment 512 diagonal" is in part "engine" and in part "again"'
    });
});

test("the plot has a line for each series, a level for the faster full attention, and the spread", async (t) => {
    const plot = peersPlot(await merge(sources(t)))!;
    const labels = [...plot.matchAll(/<text [^>]*>([^<]*)<\/text>/g)].map(([, text]) => text);
    for (const label of [
        "authors' ARMT (PyTorch), segment after segment",
        "authors' diagonal executor (PyTorch)",
        "this engine, sequential",
        "this engine, diagonal",
        "full attention, PyTorch: 3.13 s",
        "full attention, llama.cpp: 6.25 s",
        "256",
        "512"
    ])
        t.true(labels.includes(label), label);
    t.true(plot.includes("a &lt;GPU&gt;; 2 layers of 64, bf16"));
    t.is(plot.match(/<polyline/g)?.length, 6);
    // five points of segments; full attention has none
    t.is(plot.match(/<circle/g)?.length, 5);
    // higher is slower: at 512, the authors' two schedules, then this engine's: 9.25, 1.5, 0.875 and 0.75 s
    const dots = [...plot.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [x, Number(y)] as const);
    const heights = dots.filter(([x]) => x === dots[0]![0]).map(([, y]) => y);
    t.deepEqual(
        heights,
        [...heights].sort((a, b) => a - b)
    );
    t.is(new Set(heights).size, 4);
});

test("a part from another device is refused, with its file name", async (t) => {
    const all = sources(t, { engine: { ...engine, device: "another" } });
    await t.throwsAsync(merge(all), {
        message: `${JSON.stringify(all[2]!.file)} was measured on "another", and ${JSON.stringify(all[0]!.file)} on "a <GPU>": times of two devices do not go into one table`
    });
});

test("an unreadable part is refused, with its file name and the error", async (t) => {
    const all = sources(t);
    const broken = all[2]!.file;
    const whole = readFileSync(broken, "utf8");
    for (const [content, message] of [
        [
            whole.slice(0, -5),
            /engine\.json" is not a result of cuda-check or authors\.py: it is not JSON, or not all of it/
        ],
        ["[]", /engine\.json" is not a result of .*: the whole file/],
        [JSON.stringify({ ...engine, unit: "minutes" }), /engine\.json" is not a result of .*: unit: .*"seconds"/],
        [
            JSON.stringify({ ...engine, runs: [{ what: "segment 1" }] }),
            /engine\.json" is not a result of .*: runs\.0\.type/
        ],
        [JSON.stringify({ ...engine, runs: [run("segment 1 diagonal", 0)] }), /: runs\.0\.median: /]
    ] as const) {
        writeFileSync(broken, content);
        await t.throwsAsync(merge(all), { message });
    }
    await t.throwsAsync(merge([{ ...all[0]!, file: path.join(broken, "..", "none.json") }]), {
        message: /cannot read ".*none\.json": no such file or folder/
    });
});

const script = path.join(repositoryRoot, "dist", "bench", "peers", "peers.js");

test("the command writes both files and prints the table", async (t) => {
    const all = sources(t);
    const out = path.join(temporaryFolder(t), "r.json");
    const parts = all.map(({ name, file }) => `${name}=${file}`);
    const options = all.flatMap(({ name }) => ["--command", `${name}=a=b ${name}`]);
    const more = ["--note", "engine=x", "--date", "2026-01-31", "--model", "a model"];
    const { code, stdout, stderr } = await runNode([script, out, ...parts, ...options, ...more]);
    t.is(code, 0, stderr);
    const results = JSON.parse(readFileSync(out, "utf8")) as PeersResults;
    t.deepEqual(
        results.parts.map(({ command, note }) => [command, note]),
        [
            ["a=b authors", undefined],
            ["a=b cudnn", undefined],
            ["a=b engine", "x"]
        ]
    );
    t.is(results.date, "2026-01-31");
    const svg = out.replace(".json", ".svg");
    t.is(stdout, `${peersTable(results)}written to ${out} and ${svg}\n`);
    t.is(readFileSync(svg, "utf8"), peersPlot(results)!);
});

test("the command names wrong arguments", async (t) => {
    const out = path.join(temporaryFolder(t), "r.json");
    for (const [args, message] of [
        [["x.json"], 'part "x.json": expected NAME=…'],
        [["a=x.json"], 'part "a" has no --command'],
        [["a=x.json", "a=y.json"], 'part "a" is given twice'],
        [["a=x.json", "--command", "b=c"], '--command "b": there is no part of this name'],
        [["a=x.json", "--command", "a=c", "--note", "b=c"], '--note "b": there is no part of this name'],
        [["a=x.json", "--command", "a=c", "--date", "today"], '--date "today": expected a day as 2026-01-31']
    ] as const) {
        const { code, stderr } = await runNode([script, out, ...args]);
        t.is(code, 2, stderr);
        t.true(stderr.includes(message), stderr);
    }
});
