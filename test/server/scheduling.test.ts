import { request as httpRequest } from "node:http";
import autocannon from "autocannon";
import test from "ava";
import { fairBatching } from "../../src/server/engine/batching.js";
import { post, readEvents, send, startServer } from "../helpers/server.js";
import { until } from "../helpers/until.js";

const long = (tokens: number) => Array.from({ length: tokens }, (_, i) => (i * 31 + (i >> 5)) % 250);
const short = { prompt: "Hi", max_tokens: 4, temperature: 0 };

/** A request that can be torn off. */
function begin(url: string, body: object) {
    const request = httpRequest(url, { method: "POST", headers: { "content-type": "application/json" }, agent: false });
    request.on("error", () => {});
    request.end(JSON.stringify(body));
    return request;
}

const item = (count: number) => ({ tokens: Array(count).fill(0), logits: [], evaluationPriority: 5 as const });

test("a batch takes steps of answers whole, and of long prompts equal parts of a quarter, or of all of it", (t) => {
    const amounts = (...counts: number[]) => {
        const items = counts.map(item);
        const chosen = fairBatching({ items: items as never, size: 512 });
        return items.map((one) => chosen.find((other) => other.item === (one as never))?.processAmount ?? 0);
    };
    t.deepEqual(amounts(100_000), [512]);
    t.deepEqual(amounts(100_000, 1), [128, 1]);
    t.deepEqual(amounts(1, 100_000, 1, 30), [1, 128, 1, 30]);
    t.deepEqual(amounts(100_000, 100_000), [256, 256]);
    t.deepEqual(amounts(100_000, 1, 100_000), [64, 1, 64]);
    t.deepEqual(amounts(40, 100_000), [40, 128]);
    t.deepEqual(amounts(300, 100_000), [300, 128]);
    t.deepEqual(amounts(500, 100_000, 1), [383, 128, 1]);
    t.deepEqual(amounts(128, 128, 128, 128, 100_000), [128, 128, 128, 0, 128]);
    t.true(amounts(...Array(600).fill(1)).reduce((sum, amount) => sum + amount) === 512);
    for (const amount of amounts(...Array(300).fill(1000)).slice(0, 128)) t.true(amount >= 1);
});

test("a short chat is answered while a huge prompt is read", async (t) => {
    const { url, server } = await startServer(t, { sequences: 2 });
    const huge = begin(`${url}/v1/completions`, { prompt: long(60_000), max_tokens: 1 });
    await until(() => server.engine.pool.busy === 1, "the huge prompt is being read");
    for (let i = 0; i < 5; i++) t.is((await post(`${url}/v1/completions`, short)).status, 200);
    t.is(server.engine.pool.busy, 1);
    huge.destroy();
    await until(() => server.engine.pool.busy === 0, "the huge prompt is given up");
});

test("prompts of several requests share the diagonals, also where the store keeps what they leave", async (t) => {
    const layers = 6;
    const prompts = [12, 5, 9, 7].map((segments, i) => long(64 * segments + 9 + i).map((id) => (id + 37 * i) % 250));
    const answer = async (textsPerLayer: number, together: boolean) => {
        const { url, server } = await startServer(t, {
            tiny: { layers, segmentSize: 64 },
            sequences: prompts.length,
            armt: { schedule: "diagonal", maxCells: layers, textsPerLayer }
        });
        const { armt } = server.engine.context;
        armt!.trace.start();
        const ask = async (prompt: number[]) =>
            (await post(`${url}/v1/completions`, { prompt, max_tokens: 3, temperature: 0 })).json().choices;
        const answers = [];
        if (together) answers.push(...(await Promise.all(prompts.map(ask))));
        else for (const prompt of prompts) answers.push(await ask(prompt));
        const diagonals = armt!.trace.stop().filter(({ type }) => type === "diagonal");
        const sequencesAt = new Map<number, Set<number>>();
        for (const { startMs, sequence } of diagonals)
            sequencesAt.set(startMs, (sequencesAt.get(startMs) ?? new Set()).add(sequence));
        const shared = [...sequencesAt.values()].filter(({ size }) => size > 1).length;
        return { answers, steps: sequencesAt.size, shared };
    };
    const alone = await answer(0, false);
    const shared = await answer(1, true);
    t.log({ alone: alone.steps, steps: shared.steps, shared: shared.shared });
    t.is(alone.shared, 0);
    t.deepEqual(shared.answers, alone.answers);
    t.true(shared.steps < 0.7 * alone.steps, `${shared.steps} steps, ${alone.steps} alone`);
    t.true(shared.shared > shared.steps / 2, `${shared.shared} of ${shared.steps} steps`);
});

