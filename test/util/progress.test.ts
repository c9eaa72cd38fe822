import { PassThrough } from "node:stream";
import test from "ava";
import { createProgressBar } from "../../src/util/progress.js";

test.serial("bar is drawn on a terminal, and cleared", (t) => {
    process.env.TERM = "xterm";
    const stream = Object.assign(new PassThrough(), { isTTY: true, columns: 80 });
    const bar = createProgressBar("Working", stream);
    bar.update(1, 4);
    bar.update(4, 4);
    bar.stop();
    bar.stop();
    const drawn = String(stream.read());
    t.regex(drawn, /Working/);
    t.regex(drawn, /25%/);
});

test("nothing is written without a terminal", (t) => {
    const stream = new PassThrough();
    const bar = createProgressBar("Working", stream);
    bar.update(1, 4);
    bar.stop();
    t.is(stream.read(), null);
});

test.serial("nothing is written to a terminal that cannot move its cursor", (t) => {
    process.env.TERM = "dumb";
    const stream = Object.assign(new PassThrough(), { isTTY: true, columns: 80 });
    const bar = createProgressBar("Working", stream);
    bar.update(1, 4);
    bar.stop();
    t.is(stream.read(), null);
});
