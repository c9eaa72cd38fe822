import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { paced } from "../helpers/pace.js";
import { makeModel, post, send } from "../helpers/server.js";
import { ServerProcess } from "../helpers/server-process.js";

/** Time within which `/health` answers, on an idle machine. Unit: milliseconds. */
const maxHealth = 100;

/** Starts `armt serve` in a process of its own, whose event loop the test does not use. */
async function serve(t: ExecutionContext, template?: string): Promise<ServerProcess> {
    const model = await makeModel(t, { script: [["\n", "a"]], template });
    return await ServerProcess.start(["serve", model], { ending: t });
}

/** Times of the process's main thread. Unit: milliseconds. */
interface ThreadTimes {
    /** On a core. */
    readonly computing: number;
    /** For a core, behind other programs. */
    readonly waiting: number;
}

/** With other work on the machine, the clock's time would say little. Only Linux counts the time of a thread. */
function timesOf({ pid }: ChildProcess): ThreadTimes {
    if (process.platform !== "linux") return { computing: performance.now(), waiting: 0 };
    const [computing, waiting] = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, "utf8").split(" ");
    return { computing: Number(computing) / 1e6, waiting: Number(waiting) / 1e6 };
}

/** The longest time that the main thread computes until `/health` is answered, while `work` is done. */
async function slowestHealth({ child, url }: ServerProcess, work: Promise<unknown>): Promise<number> {
    let slowest = 0;
    let isDone = false;
    const done = work.finally(() => {
        isDone = true;
    });
    // if `/health` fails first
    done.catch(() => {});
    while (!isDone) {
        const started = timesOf(child).computing;
        const { status } = await send(`${url}/health`, { method: "GET" });
        if (status !== 200) throw new Error(`/health: ${status}`);
        slowest = Math.max(slowest, timesOf(child).computing - started);
    }
    await done;
    return slowest;
}

/**
 * Checks that `/health` has its turn while a request is answered. The first attempt may include what runs once, such as
 * the start of a worker, and others what happens rarely, such as a collection of all garbage. A request that holds the
 * event loop holds it in each of them.
 */
async function leavesTurns(
    t: ExecutionContext,
    server: ServerProcess,
    what: string,
    request: () => Promise<unknown>
): Promise<void> {
    let [slowest, limit] = [Number.POSITIVE_INFINITY, maxHealth];
    for (let attempt = 0; attempt < 5 && slowest > limit; attempt++) {
        slowest = await slowestHealth(server, request());
        // the machine may be slow, and more so with other work on it
        if (slowest > limit) limit = paced(maxHealth);
    }
    t.true(slowest <= limit, `${what}: ${slowest} ms, ${limit} at most`);
}

/** Whether the main thread comes to rest, so that it neither computes nor waits for a core. */
async function isIdle(child: ChildProcess): Promise<boolean> {
    for (let attempt = 0; attempt < 300; attempt++) {
        const before = timesOf(child);
        await setTimeout(100);
        const { computing, waiting } = timesOf(child);
        if (process.platform !== "linux" || computing - before.computing + waiting - before.waiting < 30) return true;
    }
    return false;
}

const M = 2 ** 20;
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
        await leavesTurns(t, server, name, async () => {
            // a server that has answered closes the connection to a client that still sends
            const given = await post(server.url + route, text).catch(() => undefined);
            if (given !== undefined) t.is(given.status, status, `${name}: ${given.text.slice(0, 300)}`);
        });
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
            await leavesTurns(t, server, `${route} ${JSON.stringify(content.slice(0, 8))}`, () =>
                fetch(server.url + route, {
                    method: "POST",
                    headers: { "content-type": "application/json" },
                    body: JSON.stringify(body),
                    signal: AbortSignal.timeout(700)
                }).then(
                    (answer) => answer.text(),
                    () => undefined
                )
            );
            t.true(await isIdle(server.child), `${route} continues after its client left`);
        }
});

test("a server starts with a template that does not end, and answers everything but chats", async (t) => {
    const server = await serve(t, "{% for i in range(1000000000) %}{% endfor %}");
    await leavesTurns(t, server, "a chat", async () => {
        const { status, json } = await post(server.url + chat, { messages: [message] });
        t.is(status, 500);
        t.is(json().error?.code, "template_limit");
    });
    t.is((await post(`${server.url}/v1/completions`, { prompt: "a", max_tokens: 1 })).status, 200);
});
