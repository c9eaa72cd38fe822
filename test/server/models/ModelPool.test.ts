import { setMaxListeners } from "node:events";
import test from "ava";
import { ApiError } from "../../../src/server/errors.js";
import { ModelPool, type ModelPoolOptions, type PooledModel } from "../../../src/server/models/ModelPool.js";
import { until } from "../../helpers/until.js";

type Fake = PooledModel & { readonly id: string; isDisposed: boolean };

/** A promise with its ends. */
function gate(): { readonly opened: Promise<void>; open: () => void } {
    let open = () => {};
    const opened = new Promise<void>((resolve) => {
        open = resolve;
    });
    return { opened, open };
}

/** A pool of models that take their time as the test wants, and what happened in it. */
function makePool(sizes: Record<string, number>, options: ModelPoolOptions & { slow?: string; broken?: string } = {}) {
    const { slow, broken, ...rest } = options;
    const log: string[] = [];
    const slowness = gate();
    const alive = new Set<Fake>();
    const peaks = { models: 0, bytes: 0 };
    const sources = Object.entries(sizes).map(([id, bytes]) => ({
        id,
        bytes,
        load: async (signal: AbortSignal) => {
            if (id === slow)
                await Promise.race([
                    slowness.opened,
                    new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
                ]);
            if (id === broken) throw new Error("damaged");
            const model: Fake = {
                id,
                isDisposed: false,
                dispose: async () => {
                    await new Promise((resolve) => setImmediate(resolve));
                    model.isDisposed = true;
                    alive.delete(model);
                }
            };
            alive.add(model);
            peaks.models = Math.max(peaks.models, alive.size);
            peaks.bytes = Math.max(
                peaks.bytes,
                [...alive].reduce((sum, each) => sum + sizes[each.id]!, 0)
            );
            return model;
        }
    }));
    const pool = new ModelPool<Fake>(sources, {
        onLoad: (name) => log.push(`+${name}`),
        onUnload: (name) => log.push(`-${name}`),
        onError: (name, error) => log.push(`!${name}: ${(error as Error).message}`),
        ...rest
    });
    const { signal } = new AbortController();
    setMaxListeners(0, signal);
    const touch = (id: string) => pool.use(id, signal, async (model) => model.id);
    /** Uses a model until the gate opens. */
    const hold = (id: string, isLong = false) => {
        const { opened, open } = gate();
        const held = pool.use(id, signal, async () => await opened, isLong);
        return { held, open };
    };
    return { pool, log, alive, peaks, touch, hold, load: slowness.open, signal };
}

test("models are loaded on demand, and the least recently used one leaves", async (t) => {
    const { pool, log, touch, peaks } = makePool({ a: 1, b: 1, c: 1 }, { maxModels: 2 });
    t.deepEqual(pool.ids, ["a", "b", "c"]);
    t.is(pool.stateOf("a"), "unloaded");
    for (const id of ["a", "b", "a", "c", "a"]) t.is(await touch(id), id);
    t.deepEqual(log, ["+a", "+b", "-b", "+c"]);
    t.is(peaks.models, 2);
    t.deepEqual(
        pool.ids.map((id) => pool.stateOf(id)),
        ["loaded", "unloaded", "loaded"]
    );
    t.is(pool.peek("b"), undefined);
});

test("the size of the models is bounded, and a larger one is loaded alone", async (t) => {
    const { log, touch, peaks } = makePool({ a: 3, b: 3, c: 4, huge: 100 }, { maxBytes: 7 });
    for (const id of ["a", "b", "c", "huge", "a"]) await touch(id);
    t.deepEqual(log, ["+a", "+b", "-a", "+c", "-b", "-c", "+huge", "-huge", "+a"]);
    t.is(peaks.bytes, 100);
});

