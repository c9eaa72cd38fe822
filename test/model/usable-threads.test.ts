import { spawn } from "node:child_process";
import { once } from "node:events";
import os from "node:os";
import process from "node:process";
import test from "ava";
import { availableCores } from "../../plugin/native/threads.js";
import { type CpuUsage, idleCores, readCpuUsage } from "../../src/model/idle-cores.js";
import { chooseThreads } from "../../src/model/usable-threads.js";
import { runArmt } from "../helpers/armt-command.js";

test("more threads than usable cores are reported and not used", async (t) => {
    const args = ["run", "Hi there", "-n", "1", "--no-cache"];
    const { code, stderr } = await runArmt([...args, "--threads", "4096"]);
    t.is(code, 0, stderr);
    t.true(stderr.startsWith(`--threads 4096: more threads than usable cores`), stderr);
    t.regex(stderr, new RegExp(`; ${availableCores()} used\n`));
});

type Kind = "user" | "sys" | "nice";

/** Two readings, 100 ms apart, in which each core was busy for some of the time, and this process for `own`. */
function readings(busy: readonly number[], own = 0, kind: Kind = "user"): [before: CpuUsage, after: CpuUsage] {
    const times = { user: 5000, nice: 5000, sys: 5000, idle: 5000, irq: 0 };
    const after = busy.map((ms) => {
        const changed = { ...times, idle: times.idle + 100 - ms };
        changed[kind] += ms;
        return changed;
    });
    return [
        { cores: busy.map(() => times), own: 700 },
        { cores: after, own: 700 + own }
    ];
}

function idle(busy: readonly number[], own = 0, kind: Kind = "user", yields = false): number {
    return idleCores(...readings(busy, own, kind), yields);
}

test("a core counts as busy if others use it for more than half of the time, however they share the cores", (t) => {
    t.is(idle([0, 0, 0, 0]), 4);
    t.is(idle([100, 0, 0, 0]), 3);
    t.is(idle([30, 0, 10, 0]), 4);
    t.is(idle([50, 50, 50, 50], 0, "sys"), 2);
    t.is(idle([100, 100, 100, 100]), 0);
});

test("what this process computes itself does not count", (t) => {
    t.is(idle([100, 0], 100), 2);
    t.is(idle([100, 100], 100), 1);
    // counters of different clocks
    t.is(idle([90, 0], 100), 2);
});

test("processes of low priority count only for one of low priority", (t) => {
    t.is(idle([100, 0], 0, "nice"), 2);
    t.is(idle([100, 0], 0, "nice", true), 1);
});

test("a sandbox that hides the load looks idle", (t) => {
    const hidden = { cores: [{ user: 0, nice: 0, sys: 0, idle: 0, irq: 0 }], own: 0 };
    t.is(idleCores(hidden, { ...hidden, own: 50 }, false), 1);
});

test("the cores of the process's affinity are read", (t) => {
    const all = os.cpus().length;
    t.is(readCpuUsage(() => "Name:\tnode\nCpus_allowed_list:\t0\n").cores.length, 1);
    t.is(readCpuUsage(() => `Cpus_allowed_list:\t0-${all - 1}\n`).cores.length, all);
    // numbers of another machine, as in some containers
    t.is(readCpuUsage(() => "Cpus_allowed_list:\t4096,5000-5003\n").cores.length, all);
    t.is(
        readCpuUsage(() => {
            throw new Error("ENOENT");
        }).cores.length,
        all
    );
});

test("the default is at least 1 and at most the quota, and a smaller number is reported", async (t) => {
    const lines: string[] = [];
    const choose = (cores: number, busy: readonly number[]) => {
        const both = readings(busy);
        return chooseThreads(undefined, {
            cores,
            readUsage: () => both.shift()!,
            tell: (line) => lines.push(line)
        })();
    };
    t.is(await choose(4, [0, 0, 0, 0]), 4);
    // a quota of 2 of 4 cores
    t.is(await choose(2, [100, 0, 0, 0]), 2);
    t.deepEqual(lines, []);
    t.is(await choose(4, [100, 0, 0, 0]), 3);
    t.is(lines.length, 1);
    t.regex(lines[0]!, /3 of 4 cores used; --threads 4 uses all/);
    t.is(await choose(2, [100, 100]), 1);
});

test("a wish is taken as it is, whatever the load", async (t) => {
    const readUsage = () => t.fail() as never;
    t.is(await chooseThreads(2, { cores: 4, readUsage })(), 2);
    t.is(await chooseThreads(undefined, { cores: 1, readUsage })(), 1);
});

test("another busy process leaves at least one thread less", async (t) => {
    const spinner = spawn(process.execPath, ["-e", "console.log(); for (;;);"], {
        stdio: ["ignore", "pipe", "ignore"]
    });
    t.teardown(() => spinner.kill("SIGKILL"));
    await once(spinner.stdout, "data");
    const threads = await chooseThreads(undefined, { tell: () => {} })();
    t.true(threads >= 1);
    t.true(threads <= Math.max(1, availableCores() - 1), `${threads} threads`);
});
