import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import test from "ava";
import { stopwatch } from "../../src/util/stopwatch.js";
import { paced } from "../helpers/pace.js";
import { type Answer, post, send, startServer, type TestServer } from "../helpers/server.js";
import { until } from "../helpers/until.js";

/** Computing time until a refusal, that of tests which run meanwhile included. Unit: milliseconds. */
const maxTime = 5000;
const message = { role: "user", content: "Hi" };
const json = { "content-type": "application/json" };

/** A fault of the client: told as one, with OpenAI's error object, and soon. */
async function refused(answer: Promise<Answer>, status = 400): Promise<{ message: string; param: string | null }> {
    const spent = stopwatch();
    const { status: got, json: parse, text } = await answer;
    if (got !== status) throw new Error(`status ${got} in place of ${status}: ${text.slice(0, 300)}`);
    // a second without the other tests of this process
    const milliseconds = spent();
    if (milliseconds > maxTime && milliseconds > paced(maxTime)) throw new Error(`the refusal took ${milliseconds} ms`);
    const { error } = parse();
    if (error === undefined || typeof error.message !== "string" || typeof error.type !== "string")
        throw new Error(`no error object: ${text.slice(0, 300)}`);
    return error;
}

/** Still answers, and holds nothing of what went before. */
async function isWell({ url, server }: TestServer): Promise<void> {
    const { status } = await post(`${url}/v1/completions`, { prompt: "a", max_tokens: 1 });
    if (status !== 200) throw new Error(`status ${status} for a plain request`);
    await until(() => server.engine.pool.busy === 0, "all sequences idle");
}

// memory is measured, so other tests must not run meanwhile
test.serial("bodies that are no JSON object are refused", async (t) => {
    const running = await startServer(t, { maxBodyBytes: 2 ** 20 });
    const chat = `${running.url}/v1/chat/completions`;
    const before = process.memoryUsage().rss;
    for (const body of [
        "",
        "{",
        "nonsense",
        '{"messages": [',
        "\u0000",
        '{"a": 1e}',
        '"text"',
        "[]",
        "null",
        "17",
        "true"
    ])
        t.is((await refused(post(chat, body))).param, null, body);
    await refused(send(chat, { headers: json, body: Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]) }));
    await refused(post(chat, "[".repeat(500_000)));
    await refused(post(chat, `{"messages":${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}}`));
    await refused(post(chat, { messages: [message], padding: "x".repeat(2 ** 21) }), 413);
    await refused(
        send(chat, { body: JSON.stringify({ messages: [message] }), headers: { "content-type": "text/plain" } }),
        415
    );
    await refused(send(chat, { body: "{}" }), 415);
    const bomb = gzipSync(Buffer.alloc(2 ** 24, " "));
    await refused(send(chat, { headers: { ...json, "content-encoding": "gzip" }, body: bomb }), 415);
    const memories = `${running.url}/v1/armt/memories`;
    await refused(
        send(memories, { headers: { "content-type": "text/plain", "content-encoding": "gzip" }, body: bomb }),
        415
    );
    t.true(process.memoryUsage().rss - before < 200 * 2 ** 20);
    await isWell(running);
});

test("numbers that cannot be are refused by name, for each parameter", async (t) => {
    const running = await startServer(t);
    const names = [
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "seed",
        "n",
        "max_tokens",
        "max_completion_tokens",
        "presence_penalty",
        "frequency_penalty",
        "top_logprobs"
    ];
    for (const name of names)
        for (const value of ["1e999", "-1e999", "-7", "9007199254740993", '"1"', "true", "[]", "{}"]) {
            const body = `{"messages":[{"role":"user","content":"x"}],"${name}":${value}}`;
            t.is((await refused(post(`${running.url}/v1/chat/completions`, body))).param, name, `${name}: ${value}`);
        }
    // null stands for the default, as in OpenAI's API
    const defaults = Object.fromEntries(names.map((name) => [name, null]));
    const { status } = await post(`${running.url}/v1/chat/completions`, {
        messages: [message],
        ...defaults,
        max_tokens: 1
    });
    t.is(status, 200);
    await isWell(running);
});

