import test from "ava";
import { stopwatch } from "../../src/util/stopwatch.js";

/** Keeps the thread busy by so much computing, whatever else the machine does. */
function compute(ms: number): void {
    const before = process.cpuUsage();
    let used = 0;
    while (used < ms) {
        const { user, system } = process.cpuUsage(before);
        used = (user + system) / 1000;
    }
}

test("computing counts, waiting does not", async (t) => {
    const started = performance.now();
    const waited = stopwatch();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const [counted, clock] = [waited(), performance.now() - started];
    t.true(counted < clock / 2, `${counted} ms for a wait of ${clock} ms`);
    const computed = stopwatch();
    compute(100);
    const counted100 = computed();
    t.true(counted100 > 50, `${counted100} ms for about 100 ms of computing`);
});
