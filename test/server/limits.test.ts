import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import test from "ava";
import type { Token } from "../../plugin/index.js";
import { decodeOf, sequenceIdOf } from "../../plugin/node-llama-cpp/decode.js";
import { BodyBudget } from "../../src/server/BodyBudget.js";
import { ResponseStore } from "../../src/server/engine/ResponseStore.js";
import { ApiError } from "../../src/server/errors.js";
import { shutDown } from "../../src/server/shut-down.js";
import { post, startServer, type TestServer } from "../helpers/server.js";
import { until } from "../helpers/until.js";

/** More than the buffers of a connection hold, so that a client that does not read stops the writing. */
const endless = {
    prompt: "a",
    max_tokens: 1_000_000,
    temperature: 1,
    seed: 1,
    stream: true,
    logprobs: 5,
    logit_bias: { 287: -100 }
};

/** Sends a request and never reads the answer. */
function sendOnly({ url }: TestServer, body: object): Socket {
    const { port, host } = new URL(url);
    const socket = connect(Number(port), "127.0.0.1");
    socket.on("error", () => {});
    const text = JSON.stringify(body);
    socket.write(
        `POST /v1/completions HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`
    );
    socket.pause();
    return socket;
}

test("a client that does not read its answer is disconnected at its deadline, and the sequence is free", async (t) => {
    const running = await startServer(t, { sequences: 1 });
    const { pool } = running.server.engine;
    const socket = sendOnly(running, { ...endless, armt: { deadline_ms: 5000 } });
    t.teardown(() => socket.destroy());
    await until(() => pool.busy === 1, "the request runs");
    // nothing else would end it within minutes
    await until(() => pool.busy === 0, "the sequence is free");
    const { status } = await post(`${running.url}/v1/completions`, { prompt: "short", max_tokens: 2 });
    t.is(status, 200);
});

test("a server ends within its drain time, whatever its clients do", async (t) => {
    const running = await startServer(t, { sequences: 1, drainTimeoutMs: 500 });
    const { pool } = running.server.engine;
    const sockets = [sendOnly(running, endless), sendOnly(running, endless)];
    const idle = connect(Number(new URL(running.url).port), "127.0.0.1");
    idle.on("error", () => {});
    t.teardown(() => {
        for (const socket of [...sockets, idle]) socket.destroy();
    });
    await until(() => pool.busy === 1 && pool.waiting === 1, "one request runs and one waits");
    // without a limit, the requests would take minutes, and the connections would stay
    await shutDown(running.server, running);
    t.is(pool.busy, 0);
    await t.throwsAsync(post(`${running.url}/v1/completions`, { prompt: "late" }));
});

test("requests that are open when a server ends get their answers within the drain time", async (t) => {
    const running = await startServer(t, { sequences: 1, drainTimeoutMs: 20_000 });
    const answer = post(`${running.url}/v1/completions`, { prompt: "a", max_tokens: 30, temperature: 0 });
    await until(() => running.server.engine.pool.busy === 1, "the request runs");
    await shutDown(running.server, running);
    t.is((await answer).status, 200);
});

const stored = (id: string, text: string) => ({
    body: { id, output: [] },
    messages: [{ role: "user" as const, text }]
});

test("stored responses are limited in number and in size, and the oldest are removed first", async (t) => {
    const store = new ResponseStore({ maxResponses: 3, maxResponsesBytes: 100_000 });
    for (const id of ["a", "b", "c", "d"]) await store.add(stored(id, `text of ${id}`));
    t.is(store.count, 3);
    t.throws(() => store.get("a"), { instanceOf: ApiError });
    t.deepEqual(store.get("d"), stored("d", "text of d"));
    // random text, which cannot be compressed by much
    await store.add(stored("e", randomBytes(60_000).toString("base64")));
    t.true(store.bytes <= 100_000);
    t.deepEqual(
        ["b", "c", "d", "e"].map((id) => isStored(store, id)),
        [false, true, true, true]
    );
    await store.add(stored("f", randomBytes(60_000).toString("base64")));
    t.deepEqual(
        ["d", "e", "f"].map((id) => isStored(store, id)),
        [false, false, true]
    );
    await store.add(stored("g", randomBytes(120_000).toString("base64")));
    t.false(isStored(store, "g"));
    // a long text of few words takes little room
    await store.add(stored("h", "word ".repeat(400_000)));
    t.is((store.get("h").messages[0] as { text: string }).text.length, 2_000_000);
    store.delete("f");
    store.delete("h");
    t.is(store.bytes, 0);
});

test("an item of a stored response costs the same however long its conversation is", async (t) => {
    const store = new ResponseStore({ maxResponses: 2, maxResponsesBytes: 2 ** 26 });
    const item = { id: "msg_1", text: "short" };
    const messages = [{ role: "user" as const, text: randomBytes(2 ** 23).toString("hex") }];
    await store.add({ body: { id: "long", output: [item] }, messages });
    const before = process.cpuUsage();
    for (let i = 0; i < 300; i++) t.deepEqual(store.item("msg_1", "input.0.id"), item);
    const { user, system } = process.cpuUsage(before);
    // with the whole response, it would be a minute
    t.true(user + system < 5_000_000, `${user + system} µs`);
    store.delete("long");
    t.is(store.bytes, 0);
    t.throws(() => store.item("msg_1", "input.0.id"), { instanceOf: ApiError });
});

function isStored(store: ResponseStore, id: string): boolean {
    try {
        store.get(id);
        return true;
    } catch {
        return false;
    }
}

test("the bodies of open requests are limited in sum, before they are parsed", async (t) => {
    const budget = new BodyBudget(100);
    budget.take(60);
    t.is(t.throws(() => budget.take(50), { instanceOf: ApiError })?.status, 429);
    budget.give(60);
    t.notThrows(() => budget.take(100));

    const { url, server } = await startServer(t, { sequences: 1, maxBodyBytes: 3000, maxBodiesBytes: 4000 });
    const long = { prompt: "a".repeat(2500), max_tokens: 200, temperature: 0, logit_bias: { 287: -100 } };
    const first = post(`${url}/v1/completions`, long);
    await until(() => server.bodies.bytes > 2500, "the first body has arrived");
    const second = await post(`${url}/v1/completions`, long);
    t.is(second.status, 429);
    t.is(second.json().error!.code, "bodies_full");
    t.is(second.headers["retry-after"], "1");
    t.is((await post(`${url}/v1/completions`, { prompt: "short", max_tokens: 1 })).status, 200);
    t.is((await first).status, 200);
    await until(() => server.bodies.bytes === 0, "no body is counted any more");
});

test("a failure to sample fails its own request; the others of the batch continue", async (t) => {
    const { server } = await startServer(t, { sequences: 2 });
    const { context } = server.engine;
    const decode = decodeOf(context);
    const read = (index: number, mapper: (logitIndex: number) => unknown) =>
        server.engine.pool.use([], new AbortController().signal, async (sequence) => {
            await sequence.clearHistory();
            const request = {
                sequenceId: sequenceIdOf(sequence),
                firstTokenSequenceIndex: 0,
                tokens: [65 + index, 66] as Token[],
                logits: [undefined, true] as const
            };
            return await decode(request, mapper);
        });
    const [failed, other] = await Promise.allSettled([
        read(0, () => {
            throw new Error("this one alone");
        }),
        read(1, () => 7)
    ]);
    t.is(failed.status === "rejected" && (failed.reason as Error).message, "this one alone");
    t.deepEqual(other, { status: "fulfilled", value: [[1, 7]] });
});
