import process from "node:process";
import test from "ava";
import { withArgumentsForFiles } from "../../plugin/node-llama-cpp/exec-arguments.js";

const given = ["--input-type", "module", "--input-type=module", "--no-warnings"];
const own = process.execArgv;

test.beforeEach(() => {
    process.execArgv = given;
});
test.afterEach.always(() => {
    process.execArgv = own;
});

test.serial("calls that overlap leave this process's arguments as they were, whichever ends first", async (t) => {
    for (const order of [
        [0, 1],
        [1, 0]
    ] as const) {
        const resolve: (() => void)[] = [];
        const start = () => withArgumentsForFiles(() => new Promise<void>((end) => resolve.push(end)));
        const ended = [start(), start()];
        t.deepEqual(process.execArgv, ["--no-warnings"]);
        resolve[order[0]]!();
        await ended[order[0]];
        t.deepEqual(process.execArgv, ["--no-warnings"], "the other call still starts processes");
        resolve[order[1]]!();
        await ended[order[1]];
        t.is(process.execArgv, given);
    }
});

test.serial("a call that fails restores the arguments", async (t) => {
    await t.throwsAsync(
        withArgumentsForFiles(() => Promise.reject(new Error("no library"))),
        { message: "no library" }
    );
    t.is(process.execArgv, given);
});
