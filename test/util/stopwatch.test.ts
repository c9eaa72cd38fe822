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
    const waited = stopwatch();
    await new Promise((resolve) => setTimeout(resolve, 300));
    t.true(waited() < 150, `${waited()} ms for a wait of 300 ms`);
    const computed = stopwatch();
    compute(100);
    t.true(computed() > 50, `${computed()} ms for about 100 ms of computing`);
});