test("a model in use stays, and the request for another waits for it", async (t) => {
    const { pool, log, hold, touch } = makePool({ a: 1, b: 1 }, { maxModels: 1 });
    const first = hold("a");
    await until(() => pool.stateOf("a") === "loaded", "a is loaded");
    const other = touch("b");
    await until(() => pool.waiting === 1, "b waits");
    // requests for the loaded model go on meanwhile
    t.is(await touch("a"), "a");
    t.deepEqual(log, ["+a"]);
    first.open();
    t.is(await other, "b");
    await first.held;
    t.deepEqual(log, ["+a", "-a", "+b"]);
});

test("while a model is being loaded, others answer, and all who want it share the loading", async (t) => {
    const { pool, log, touch, load } = makePool({ a: 1, b: 1 }, { slow: "b" });
    await touch("a");
    const waiting = [touch("b"), touch("b"), touch("b")];
    await until(() => pool.stateOf("b") === "loading", "b is being loaded");
    t.is(await touch("a"), "a");
    load();
    t.deepEqual(await Promise.all(waiting), ["b", "b", "b"]);
    t.deepEqual(log, ["+a", "+b"]);
});

test("a model that is always in use leaves after a while", async (t) => {
    const { pool, touch, hold, log } = makePool({ a: 1, b: 1 }, { maxModels: 1, patienceMs: 30 });
    let isOver = false;
    let uses = 0;
    // two users whose uses overlap, so that the model is never idle
    const users = [0, 1].map(async (delay) => {
        await new Promise((resolve) => setTimeout(resolve, delay * 5));
        while (!isOver) {
            const { held, open } = hold("a");
            setTimeout(open, 10);
            await held;
            uses++;
        }
    });
    await until(() => uses > 4, "a is in use");
    t.is(await touch("b"), "b");
    isOver = true;
    await Promise.all(users);
    t.is(log[2], "+b");
    t.is(pool.users, 0);
});

test("nobody waits for the end of a document's reading who need not", async (t) => {
    const { pool, touch, hold } = makePool({ a: 1, b: 1 }, { maxModels: 1, patienceMs: 0 });
    const reading = hold("a", true);
    await until(() => pool.stateOf("a") === "loaded", "a is loaded");
    const other = touch("b");
    await until(() => pool.waiting === 1, "b waits");
    for (let i = 0; i < 3; i++) t.is(await touch("a"), "a");
    reading.open();
    t.is(await other, "b");
});

test("a model that need not leave after all is not loaded twice", async (t) => {
    const { pool, log, hold, touch, alive } = makePool({ a: 1, b: 3, c: 3 }, { maxBytes: 5, patienceMs: 0 });
    const [a, b] = [hold("a"), hold("b")];
    await until(() => pool.stateOf("b") === "loaded", "both are loaded");
    // c needs the room of b, but a was used before b, so a is to leave, and takes on nothing new
    const c = touch("c");
    const again = touch("a");
    await until(() => pool.waiting === 2, "two wait");
    b.open();
    t.is(await c, "c");
    t.is(await again, "a");
    t.deepEqual(log, ["+a", "+b", "-b", "+c"]);
    a.open();
    await Promise.all([a.held, b.held]);
    await pool.dispose();
    t.is(alive.size, 0);
});

test("a request that is given up leaves the queue, and later ones continue", async (t) => {
    const { pool, touch, hold } = makePool({ a: 1, b: 1, c: 1 }, { maxModels: 1 });
    const first = hold("a");
    await until(() => pool.stateOf("a") === "loaded", "a is loaded");
    const gone = new AbortController();
    const given = t.throwsAsync(
        pool.use("b", gone.signal, async () => {}),
        { message: "gone" }
    );
    const next = touch("c");
    await until(() => pool.waiting === 2, "two wait");
    gone.abort(new Error("gone"));
    await given;
    first.open();
    t.is(await next, "c");
    t.is(pool.stateOf("b"), "unloaded");
    await t.throwsAsync(
        pool.use("b", gone.signal, async () => {}),
        { message: "gone" }
    );
});

