import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { getLlama } from "../../../plugin/index.js";
import { armtScript, runArmt } from "../../helpers/armt-command.js";
import { temporaryFolder } from "../../helpers/temporary.js";
import { until } from "../../helpers/until.js";

// a CPU that packs the weights runs no diagonal
const env = { ARMT_CPU_EXTRA_BUFFERS: "0" };
const common = ["bench", "--synthetic", "tiny", "--threads", "1", "--segments", "32"];

test.serial("armt bench measures each case in the same rounds, and writes table, JSON and plot", async (t) => {
    const folder = temporaryFolder(t);
    const json = path.join(folder, "b.json");
    const args = [...common, "--lengths", "100,200", "--runs", "3", "--decode", "--json", json];
    const { code, stdout, stderr } = await runArmt(args, { env });
    t.is(code, 0, stderr);
    const results = JSON.parse(readFileSync(json, "utf8"));
    t.deepEqual(Object.keys(results.machine.versions), ["node", "node-llama-cpp", "node-llama-cpp-armt", "llama.cpp"]);
    t.deepEqual(
        results.groups.map(({ kind, tokens, sequences }: Record<string, unknown>) => [kind, sequences ?? tokens]),
        [
            ["prompt", 100],
            ["prompt", 200],
            ["decode", 1],
            ["decode", 8]
        ]
    );
    for (const group of results.groups) {
        t.deepEqual(
            group.cases.map(({ name }: { name: string }) => name),
            ["stock", "sequential", "diagonal"]
        );
        for (const { milliseconds, peakBytes, tokensPerSecond } of group.cases) {
            t.is(milliseconds.samples.length, 3);
            t.true(milliseconds.min <= milliseconds.median && milliseconds.median <= milliseconds.max);
            t.true(peakBytes > 2 ** 20 && tokensPerSecond > 0);
        }
        const [stock, , diagonal] = group.cases;
        const ratio = group.ratios.find(({ name }: { name: string }) => name === "diagonal / stock");
        ratio.samples.forEach((value: number, i: number) => {
            t.is(value, stock.milliseconds.samples[i] / diagonal.milliseconds.samples[i]);
        });
    }
    const [prompt] = results.groups;
    t.is(prompt.floor.rate.samples.length, 3);
    // 3 closed segments and the open one, in steps of one segment; diagonals take one more for each layer but one
    t.deepEqual(
        prompt.cases.map(({ graphs }: { graphs?: { graphs: number } }) => graphs?.graphs),
        [undefined, 4, 5]
    );
    t.regex(stdout, /100 +32 +stock .*\n100 +32 +sequential .*\n100 +32 +diagonal /);
    t.regex(readFileSync(path.join(folder, "b.svg"), "utf8"), /^<svg .*ARMT diagonal, segments of 32.*<\/svg>\n$/s);

    await t.notThrowsAsync(async () => {
        const again = await runArmt(args);
        t.is(again.code, 1);
        t.regex(again.stderr, /exists; --resume continues it/);
    });
    const other = await runArmt([...args.slice(0, -4), "2", "--resume", "--json", json]);
    t.is(other.code, 1);
    t.regex(other.stderr, /cannot be resumed: its runs is 3, now it is 2/);
    // nothing is left to measure
    const kept = await runArmt([...args, "--resume"]);
    t.is(kept.code, 0, kept.stderr);
    t.deepEqual(JSON.parse(readFileSync(json, "utf8")).groups, results.groups);
});

test.serial("an interrupted bench leaves a file that is gone on from", async (t) => {
    const json = path.join(temporaryFolder(t), "b.json");
    const args = [...common, "--no-stock", "--schedule", "sequential", "--runs", "5", "--json", json];
    const child = spawn(process.execPath, [armtScript, ...args, "--lengths", "64,8m"], {
        stdio: ["ignore", "ignore", "pipe"]
    });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
        stderr += text;
    });
    const ended = once(child, "exit");
    // until the first group is there, and the second, which would take minutes, under way
    const groups = () => (existsSync(json) ? JSON.parse(readFileSync(json, "utf8")).groups.length : 0);
    await until(() => groups() > 0, "the first group is measured");
    child.kill("SIGINT");
    const [code] = await ended;
    t.is(code, 1);
    t.regex(stderr, /interrupted; .* has 1 of 2 groups; continue with --resume/);
    const before = JSON.parse(readFileSync(json, "utf8"));
    const resumed = await runArmt([...args, "--lengths", "64,128", "--resume"]);
    t.is(resumed.code, 0, resumed.stderr);
    const after = JSON.parse(readFileSync(json, "utf8"));
    t.deepEqual(after.groups[0], before.groups[0]);
    t.is(after.groups[1].tokens, 128);
});