test("a prompt whose client disconnects stops within a batch, and a retry resumes it", async (t) => {
    const { url, server } = await startServer(t, { sequences: 1 });
    const body = { prompt: long(30_000), max_tokens: 1, temperature: 0 };
    const request = begin(`${url}/v1/completions`, body);
    const [sequence] = (server.engine.pool as unknown as { sequences: { armt: { tokens: number } }[] }).sequences;
    await until(() => sequence!.armt.tokens > 2000, "something is read");
    request.destroy();
    const torn = sequence!.armt.tokens;
    await until(() => server.engine.pool.busy === 0, "it is given up");
    t.true(sequence!.armt.tokens - torn <= 1024, `${torn} ${sequence!.armt.tokens}`);
    t.is((await post(`${url}/v1/completions`, short)).status, 200);
    const { events } = readEvents(
        (await post(`${url}/v1/completions`, { ...body, stream: true, stream_options: { include_usage: true } })).text
    );
    const usage = events.at(-1)!.usage as { prompt_tokens_details: { cached_tokens: number } };
    t.true(usage.prompt_tokens_details.cached_tokens >= 64, "the sequence held something else meanwhile");
    const again = (await post(`${url}/v1/completions`, body)).json();
    t.is((again.usage as typeof usage).prompt_tokens_details.cached_tokens, 29_999);
});

test("an answer whose client disconnects ends", async (t) => {
    const { url, server } = await startServer(t, { sequences: 1 });
    const body = { prompt: "Hi", max_tokens: 1_000_000, stream: true, logit_bias: { 287: -100, 286: -100 } };
    const request = begin(`${url}/v1/completions`, body);
    await new Promise((resolve) => request.on("response", (response) => response.once("data", resolve)));
    t.is(server.engine.pool.busy, 1);
    request.destroy();
    await until(() => server.engine.pool.busy === 0, "it ended");
    t.regex((await send(`${url}/metrics`, { method: "GET" })).text, /^armt_requests_cancelled_total 1$/m);
});

test("a full queue is a 429 with Retry-After, and waiting requests are served in order", async (t) => {
    const { url, server } = await startServer(t, { sequences: 1, maxQueue: 2 });
    const body = { prompt: long(20_000), max_tokens: 1 };
    const first = begin(`${url}/v1/completions`, body);
    await until(() => server.engine.pool.busy === 1, "the first is at work");
    const waiting = [
        post(`${url}/v1/completions`, short),
        post(`${url}/v1/chat/completions`, { messages: [{ role: "user", content: "x" }], max_tokens: 1 })
    ];
    await until(() => server.engine.pool.waiting === 2, "two wait");
    for (const stream of [false, true]) {
        const refused = await post(`${url}/v1/completions`, { ...short, stream });
        t.is(refused.status, 429);
        t.true(Number(refused.headers["retry-after"]) >= 1);
        t.is(refused.json().error!.code, "queue_full");
    }
    first.destroy();
    t.deepEqual(
        (await Promise.all(waiting)).map(({ status }) => status),
        [200, 200]
    );
});

test("a request that leaves the queue frees its place", async (t) => {
    const { url, server } = await startServer(t, { sequences: 1 });
    const first = begin(`${url}/v1/completions`, { prompt: long(20_000), max_tokens: 1 });
    await until(() => server.engine.pool.busy === 1, "the first is at work");
    const second = begin(`${url}/v1/completions`, short);
    await until(() => server.engine.pool.waiting === 1, "the second waits");
    second.destroy();
    await until(() => server.engine.pool.waiting === 0, "nobody waits");
    first.destroy();
    await until(() => server.engine.pool.busy === 0, "the first is given up");
    t.is((await post(`${url}/v1/completions`, short)).status, 200);
});