test("a model that cannot be loaded fails its own requests alone, each time", async (t) => {
    const { touch, log, pool } = makePool({ a: 1, b: 1 }, { broken: "b", maxModels: 1 });
    for (let i = 0; i < 2; i++) {
        const error = await t.throwsAsync(touch("b"), { instanceOf: ApiError });
        t.is(error.status, 500);
        t.regex(error.message, /`b` cannot be loaded/);
    }
    t.is(await touch("a"), "a");
    t.deepEqual(log, ["!b: damaged", "!b: damaged", "+a"]);
    t.is(pool.users, 0);
});

test("the number of waiting requests is bounded", async (t) => {
    const { pool, hold, touch } = makePool({ a: 1, b: 1 }, { maxModels: 1, maxWaiting: 1 });
    const first = hold("a");
    await until(() => pool.stateOf("a") === "loaded", "a is loaded");
    const waits = touch("b");
    const error = await t.throwsAsync(touch("b"), { instanceOf: ApiError });
    t.is(error.status, 429);
    first.open();
    t.is(await waits, "b");
});

test("a model is unloaded on request, unless it is in use", async (t) => {
    const { pool, hold, touch, alive } = makePool({ a: 1 });
    t.true(await pool.unload("a"));
    const { held, open } = hold("a");
    await until(() => pool.stateOf("a") === "loaded", "a is loaded");
    t.false(await pool.unload("a"));
    open();
    await held;
    t.true(await pool.unload("a"));
    t.is(alive.size, 0);
    t.is(await touch("a"), "a");
});

test("a pool that drains finishes what is running and waiting, and accepts no more", async (t) => {
    const { pool, hold, touch, alive } = makePool({ a: 1, b: 1 }, { maxModels: 1 });
    const first = hold("a");
    await until(() => pool.stateOf("a") === "loaded", "a is loaded");
    const waits = touch("b");
    let isDrained = false;
    const drained = pool.drain().then(() => {
        isDrained = true;
    });
    const refused = await t.throwsAsync(touch("a"), { instanceOf: ApiError });
    t.is(refused.status, 503);
    t.false(isDrained);
    first.open();
    t.is(await waits, "b");
    await drained;
    await pool.dispose();
    t.is(alive.size, 0);
});

test("a pool that is disposed ends a loading and refuses those who wait for it", async (t) => {
    const { pool, touch, alive } = makePool({ a: 1, b: 1 }, { slow: "b" });
    await touch("a");
    const waits = t.throwsAsync(touch("b"), { instanceOf: ApiError });
    await until(() => pool.stateOf("b") === "loading", "b is being loaded");
    await pool.dispose();
    t.is((await waits).status, 503);
    t.is(alive.size, 0);
    t.is(pool.stateOf("b"), "unloaded");
});

test("random uses never exceed the bound, never lose a model in use, and all end", async (t) => {
    const ids = ["a", "b", "c", "d", "e"];
    const sizes = Object.fromEntries(ids.map((id, i) => [id, i + 1]));
    const { pool, signal, peaks, alive } = makePool(sizes, { maxModels: 3, maxBytes: 9, patienceMs: 2 });
    let seed = 1;
    const random = (below: number) => {
        seed = (seed * 48271) % 2147483647;
        return seed % below;
    };
    const uses = Array.from({ length: 400 }, async () => {
        const id = ids[random(ids.length)]!;
        const [delay, time] = [random(200), random(5)];
        await new Promise((resolve) => setTimeout(resolve, delay));
        await pool.use(id, signal, async (model) => {
            t.is(model.id, id);
            for (let i = 0; i < 3; i++) {
                await new Promise((resolve) => setTimeout(resolve, time));
                if (model.isDisposed) t.fail(`${id} was unloaded while it was in use`);
            }
        });
    });
    await Promise.all(uses);
    t.true(peaks.models <= 3 && peaks.bytes <= 9);
    t.is(pool.users, 0);
    t.is(pool.waiting, 0);
    await pool.dispose();
    t.is(alive.size, 0);
});
