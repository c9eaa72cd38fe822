import { connect } from "node:net";
import { Duplex } from "node:stream";
import test from "ava";
import type { Express } from "express";
import { shutDown } from "../../src/server/shut-down.js";
import { post, send, startServer, type TestServer } from "../helpers/server.js";
import { until } from "../helpers/until.js";

/** Time of a request in these tests. Unit: milliseconds. */
const deadlineMs = 1000;

/** Nothing but the request's own time ends these requests. */
const patient = { bodyTimeoutMs: 1e6, uploadIdleMs: 1e6, flushIdleMs: 1e6, headersTimeoutMs: 1e6 };

interface Route {
    readonly method: string;
    readonly path: string;
}

interface Layer {
    readonly route?: { readonly path: string | string[]; readonly methods: Readonly<Record<string, boolean>> };
    readonly handle: { readonly stack?: readonly Layer[] };
}

/** All routes, as the router has them. */
function routesOf({ http }: TestServer): Route[] {
    const [app] = http.listeners("request") as Express[];
    const collect = (layers: readonly Layer[]): Route[] =>
        layers.flatMap(({ route, handle }) => {
            if (route === undefined) return collect(handle.stack ?? []);
            return [route.path].flat().flatMap((path) => {
                return Object.keys(route.methods).map((method) => ({ method: method.toUpperCase(), path }));
            });
        });
    return collect((app!.router as unknown as { stack: readonly Layer[] }).stack);
}

const chat = { messages: [{ role: "user", content: "Hi" }] };
const endless = { temperature: 1, logit_bias: { 287: -100 } };
/** Bodies that have a route work until its deadline, if it can take that long. */
const bodies: Readonly<Record<string, object | string>> = {
    "/v1/chat/completions": { ...chat, ...endless, max_tokens: 1_000_000 },
    "/chat/completions": { ...chat, ...endless, max_tokens: 1_000_000 },
    "/v1/completions": { prompt: "a", ...endless, max_tokens: 1_000_000 },
    "/v1/responses": { input: "Hi", max_output_tokens: 1_000_000 },
    "/responses": { input: "Hi", max_output_tokens: 1_000_000 },
    "/v1/messages": { ...chat, max_tokens: 1_000_000 },
    "/v1/messages/count_tokens": chat,
    "/completion": { prompt: "a", ...endless, n_predict: 1_000_000 },
    "/completions": { prompt: "a", ...endless, n_predict: 1_000_000 },
    "/infill": { input_prefix: "a", input_suffix: "b", ...endless, n_predict: 1_000_000 },
    "/api/chat": { ...chat, model: "tiny", options: { num_predict: 1_000_000 } },
    "/api/generate": { prompt: "Hi", model: "tiny", options: { num_predict: 1_000_000 } },
    "/api/show": { model: "tiny" },
    "/api/embed": { model: "tiny", input: "a" },
    "/api/embeddings": { model: "tiny", prompt: "a" },
    "/v1/embeddings": { input: "a" },
    "/embeddings": { input: "a" },
    "/embedding": { input: "a" },
    "/models/load": { model: "tiny" },
    "/models/unload": { model: "tiny" },
    "/v1/armt/memories": "The lamp is in the box. ".repeat(10_000),
    "/v1/armt/memories/file": "no memory file",
    "/apply-template": chat,
    "/props": {},
    "/slots/:id": { filename: "a" },
    "/tokenize": { content: "a ".repeat(10_000) },
    "/detokenize": { tokens: Array(10_000).fill(65) }
};

/** Those that take a time of their own. */
const withDeadline = /^\/(v1\/(chat\/completions|completions|responses|messages)|completions?|infill)$/;
const streams = /^\/(v1\/messages|(v1\/)?(chat\/)?completions?|(v1\/)?responses|infill|api\/(chat|generate))$/;