test("a deadline is a 504, in a stream an event, and frees the sequence", async (t) => {
    const { url, server } = await startServer(t, { sequences: 1 });
    const body = { prompt: long(60_000), max_tokens: 1 };
    const late = await post(`${url}/v1/completions`, { ...body, armt: { deadline_ms: 200 } });
    t.is(late.status, 504);
    t.is(late.json().error!.code, "deadline_exceeded");
    const stream = { ...body, prompt: long(60_001).reverse(), stream: true };
    // on a busy machine, a deadline may come before the stream begins
    for (let deadline = 200; ; deadline *= 2) {
        const { status, text } = await post(`${url}/v1/completions`, { ...stream, armt: { deadline_ms: deadline } });
        if (status !== 200) {
            t.is(status, 504);
            continue;
        }
        const { events, done } = readEvents(text);
        t.false(done);
        t.is(events.at(-1)!.error!.code, "deadline_exceeded");
        break;
    }
    await until(() => server.engine.pool.busy === 0, "the sequence is free");
});

test("a stream sends pings while the prompt is read, and progress on request", async (t) => {
    const { url } = await startServer(t, { pingIntervalMs: 1 });
    const body = { prompt: long(8_000), max_tokens: 1, stream: true };
    const silent = await post(`${url}/v1/completions`, body);
    t.regex(silent.text, /^: ping$/m);
    const { events } = readEvents(
        (await post(`${url}/v1/completions`, { ...body, prompt: long(8_000).reverse(), return_progress: true })).text
    );
    const progress = events.flatMap(({ prompt_progress }) =>
        prompt_progress === undefined ? [] : [prompt_progress as Record<string, number>]
    );
    t.true(progress.length >= 3);
    for (const [i, { total, processed, cache, time_ms }] of progress.entries()) {
        t.is(total, 8000);
        t.true(cache! <= processed! && time_ms! >= 0);
        t.true(i === 0 || processed! >= progress[i - 1]!.processed!);
    }
    t.is(progress.at(-1)!.processed, 8000);
});

test("a server that ends finishes its requests and accepts no more", async (t) => {
    const { url, server } = await startServer(t, { sequences: 1 });
    const answers = [
        post(`${url}/v1/completions`, { prompt: long(8_000), max_tokens: 2 }),
        post(`${url}/v1/completions`, short)
    ];
    await until(() => server.engine.pool.waiting === 1, "one is at work and one waits");
    const drained = server.models.drain();
    const refused = await post(`${url}/v1/completions`, short);
    t.is(refused.status, 503);
    t.truthy(refused.headers["retry-after"]);
    t.is((await send(`${url}/health`, { method: "GET" })).status, 503);
    await drained;
    t.deepEqual(
        (await Promise.all(answers)).map(({ status }) => status),
        [200, 200]
    );
});

test("1,000 parallel requests are all answered, and memory stays", async (t) => {
    const { url, server } = await startServer(t, { sequences: 8, maxQueue: 1000 });
    const maxGrowth = 64 * 2 ** 20;
    const reasons = new Set<string>();
    const storm = () =>
        new Promise<autocannon.Result>((resolve, reject) => {
            const options = {
                url: `${url}/v1/completions`,
                method: "POST" as const,
                headers: { "content-type": "application/json" },
                body: JSON.stringify({ ...short, max_tokens: 2 }),
                connections: 1000,
                amount: 1000,
                timeout: 280
            };
            const running = autocannon(options, (error, result) => {
                if (error) reject(error);
                else resolve(result);
            });
            running.on("reqError", (error: unknown) => reasons.add(String(error)));
        });
    const storms = [await storm()];
    // garbage that is not collected yet comes and goes, while what is lost adds up with every storm
    let growth = Number.POSITIVE_INFINITY;
    while (growth >= maxGrowth && storms.length < 5) {
        const before = process.memoryUsage.rss();
        storms.push(await storm());
        growth = process.memoryUsage.rss() - before;
    }
    for (const { errors, timeouts, non2xx, "2xx": ok } of storms) {
        t.deepEqual({ errors, timeouts, non2xx }, { errors: 0, timeouts: 0, non2xx: 0 }, [...reasons].join(", "));
        t.is(ok, 1000);
    }
    t.true(growth < maxGrowth, `${growth} bytes`);
    t.is(server.engine.pool.busy, 0);
    const { text } = await send(`${url}/metrics`, { method: "GET" });
    const requests = 1000 * storms.length;
    t.true(text.includes(`\narmt_http_requests_total{route="/v1/completions",status="200"} ${requests}\n`));
    t.true(text.includes(`\narmt_completion_tokens_total ${2 * requests}\n`));
});
