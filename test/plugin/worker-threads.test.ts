import { once } from "node:events";
import path from "node:path";
import { Worker } from "node:worker_threads";
import test from "ava";
import { convertCheckpoint } from "../../src/convert/convert.js";
import type { ContextsTask } from "../helpers/contexts-worker.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { makeTiny } from "../helpers/tiny-checkpoint.js";
import { textIds } from "../helpers/tokens.js";

test("contexts of several threads get their own options", async (t) => {
    const modelPath = path.join(temporaryFolder(t), "model.gguf");
    await convertCheckpoint({ checkpoint: await makeTiny(t), output: modelPath, tokenizer: false });
    const tokens = textIds(65, 40);
    const run = async (sizes: readonly number[]): Promise<unknown> => {
        const workerData: ContextsTask = { modelPath, sizes, tokens };
        const worker = new Worker(new URL("../helpers/contexts-worker.js", import.meta.url), { workerData });
        const [seen] = await once(worker, "message");
        await worker.terminate();
        return seen;
    };
    const lists = [1, 2, 3].map((first) => Array.from({ length: 8 }, (_, i) => 4 * (first + 3 * (i % 5))));
    const expected = lists.map((sizes) => sizes.map((size) => [size, Math.floor(64 / size)]));
    t.deepEqual(await Promise.all(lists.map(run)), expected);
});