test.serial("generation alone is measured, with segments of any size", async (t) => {
    const json = path.join(temporaryFolder(t), "b.json");
    const args = ["bench", "--synthetic", "tiny", "--threads", "1", "--segments", "600", "--runs", "1", "--json", json];
    const { code, stderr } = await runArmt([
        ...args,
        "--no-stock",
        "--schedule",
        "diagonal",
        "--decode",
        "--no-prompts"
    ]);
    t.is(code, 0, stderr);
    const { groups } = JSON.parse(readFileSync(json, "utf8"));
    t.deepEqual(
        groups.map(({ kind, sequences, kvTokens, tokens }: Record<string, unknown>) => [
            kind,
            sequences,
            kvTokens,
            tokens
        ]),
        [
            ["decode", 1, 300, 32],
            ["decode", 8, 300, 32]
        ]
    );
});

test.serial("armt bench refuses what it cannot measure", async (t) => {
    const json = path.join(temporaryFolder(t), "b.json");
    const cases: [string[], number, RegExp][] = [
        [["--lengths", "4x"], 2, /--lengths: "4x" is not a length/],
        [["--segments", "0"], 2, /--segments: "0" is not a length/],
        [["--runs", "0"], 2, /--runs must be an integer of at least 1/],
        [["--no-prompts"], 2, /leaves nothing to measure/],
        [["-m", "none.gguf"], 1, /none\.gguf/],
        [["--resume", "--force"], 2, /give one/]
    ];
    for (const [args, code, message] of cases) {
        const result = await runArmt(["bench", "--json", json, ...args]);
        t.is(result.code, code, result.stderr);
        t.regex(result.stderr, message);
    }
    for (const [text, message] of [
        ["{", /is not JSON/],
        ['{"format": "armt bench 1"}', /is not a result of armt bench: date/]
    ] as const) {
        writeFileSync(json, text);
        const result = await runArmt([...common, "--json", json, "--resume"]);
        t.is(result.code, 1);
        t.regex(result.stderr, message);
    }
});

test.serial("--documents reads texts in turn and together, in fewer steps", async (t) => {
    const json = path.join(temporaryFolder(t), "documents.json");
    const args = [...common, "--documents", "4", "--texts-per-layer", "1,2", "--no-prompts", "--no-stock"];
    const { code, stdout, stderr } = await runArmt([...args, "--runs", "1", "--json", json], { env });
    t.is(code, 0, stderr);
    const { command, groups } = JSON.parse(readFileSync(json, "utf8"));
    t.regex(command, / --no-stock --no-prompts --documents 4 --texts-per-layer 1,2/);
    t.false(command.includes("--lengths"));
    t.deepEqual(
        groups.map(({ kind, textsPerLayer }: Record<string, unknown>) => [kind, textsPerLayer]),
        [
            ["documents", 1],
            ["documents", 2]
        ]
    );
    for (const { documents, usedTextsPerLayer, textsPerLayer, cases, ratios } of groups) {
        t.deepEqual(documents, [4, 16, 8, 12]);
        t.is(usedTextsPerLayer, textsPerLayer);
        const [sequential, diagonal, together] = cases;
        t.is(sequential.graphs.graphs, 4 + 16 + 8 + 12 + 4);
        // two layers: each text has one step more than segments
        t.is(diagonal.graphs.graphs, 4 + 16 + 8 + 12 + 4 + 4);
        t.true(together.graphs.graphs < diagonal.graphs.graphs, `${together.graphs.graphs} steps`);
        t.deepEqual(
            ratios.map(({ name }: { name: string }) => name),
            ["diagonal / sequential", "together / sequential", "together / diagonal"]
        );
    }
    t.regex(stdout, /4 +32 +sequential, in turn .*\n4 +32 +diagonal, in turn .*\n4 +32 +together, 1 a layer /);
    const refused = await runArmt([...common, "--texts-per-layer", "1"]);
    t.is(refused.code, 2);
    t.regex(refused.stderr, /--texts-per-layer needs --documents/);
});

test.serial("a diagonal that the CPU does not run is no case, and the table says why", async (t) => {
    const folder = temporaryFolder(t);
    const json = path.join(folder, "packed.json");
    const args = [...common, "--type", "q4_0", "--lengths", "100", "--runs", "1", "--no-stock", "--json", json];
    // the file stays there, so that the engine can be asked which schedule it takes
    const { code, stdout, stderr } = await runArmt([...args, "--cache-folder", folder]);
    t.is(code, 0, stderr);
    const llama = await getLlama({ gpu: false, maxThreads: 1 });
    const model = await llama.loadModel({ modelPath: path.join(folder, "tiny-q4_0.gguf") });
    const context = await model.createContext({ armt: { schedule: "diagonal" } });
    const isPacked = context.armt!.schedule === "sequential";
    await llama.dispose();
    const [{ cases }] = JSON.parse(readFileSync(json, "utf8")).groups;
    t.deepEqual(
        cases.map(({ name }: { name: string }) => name),
        isPacked ? ["sequential"] : ["sequential", "diagonal"]
    );
    const reasons = stdout.match(/diagonal was not measured: .*ARMT_CPU_EXTRA_BUFFERS=0/g) ?? [];
    t.is(reasons.length, isPacked ? 1 : 0, stdout);
});
