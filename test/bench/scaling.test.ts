import test from "ava";
import { evenly, fitStepTime, simulate } from "../../bench/scaling/simulate.js";

const time = { step: 2, cell: 1 };

test("one device computes all steps and cells", (t) => {
    const { total, busy } = simulate({ layers: [4], segments: 10, time, transfer: 100 });
    t.is(total, 2 * (10 + 4 - 1) + 4 * 10);
    t.deepEqual(busy, [1]);
});

test("devices work at the same time", (t) => {
    const { total, busy } = simulate({ layers: [2, 2], segments: 1000, time, transfer: 0 });
    // a step of two cells takes 4; the ramps have fewer
    t.true(Math.abs(total - 4 * 1000) < 20, String(total));
    t.true(busy.every((part) => part > 0.99));
    const late = simulate({ layers: [2, 2], segments: 1000, time, transfer: 3 });
    t.true(late.total - total <= 2 * 3, "only the first transfers are not hidden");
    const slow = simulate({ layers: [2, 2], segments: 1000, time, transfer: 30 });
    t.true(Math.abs(slow.total - 30 * 1000) < 200, "a link carries one segment's rows at a time");
});

test("a text of one segment visits one device after the other", (t) => {
    const { total } = simulate({ layers: [2, 2], segments: 1, time, transfer: 5 });
    t.is(total, 4 * (2 + 1) + 5);
});

test("layers are divided evenly", (t) => {
    t.deepEqual(evenly(16, 4), [4, 4, 4, 4]);
    t.deepEqual(evenly(16, 3), [6, 5, 5]);
    t.deepEqual(evenly(2, 3), [1, 1, 0]);
});

test("the times of steps and cells are found from readings", (t) => {
    const readings = [1, 4, 16].map((segments) => ({
        segments,
        milliseconds: simulate({ layers: [6], segments, time, transfer: 0 }).total
    }));
    const { step, cell } = fitStepTime(6, readings);
    t.true(Math.abs(step - 2) < 1e-9 && Math.abs(cell - 1) < 1e-9);
    t.throws(() => fitStepTime(6, readings.slice(1, 2)), { message: "readings of different lengths are needed" });
});