const typeOf = (path: string) =>
    path === "/v1/armt/memories"
        ? "text/plain"
        : path === "/v1/armt/memories/file"
          ? "application/octet-stream"
          : "application/json";

/** Ids that exist, so that the routes have something to answer. */
interface Known {
    readonly memory: string;
    readonly response: string;
}

async function known({ url }: TestServer): Promise<Known> {
    const upload = { headers: { "content-type": "text/plain" }, body: "The lamp is in the box." };
    const memory = (await send(`${url}/v1/armt/memories`, upload)).json();
    const response = (await post(`${url}/v1/responses`, { input: "Hi", max_output_tokens: 1 })).json();
    return { memory: String(memory.id), response: String(response.id) };
}

function targetOf({ method, path }: Route, { memory, response }: Known): string {
    const id = path.startsWith("/slots") ? "0" : path.includes("memories") ? memory : response;
    // another request needs what this one would delete
    const named = path.replace(":id", method === "DELETE" ? "other" : id).replace(":name", "upload");
    return `${named.replace("*id", "tiny")}${path.startsWith("/slots/") ? "?action=erase" : ""}`;
}

/** A connection whose client reads nothing, or a byte now and then. */
class SlowReader extends Duplex {
    /** @param msPerByte undefined if the client reads nothing at all */
    constructor(private readonly msPerByte: number | undefined) {
        super({ writableHighWaterMark: 1, allowHalfOpen: true });
        this.on("error", () => {});
    }

    override _read(): void {}

    override _write(piece: Buffer, _encoding: string, done: () => void): void {
        if (this.msPerByte !== undefined) setTimeout(done, piece.length * this.msPerByte).unref();
    }

    /** Node.js' server calls it. */
    setTimeout(): this {
        return this;
    }
}