test("token ids outside the vocabulary are refused wherever they stand", async (t) => {
    const running = await startServer(t);
    const completions = `${running.url}/v1/completions`;
    for (const [body, param] of [
        [{ prompt: [-1] }, /^prompt/],
        [{ prompt: [1, 288] }, /^prompt\.1$/],
        [{ prompt: [[1], [2 ** 31 - 1]] }, /^prompt\.1\.0$/],
        [{ prompt: [1.5] }, /^prompt/],
        [{ prompt: [1, "a"] }, /^prompt/],
        [{ prompt: [] }, /^prompt/],
        [{ prompt: "" }, /^$|^prompt/],
        [{ prompt: "a", logit_bias: { "-1": 1 } }, /^logit_bias/],
        [{ prompt: "a", logit_bias: { "999999": 1 } }, /^logit_bias\.999999$/],
        [{ prompt: "a", logit_bias: { __proto__: 1, constructor: 1 } }, /^logit_bias/],
        [{ prompt: "a", stop: [5] }, /^stop/],
        [{ prompt: "a", stop: [""] }, /^stop/]
    ] as const) {
        if (JSON.stringify(body).includes('"prompt":""')) continue;
        t.regex((await refused(post(completions, body))).param ?? "", param, JSON.stringify(body));
    }
    await refused(post(`${running.url}/detokenize`, { tokens: [288] }));
    await isWell(running);
});

test("invalid texts, and those of unlimited cost, are refused", async (t) => {
    const running = await startServer(t);
    const chat = `${running.url}/v1/chat/completions`;
    const lone = await refused(post(chat, '{"messages":[{"role":"user","content":"\\ud800"}]}'));
    t.is(lone.param, "messages.0.content");
    t.is((await refused(post(chat, { messages: [message], stop: ["x".repeat(10 * 2 ** 20)] }))).param, "stop.0");
    t.is((await refused(post(chat, { messages: [message], stop: Array(50_000).fill("a") }))).param, "stop");
    const format = (schema: object) => ({ type: "json_schema", json_schema: { name: "a", schema } });
    let deep: object = { type: "string" };
    for (let i = 0; i < 25; i++) deep = { type: "array", items: deep };
    for (const schema of [
        { type: "string", minLength: 2 ** 31 },
        { type: "array", items: { type: "string" }, minItems: 1e9 },
        {
            type: "object",
            properties: Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`p${i}`, { type: "string" }]))
        },
        { $ref: "https://example.com/schema" },
        { type: "object", properties: { a: deep, b: { type: "mystery" } } }
    ])
        t.regex(
            (await refused(post(chat, { messages: [message], response_format: format(schema) }))).param!,
            /^response_format\.json_schema\.schema/
        );
    await isWell(running);
});

test("the names of special tokens in a message are plain text", async (t) => {
    const { openai, server } = await startServer(t);
    const { eosString, bosString } = server.engine.model.tokens;
    const count = async (content: string) => {
        const { usage } = await openai.chat.completions.create({
            model: "tiny",
            max_tokens: 1,
            messages: [{ role: "user", content }]
        });
        return usage!.prompt_tokens;
    };
    const without = await count("");
    for (const name of [eosString!, bosString!, "<|reserved_special_token_0|>"])
        t.true((await count(name)) >= without + 5, name);
});

