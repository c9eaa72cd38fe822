import test from "ava";
import { WorkerQueue } from "../../src/util/WorkerQueue.js";

/** A worker that answers a number after as many milliseconds. */
const source = `
import { parentPort } from "node:worker_threads";
parentPort.on("message", (ms) => setTimeout(() => parentPort.postMessage(ms), ms));
parentPort.postMessage("ready");
`;

test("a task that waits for another ends with its signal, and the other continues", async (t) => {
    const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
    const queue = new WorkerQueue<number, number>(url, { timeoutMs: 100_000 });
    t.teardown(() => queue.dispose());
    const order: string[] = [];
    const first = queue.run(300).then((answer) => {
        order.push("first");
        return answer;
    });
    const controller = new AbortController();
    const second = queue.run(0, { signal: controller.signal }).finally(() => order.push("second"));
    controller.abort(new Error("too late"));
    await t.throwsAsync(second, { message: "too late" });
    t.is(await first, 300);
    t.deepEqual(order, ["second", "first"]);
    t.is(await queue.run(1), 1);
});
