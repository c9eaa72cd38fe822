import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { repositoryRoot } from "../helpers/repository.js";
import { makeScriptedModel } from "../helpers/scripted-model.js";
import { post } from "../helpers/server.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { until } from "../helpers/until.js";

/** Time within which `/health` answers. Unit: milliseconds. */
const maxHealth = 100;

/** Starts `armt serve` in a process of its own, whose event loop the test does not use. */
async function serve(t: ExecutionContext, template?: string): Promise<{ child: ChildProcess; url: string }> {
    const folder = temporaryFolder(t);
    const model = path.join(folder, "model.gguf");
    await makeScriptedModel(folder, model, { script: [["\n", "a"]], template });
    const child = spawn(process.execPath, [cli, "serve", model, "--port", "0", "--threads", "1"]);
    t.teardown(() => child.kill("SIGKILL"));
    let log = "";
    for (const output of [child.stdout, child.stderr])
        output.setEncoding("utf8").on("data", (text: string) => {
            log += text;
        });
    await until(() => /at http:\S+/.test(log), "the server listens");
    return { child, url: /at (http:\S+)/.exec(log)![1]! };
}

/** Time of the process's main thread: with other work on the machine, the clock's time would say little. */
function clock({ pid }: ChildProcess): number {
    if (process.platform !== "linux") return performance.now();
    return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;
}

/** The longest time for `/health` while `work` is done. */
async function slowestHealth(server: { child: ChildProcess; url: string }, work: Promise<unknown>): Promise<number> {
    let slowest = 0;
    let isDone = false;
    const done = work.finally(() => {
        isDone = true;
    });
    while (!isDone) {
        const started = clock(server.child);
        const { status } = await fetch(`${server.url}/health`);
        if (status !== 200) throw new Error(`/health: ${status}`);
        slowest = Math.max(slowest, clock(server.child) - started);
    }
    await done;
    return slowest;
}

/** Whether the main thread comes to rest within seconds. */
async function isIdle(child: ChildProcess): Promise<boolean> {
    for (let attempt = 0; attempt < 50; attempt++) {
        const before = clock(child);
        await setTimeout(100);
        if (process.platform !== "linux" || clock(child) - before < 30) return true;
    }
    return false;
}

const M = 2 ** 20;
const cli = path.join(repositoryRoot, "dist", "src", "cli", "main.js");
const message = { role: "user", content: "hi" };
const chat = "/v1/chat/completions";
const tool = (parameters: object, description = "") => ({
    messages: [message],
    tools: [{ type: "function", function: { name: "a", description, parameters } }]
});
const call = (json: string) => ({
    messages: [
        message,
        { role: "assistant", tool_calls: [{ id: "c", type: "function", function: { name: "a", arguments: json } }] },
        { role: "tool", tool_call_id: "c", content: "" }
    ]
});
const requests: [name: string, path: string, body: () => unknown, status: number][] = [
    ["31 million token ids", "/v1/completions", () => `{"prompt":[${"1,".repeat(31 * M)}1]}`, 413],
    ["a million wrong token ids", "/v1/completions", () => `{"prompt":[${"9999,".repeat(M - 9)}1]}`, 400],
    ["a million token ids to detokenize", "/detokenize", () => `{"tokens":[${"100,".repeat(M - 9)}1]}`, 200],
    [
        "a long constant",
        chat,
        () => ({
            messages: [message],
            response_format: { type: "json_schema", json_schema: { name: "a", schema: { const: "x".repeat(50 * M) } } }
        }),
        400
    ],
    [
        "a pattern of nested counts",
        chat,
        () =>
            tool({ type: "object", properties: { a: { type: "string", pattern: "^((((a{1,9}){1,9}){1,9}){1,9})$" } } }),
        400
    ],
    ["a long description", chat, () => tool({}, "x".repeat(20 * M)), 400],
    ["many properties", chat, () => tool({ enum: Array.from({ length: 49_000 }, (_, i) => `value ${i}`) }), 400],
    ["nested arguments", chat, () => call(`${"[".repeat(100_000)}${"]".repeat(100_000)}`), 400],
    ["long arguments", chat, () => call(JSON.stringify("x".repeat(8 * M))), 400],
    ["many messages", chat, () => ({ messages: Array(15_000).fill(message) }), 400],
    ["a long number", chat, () => `{"messages":[],"seed":${"1".repeat(4 * M)}}`, 400],
    ["text that is cut off", chat, () => `{"a":"${"x".repeat(30 * M)}`, 400]
];

test("other requests have their turn while a costly one is refused or answered", async (t) => {
    const server = await serve(t);
    for (const [name, route, make, status] of requests) {
        const body = make();
        const text = typeof body === "string" ? body : JSON.stringify(body);
        // the first attempt may include what runs once, such as the start of a worker
        let slowest = Number.POSITIVE_INFINITY;
        for (let attempt = 0; attempt < 3 && slowest > maxHealth; attempt++) {
            const answer = post(server.url + route, text).catch(() => undefined);
            slowest = await slowestHealth(server, answer);
            // a server that has answered closes the connection to a client that still sends
            const given = await answer;
            if (given !== undefined) t.is(given.status, status, `${name}: ${given.text.slice(0, 300)}`);
        }
        t.true(slowest <= maxHealth, `${name}: ${slowest} ms`);
    }
});

test("long texts are tokenized in turn with others, and no longer than their client waits", async (t) => {
    const server = await serve(t);
    const texts = ["a".repeat(4 * M), "<".repeat(4 * M), "one two\n".repeat(M / 2), " ".repeat(4 * M)];
    for (const content of texts)
        for (const [route, body] of [
            ["/tokenize", { content }],
            [chat, { messages: [{ role: "user", content }], max_tokens: 1 }]
        ] as const) {
            let slowest = Number.POSITIVE_INFINITY;
            for (let attempt = 0; attempt < 3 && slowest > maxHealth; attempt++) {
                const sent = fetch(server.url + route, {
                    method: "POST",
                    headers: { "content-type": "application/json" },
                    body: JSON.stringify(body),
                    signal: AbortSignal.timeout(700)
                }).then(
                    (answer) => answer.text(),
                    () => undefined
                );
                slowest = await slowestHealth(server, sent);
            }
            t.true(slowest <= maxHealth, `${route} ${JSON.stringify(content.slice(0, 8))}: ${slowest} ms`);
            t.true(await isIdle(server.child), `${route} continues after its client left`);
        }
});

test("a server starts with a template that does not end, and answers everything but chats", async (t) => {
    const server = await serve(t, "{% for i in range(1000000000) %}{% endfor %}");
    const answer = post(server.url + chat, { messages: [message] });
    t.true((await slowestHealth(server, answer)) <= maxHealth);
    const { status, json } = await answer;
    t.is(status, 500);
    t.is(json().error?.code, "template_limit");
    t.is((await post(`${server.url}/v1/completions`, { prompt: "a", max_tokens: 1 })).status, 200);
});