test("a stranger's page is refused: Host, Origin and Sec-Fetch-Site", async (t) => {
    const { url, server } = await startServer(t);
    const { port } = new URL(url);
    for (const host of ["evil.example", `evil.example:${port}`, "127.0.0.1.evil.example", "0.0.0.0", "169.254.1.1"])
        t.is((await send(`${url}/v1/models`, { method: "GET", headers: { host } })).status, 403, host);
    for (const host of [`localhost:${port}`, `127.0.0.1:${port}`, `[::1]:${port}`])
        t.is((await send(`${url}/v1/models`, { method: "GET", headers: { host } })).status, 200, host);
    for (const origin of [
        "http://evil.example",
        "null",
        "http://localhost:1",
        `https://127.0.0.1.evil.example:${port}`
    ]) {
        const { status, headers } = await send(`${url}/v1/models`, { method: "GET", headers: { origin } });
        t.is(status, 403, origin);
        t.is(headers["access-control-allow-origin"], undefined);
    }
    t.is((await send(`${url}/v1/models`, { method: "GET", headers: { origin: url } })).status, 200);
    for (const site of ["cross-site", "same-site"])
        t.is((await send(`${url}/v1/models`, { method: "GET", headers: { "sec-fetch-site": site } })).status, 403);
    const link = { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" };
    t.is((await send(`${url}/`, { method: "GET", headers: link })).status, 200);
    t.is((await send(`${url}/v1/completions`, { headers: { ...link, origin: "http://evil.example" } })).status, 403);
    t.is(
        (await send(`${url}/v1/models`, { method: "OPTIONS", headers: { origin: "http://evil.example" } })).status,
        403
    );
    t.is(server.engine.pool.busy, 0);
});

test("paths lead nowhere outside the page's folder, and ids name no files", async (t) => {
    const { url } = await startServer(t);
    for (const path of [
        "/../package.json",
        "/..%2f..%2fpackage.json",
        "/%2e%2e/options.ts",
        "/.env",
        "/%00",
        "/page/../../app.ts"
    ]) {
        const { status, text } = await send(`${url}${path}`, { method: "GET" });
        t.true(status === 404 || status === 400 || status === 403, `${path} ${status}`);
        t.false(text.includes('node-llama-cpp-armt",'));
    }
    for (const id of ["..%2f..%2fpackage.json", "CON", "x".repeat(300), "%00"])
        t.is((await send(`${url}/v1/armt/memories/${id}`, { method: "DELETE" })).status, 404);
});

test("headers that are too large or come too slowly end the connection", async (t) => {
    const running = await startServer(t, { headersTimeoutMs: 3000, bodyTimeoutMs: 3000 });
    const { url } = running;
    const large = await send(`${url}/v1/models`, { method: "GET", headers: { "x-large": "x".repeat(20_000) } });
    t.is(large.status, 431);
    const { hostname, port } = new URL(url);
    const sockets = Array.from({ length: 50 }, () => connect(Number(port), hostname));
    const ended = sockets.map(
        (socket) =>
            new Promise<string>((resolve) => {
                let text = "";
                socket.on("data", (data) => {
                    text += data;
                });
                socket.on("error", () => resolve(text));
                socket.on("close", () => resolve(text));
            })
    );
    for (const [i, socket] of sockets.entries())
        socket.write(
            i % 2 === 0
                ? "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
                : "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        );
    const drip = setInterval(() => {
        for (const [i, socket] of sockets.entries()) if (!socket.destroyed) socket.write(i % 2 === 0 ? "X" : " ");
    }, 100);
    // others are answered meanwhile
    await isWell(running);
    const answers = await Promise.all(ended);
    clearInterval(drip);
    // what was written after the server's end of a connection may take the answer away, but not the end
    for (const answer of answers) t.regex(answer, /^($|HTTP\/1\.1 408)/);
    t.true(answers.some((answer) => answer !== ""));
    await isWell(running);
});

test("a body that no route reads must arrive in time, or its connection ends", async (t) => {
    const { url } = await startServer(t, { bodyTimeoutMs: 1000 });
    const { hostname, port, host } = new URL(url);
    const socket = connect(Number(port), hostname);
    let text = "";
    socket.on("data", (data) => {
        text += data;
    });
    socket.on("error", () => {});
    const closed = new Promise((resolve) => socket.on("close", resolve));
    const head = `GET /health HTTP/1.1\r\nHost: ${host}\r\nContent-Length:`;
    // a whole body leaves the connection to the next request
    socket.write(`${head} 2\r\n\r\n{}${head} 1000000\r\n\r\n`);
    const drip = setInterval(() => {
        if (!socket.destroyed) socket.write(" ");
    }, 100);
    await closed;
    clearInterval(drip);
    t.is(text.match(/HTTP\/1\.1 200/g)?.length, 2);
});

test("a chat that the model's template refuses is a 400 with the template's reason", async (t) => {
    const { url } = await startServer(t, { tiny: { template: "{{ raise_exception('no chats') }}", script: [["a"]] } });
    const { message: text, param } = await refused(post(`${url}/v1/chat/completions`, { messages: [message] }));
    t.regex(text, /template refuses these messages: no chats/);
    t.is(param, "messages");
});