function requestText({ method }: Route, target: string, body: string | undefined, type: string): string {
    const head = `${method} ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\n`;
    if (body === undefined) return `${head}\r\n`;
    return `${head}Content-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

function bodyOf({ method, path }: Route, more: object = {}): string | undefined {
    if (method !== "POST") return undefined;
    const body = bodies[path];
    // a new route needs a body that has it work
    if (body === undefined) throw new Error(`no body for POST ${path}`);
    return typeof body === "string" ? body : JSON.stringify({ ...body, ...more });
}

/** Nothing of any request is left. */
async function isFree({ server }: TestServer): Promise<void> {
    const { pool } = server.engine;
    await until(() => pool.busy === 0 && pool.waiting === 0, "all sequences are idle");
    await until(() => server.bodies.bytes === 0 && server.uploads.bytes === 0, "no body is held");
}

/** Sends each request over a connection of its own, and waits for the server to close them all. */
async function closesAll(
    t: { pass: () => void },
    running: TestServer,
    requests: readonly { name: string; text: string }[]
): Promise<void> {
    for (const msPerByte of [undefined, 50]) {
        const open = requests.map(({ name, text }) => {
            const reader = new SlowReader(msPerByte);
            running.http.emit("connection", reader);
            reader.push(text);
            return { name, reader };
        });
        for (const { name, reader } of open) {
            const what = msPerByte === undefined ? "reads nothing" : "reads byte by byte";
            await until(() => reader.destroyed, `a client that ${what} is cut off: ${name}`);
        }
        await isFree(running);
        t.pass();
    }
}

test("the table of bodies has the routes of the router, and no others", async (t) => {
    const running = await startServer(t, { sequences: 1 });
    const routes = routesOf(running);
    t.true(routes.length > 40);
    const posts = routes.filter(({ method }) => method === "POST").map(({ path }) => path);
    t.deepEqual(Object.keys(bodies).sort(), posts.sort());
});

test("a client that does not read its answer is cut off at --request-timeout, on each route", async (t) => {
    const running = await startServer(t, { sequences: 3, requestTimeoutMs: deadlineMs, ...patient });
    const ids = await known(running);
    const requests = [...routesOf(running), { method: "GET", path: "/" }, { method: "GET", path: "/none" }].flatMap(
        (route) => {
            const { method, path } = route;
            const target = targetOf(route, ids);
            const text = (more: object) => requestText(route, target, bodyOf(route, more), typeOf(path));
            const name = `${method} ${target}`;
            if (!streams.test(path) || method !== "POST") return [{ name, text: text({}) }];
            return [true, false].map((stream) => ({ name: `${name}, stream: ${stream}`, text: text({ stream }) }));
        }
    );
    await closesAll(t, running, requests);
    t.is((await post(`${running.url}/v1/completions`, { prompt: "short", max_tokens: 2 })).status, 200);
});

test("a client that does not read its answer is cut off at armt.deadline_ms, on each route with it", async (t) => {
    const running = await startServer(t, { sequences: 3, ...patient });
    const requests = routesOf(running)
        .filter(({ method, path }) => method === "POST" && withDeadline.test(path))
        .flatMap((route) =>
            [true, false].map((stream) => {
                const body = bodyOf(route, { stream, armt: { deadline_ms: deadlineMs } });
                return {
                    name: `${route.path}, ${stream}`,
                    text: requestText(route, route.path, body, "application/json")
                };
            })
        );
    t.is(requests.length, 14);
    await closesAll(t, running, requests);
});

test("a body that arrives byte by byte is cut off at --request-timeout, on each route", async (t) => {
    const running = await startServer(t, { sequences: 3, requestTimeoutMs: deadlineMs, ...patient });
    const ids = await known(running);
    const { port } = new URL(running.url);
    const open = routesOf(running).map((route) => {
        const { method, path } = route;
        const socket = connect(Number(port), "127.0.0.1");
        const state = { closed: false, answer: "", name: `${method} ${path}` };
        socket
            .on("error", () => {})
            .on("close", () => {
                state.closed = true;
            });
        socket.setEncoding("utf8").on("data", (text: string) => {
            state.answer += text;
        });
        const head = requestText(route, targetOf(route, ids), "{", typeOf(path));
        socket.write(head.replace("Content-Length: 1", "Content-Length: 1000000"));
        const drip = setInterval(() => socket.write(" "), 20);
        socket.on("close", () => clearInterval(drip));
        t.teardown(() => socket.destroy());
        return { route, state };
    });
    for (const { route, state } of open) {
        await until(() => state.closed, `the server closes ${state.name}`);
        // others answer before the body is there
        if (route.method !== "POST" || route.path === "/props" || route.path.startsWith("/slots")) continue;
        t.regex(state.answer, /^HTTP\/1\.1 504 /, state.name);
        t.regex(state.answer, /did not finish within 1000 ms/, state.name);
    }
    await isFree(running);
});

test("headers that arrive byte by byte are cut off at their own limit", async (t) => {
    const running = await startServer(t, { sequences: 1, headersTimeoutMs: 500 });
    const socket = connect(Number(new URL(running.url).port), "127.0.0.1");
    let closed = false;
    socket
        .on("error", () => {})
        .on("close", () => {
            closed = true;
        });
    socket.resume();
    socket.write("GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: ");
    const drip = setInterval(() => socket.write("a"), 20);
    t.teardown(() => clearInterval(drip));
    await until(() => closed, "the server closes the connection");
    t.pass();
});

test("a time that no timer can have is as long as it can be", async (t) => {
    const running = await startServer(t, { sequences: 1, requestTimeoutMs: 1e12, drainTimeoutMs: 1e12 });
    const body = { prompt: "a", max_tokens: 30, temperature: 0, armt: { deadline_ms: 2 ** 53 - 1 } };
    const answer = post(`${running.url}/v1/completions`, body);
    await until(() => running.server.engine.pool.busy === 1, "the request runs");
    await shutDown(running.server, running);
    t.is((await answer).status, 200);
});
