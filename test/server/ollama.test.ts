import test from "ava";
import { answerText, assistantCall, findParameters, shareServer } from "../helpers/assistant.js";
import { post, send } from "../helpers/server.js";

const shared = shareServer();
const messages = [{ role: "user", content: "Where is the lamp?" }];
const common = { model: "tiny", options: { temperature: 0 } };
const tools = [{ type: "function", function: { name: "find", parameters: findParameters } }];

interface Line {
    message?: { content: string };
    response?: string;
    done: boolean;
    done_reason?: string;
    logprobs?: {
        token: string;
        logprob: number;
        bytes: number[];
        top_logprobs: { token: string; logprob: number }[];
    }[];
}

function linesOf(text: string): Line[] {
    return text
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Line);
}

test("a request without a text loads the model, streamed too", async (t) => {
    const { url } = shared();
    for (const [path, key, empty] of [
        ["/api/generate", "prompt", ""],
        ["/api/chat", "messages", []]
    ] as const)
        for (const more of [
            {},
            { [key]: empty },
            { [key]: empty, keep_alive: 0 },
            { stream: false },
            { stream: null }
        ]) {
            const { status, text } = await post(`${url}${path}`, { model: "tiny", ...more });
            t.is(status, 200, text);
            const lines = linesOf(text);
            t.is(lines.length, 1);
            t.like(lines[0], { done: true, done_reason: "load" });
        }
});

test("a body needs no type, as in the examples of Ollama's documentation", async (t) => {
    const { url } = shared();
    const body = JSON.stringify({ ...common, messages, stream: false });
    for (const type of [undefined, "application/x-www-form-urlencoded"]) {
        const headers: Record<string, string> = type === undefined ? {} : { "content-type": type };
        const { status, text } = await send(`${url}/api/chat`, { headers, body });
        t.is(status, 200, text);
        t.is(linesOf(text)[0]!.message!.content, answerText);
    }
    t.is((await send(`${url}/api/chat`, { body: "model=tiny" })).status, 400);
    // other APIs ask for it
    t.is((await send(`${url}/v1/chat/completions`, { body })).status, 415);
});

test("the version is one that clients ask for: VS Code wants at least 0.6.4", async (t) => {
    const { version } = (await send(`${shared().url}/api/version`, { method: "GET" })).json() as { version: string };
    const [major, minor, patch] = version.split(".").map(Number) as [number, number, number];
    t.true(major * 1e6 + minor * 1e3 + patch >= 6004, version);
});

test("log-probabilities come with each part or with the whole answer, and those that nobody asks for do not", async (t) => {
    const { url } = shared();
    const ask = async (more: object) => await post(`${url}/api/chat`, { ...common, messages, ...more });
    const whole = linesOf((await ask({ stream: false, logprobs: true, top_logprobs: 2 })).text)[0]!;
    t.is(whole.logprobs!.map(({ token }) => token).join(""), answerText);
    for (const { logprob, top_logprobs } of whole.logprobs!) {
        t.true(logprob <= 0);
        t.is(top_logprobs.length, 2);
    }
    const parts = linesOf((await ask({ logprobs: true, top_logprobs: 2 })).text);
    t.deepEqual(
        parts.flatMap(({ logprobs = [] }) => logprobs),
        whole.logprobs
    );
    const neutral = await ask({ stream: false, logprobs: false, top_logprobs: 0 });
    t.false("logprobs" in neutral.json());
    for (const [more, reason] of [
        [{ top_logprobs: 2 }, /top_logprobs/],
        [{ logprobs: true, tools }, /logprobs/]
    ] as const) {
        const { status, text } = await ask(more);
        t.is(status, 400);
        t.regex((JSON.parse(text) as { error: string }).error, reason);
    }
});

test("results may have the name of their tool under its older key, and long names are names", async (t) => {
    const { url } = shared();
    const named = [...tools, { type: "function", function: { name: `mcp__${"x".repeat(100)}` } }];
    const { status, text } = await post(`${url}/api/chat`, {
        ...common,
        tools: named,
        stream: false,
        messages: [
            ...messages,
            { role: "assistant", content: "", tool_calls: [{ function: assistantCall }] },
            { role: "tool", content: "a lamp", name: "find" }
        ]
    });
    t.is(status, 200, text);
    t.is(linesOf(text)[0]!.message!.content, answerText);
});

test("a picture is refused in words", async (t) => {
    const asked = [{ ...messages[0], images: ["iVBORw0KGgo="] }];
    const { status, text } = await post(`${shared().url}/api/chat`, { ...common, messages: asked });
    t.is(status, 400);
    t.regex((JSON.parse(text) as { error: string }).error, /messages\.0\.images.*reads text only/);
});
