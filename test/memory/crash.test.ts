import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, statSync } from "node:fs";
import path from "node:path";
import readline from "node:readline";
import test, { type ExecutionContext } from "ava";
import { ArmtMemoryStore, ArmtSnapshot, type Token } from "../../plugin/index.js";
import { isSnapshotFile, readSnapshotFile } from "../../plugin/memory/snapshot-file.js";
import { generateGreedy, loadTiny, withSequence } from "../helpers/contexts.js";
import { repositoryRoot } from "../helpers/repository.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

type Round = { branch: number; cachedTokens: number; tokens: number[] };

/** Runs helpers/store-process; `onRound` may kill it. */
async function runProcess(
    args: readonly (string | number)[],
    onRound?: (kill: () => void) => void
): Promise<{ rounds: Round[]; code: number | null; stderr: string }> {
    const script = path.join(repositoryRoot, "dist", "test", "helpers", "store-process.js");
    const child = spawn(process.execPath, [script, ...args.map(String)], { stdio: ["ignore", "pipe", "pipe"] });
    const rounds: Round[] = [];
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
        stderr += text;
    });
    readline.createInterface({ input: child.stdout }).on("line", (line) => {
        rounds.push(JSON.parse(line));
        onRound?.(() => child.kill("SIGKILL"));
    });
    const [code] = await once(child, "close");
    return { rounds, code, stderr };
}

/** The tokens that each prompt of the process must produce. */
async function expectedTokens(t: ExecutionContext): Promise<{ file: string; tokens: number[][] }> {
    const { model, file } = await loadTiny(t, { layers: 3, seed: 4 });
    const tokens = [];
    for (let branch = 0; branch < 5; branch++) {
        const prompt = [...textIds(100, 96), ...textIds(60 + 10 * branch, 96, 10 + branch)];
        tokens.push(await withSequence(model, { kvType: "F16" }, (sequence) => generateGreedy(sequence, prompt, 5)));
    }
    return { file, tokens };
}

test("kill -9 at any moment leaves a store and a snapshot that can be read", async (t) => {
    t.timeout(600_000);
    const { file, tokens } = await expectedTokens(t);
    const folder = temporaryFolder(t);
    const saved = path.join(folder, "memory.armt");
    const stored = path.join(folder, "store");
    const rounds: Round[] = [];
    const runs = 8;
    for (let run = 0; run < runs; run++) {
        // The moment within a round's work is the test's input, another one each time; nothing is asserted about it.
        let killed = false;
        const result = await runProcess([file, stored, saved, run, 1000, 2 ** 20], (kill) => {
            if (!killed) setTimeout(kill, 3 + 7 * run);
            killed = true;
        });
        t.is(result.code, null, result.stderr);
        rounds.push(...result.rounds);
        for (const name of readdirSync(stored)) {
            if (!name.startsWith(".")) await t.notThrowsAsync(readSnapshotFile(path.join(stored, name)), name);
        }
        if (existsSync(saved)) await t.notThrowsAsync(ArmtSnapshot.load(saved));
    }
    for (const round of rounds) t.deepEqual(round.tokens, tokens[round.branch]);
    t.true(rounds.some(({ cachedTokens }) => cachedTokens > 0));
    // the next process finds what the killed ones left
    const last = await runProcess([file, stored, saved, 0, 5, 2 ** 20]);
    t.is(last.code, 0, last.stderr);
    t.true(last.rounds[0]!.cachedTokens > 0);
    t.deepEqual(
        last.rounds.map((round) => round.tokens),
        tokens
    );
});

test("two processes share a store while each evicts to make room", async (t) => {
    t.timeout(600_000);
    const { file, tokens } = await expectedTokens(t);
    const folder = temporaryFolder(t);
    const stored = path.join(folder, "store");
    const one = await checkpointBytes(t);
    // room for the checkpoints of about one prompt, so that each evicts what the other wrote or reads
    const maxBytes = 10 * one;
    const run = (name: string, seed: number) => runProcess([file, stored, path.join(folder, name), seed, 25, maxBytes]);
    const results = await Promise.all([run("a", 0), run("b", 2)]);
    for (const { code, rounds, stderr } of results) {
        t.is(code, 0, stderr);
        t.is(stderr, "");
        t.is(rounds.length, 25);
        for (const round of rounds) t.deepEqual(round.tokens, tokens[round.branch]);
    }
    t.true(results.some(({ rounds }) => rounds.some(({ cachedTokens }) => cachedTokens > 0)));
    const sizes = readdirSync(stored).map((name) => statSync(path.join(stored, name)).size);
    // each may exceed the limit by what the other wrote since the last scan
    t.true(sizes.reduce((sum, size) => sum + size, 0) <= 3 * maxBytes);
    for (const name of readdirSync(stored)) t.true(await isSnapshotFile(path.join(stored, name)), name);
    // the folder serves a third process
    const store = await ArmtMemoryStore.open({ folder: stored, maxBytes });
    t.true((await store.measureFolder()).bytes <= maxBytes);
    await store.dispose();
});

/** Bytes of one checkpoint. */
async function checkpointBytes(t: ExecutionContext): Promise<number> {
    const { model } = await loadTiny(t, { layers: 3, seed: 4 });
    return await withSequence(model, {}, async (sequence) => {
        await sequence.evaluateWithoutGeneratingNewTokens(textIds(40, 96) as Token[]);
        return (await sequence.armt!.save(path.join(temporaryFolder(t), "a"), { closedOnly: true, tokenIds: false }))
            .bytes;
    });
}
