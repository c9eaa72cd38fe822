import { connect } from "node:net";
import Anthropic from "@anthropic-ai/sdk";
import test from "ava";
import { answerText, shareServer } from "../helpers/assistant.js";
import { post, readEvents, send, startServer } from "../helpers/server.js";

const shared = shareServer();
const messages = [{ role: "user", content: "Where is the lamp?" }];

/** The text of a chat, streamed or not. */
function textOf(body: string): string {
    if (!body.startsWith("data: "))
        return (JSON.parse(body) as { choices: { message: { content: string } }[] }).choices[0]!.message.content;
    const { events } = readEvents(body) as unknown as { events: { choices: { delta: { content?: string } }[] }[] };
    return events.map(({ choices }) => choices[0]?.delta.content ?? "").join("");
}

/** What clients add to a chat on their own. */
const chats: Record<string, object> = {
    Cline: {
        messages: [
            { role: "system", content: "You are Cline" },
            {
                role: "user",
                content: [
                    { type: "text", text: "<task>" },
                    { type: "text", text: "</task>" }
                ]
            }
        ],
        stream: true,
        stream_options: { include_usage: true }
    },
    Continue: {
        messages: [{ role: "user", content: [{ type: "text", text: "Hello" }] }],
        max_tokens: 4096,
        stream: true,
        stop: [],
        prediction: null,
        parallel_tool_calls: false,
        reasoning_effort: "medium"
    },
    "Open WebUI": {
        messages,
        stream: true,
        stream_options: { include_usage: true },
        metadata: { user_id: "1", chat_id: "2" }
    },
    LibreChat: { messages, user: "64", top_p: 1, presence_penalty: 0, frequency_penalty: 0, stream: true },
    n8n: { messages, top_p: 1, presence_penalty: 0, frequency_penalty: 0, n: 1, stream: false, response_format: null },
    Jan: {
        messages,
        stream: true,
        top_k: 40,
        min_p: 0.05,
        repeat_penalty: 1,
        cache_prompt: true,
        tools: [],
        samplers: ["top_k", "min_p", "temperature"]
    },
    "llama-server's page": {
        messages,
        stream: true,
        return_progress: true,
        timings_per_token: true,
        reasoning_format: "auto",
        max_tokens: -1,
        dynatemp_range: 0,
        dynatemp_exponent: 1,
        top_k: 40,
        top_p: 0.95,
        min_p: 0.05,
        xtc_probability: 0,
        xtc_threshold: 0.1,
        typ_p: 1,
        repeat_last_n: 64,
        repeat_penalty: 1,
        dry_multiplier: 0,
        dry_base: 1.75,
        dry_allowed_length: 2,
        dry_penalty_last_n: -1,
        samplers: ["top_k", "typ_p", "top_p", "min_p", "temperature"],
        backend_sampling: false
    },
    "a client with empty keys and marks for caching": {
        messages: [
            { role: "system", content: [{ type: "text", text: "Be short.", cache_control: { type: "ephemeral" } }] },
            { ...messages[0], tool_calls: [], function_call: {}, refusal: "", audio: null, cache_control: null },
            { role: "assistant", content: null, reasoning_content: "Hm." },
            { ...messages[0], cache_control: { type: "ephemeral" } }
        ],
        functions: [],
        logprobs: false,
        top_logprobs: 0
    },
    OpenAI: {
        messages,
        max_completion_tokens: 100,
        modalities: ["text"],
        service_tier: "flex",
        verbosity: "low",
        prompt_cache_key: "key",
        safety_identifier: "user",
        stream: true,
        stream_options: { include_usage: true, include_obfuscation: false }
    }
};

for (const [client, body] of Object.entries(chats))
    test(`a chat as ${client} sends it is answered`, async (t) => {
        const { status, text } = await post(`${shared().url}/v1/chat/completions`, {
            model: "tiny",
            temperature: 0,
            ...body
        });
        t.is(status, 200, text);
        t.is(textOf(text), answerText);
    });

test("reasoning_effort reaches the chat template, and chat_template_kwargs have the last word", async (t) => {
    const { url } = await startServer(t, {
        tiny: {
            special: ["<|assistant|>"],
            template: "{{ messages[0].content }}{{ reasoning_effort or '' }}<|assistant|>",
            script: [["<|assistant|>", "yes", "<eos>"]]
        }
    });
    const promptTokens = async (more: object) => {
        const answer = await post(`${url}/v1/chat/completions`, { messages, max_tokens: 1, ...more });
        t.is(answer.status, 200, answer.text);
        return (answer.json().usage as { prompt_tokens: number }).prompt_tokens;
    };
    const without = await promptTokens({});
    t.is(await promptTokens({ reasoning_effort: "medium" }), without + "medium".length);
    const both = { reasoning_effort: "medium", chat_template_kwargs: { reasoning_effort: "low" } };
    t.is(await promptTokens(both), without + "low".length);
    t.is((await post(`${url}/v1/chat/completions`, { messages, reasoning_effort: 7 })).status, 400);
});

/** Sends exactly this, and returns what comes until the connection ends. */
function exchange(url: string, text: string): Promise<string> {
    const { hostname, port } = new URL(url);
    return new Promise((resolve, reject) => {
        const socket = connect(Number(port), hostname, () => socket.write(text));
        let received = "";
        socket.setEncoding("utf8");
        socket.on("data", (piece: string) => {
            received += piece;
        });
        socket.on("error", reject);
        socket.on("close", () => resolve(received));
    });
}

test("HTTP/1.0 and Expect: 100-continue work, as old clients and curl use them", async (t) => {
    const { url } = shared();
    for (const stream of [false, true]) {
        const body = JSON.stringify({ messages, temperature: 0, stream });
        const headers = `Content-Type: application/json\r\nContent-Length: ${body.length}`;
        const old = await exchange(url, `POST /v1/chat/completions HTTP/1.0\r\n${headers}\r\n\r\n${body}`);
        t.regex(old, /^HTTP\/1\.1 200/);
        // HTTP/1.0 has no chunks
        t.notRegex(old, /transfer-encoding/i);
        t.is(textOf(old.slice(old.indexOf("\r\n\r\n") + 4)), answerText);
        const expecting = await exchange(
            url,
            `POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nConnection: close\r\n${headers}` +
                `\r\n\r\n${body}`
        );
        t.regex(expecting, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200/);
    }
    // a browser always names the host
    const rebound = await exchange(url, "GET /v1/models HTTP/1.0\r\nHost: example.com\r\n\r\n");
    t.regex(rebound, /^HTTP\/1\.1 403/);
});

test("other routes take what their clients add", async (t) => {
    const { url } = shared();
    const responses = await post(`${url}/v1/responses`, {
        model: "tiny",
        input: "Where is the lamp?",
        temperature: 0,
        truncation: "auto",
        service_tier: "auto",
        prompt_cache_retention: "24h",
        safety_identifier: "user",
        metadata: {},
        max_tool_calls: null
    });
    t.is(responses.status, 200, responses.text);
    const ollama = await post(`${url}/api/chat`, {
        model: "tiny:latest",
        messages: [{ role: "user", content: "Hello", images: null }],
        stream: false,
        format: "",
        tools: [],
        keep_alive: "5m",
        truncate: true,
        shift: true,
        options: { temperature: 0, num_ctx: 2048 }
    });
    t.is(ollama.status, 200, ollama.text);
    for (const [path, body] of [
        ["/v1/embeddings", { model: "tiny", input: "a", dimensions: 64 }],
        ["/embedding", { content: "a" }],
        ["/api/embed", { model: "tiny", input: "a", truncate: true }]
    ] as const)
        t.is((await post(`${url}${path}`, body)).status, 501, path);
});

test("allowed tools are those that may be called, and a schema may stand next to json_object", async (t) => {
    const { url } = shared();
    const named = (name: string) => ({ type: "function", function: { name } });
    const choice = (mode: string, ...names: string[]) => ({
        type: "allowed_tools",
        allowed_tools: { mode, tools: names.map(named) }
    });
    const parameters = { type: "object", properties: { where: { enum: ["box", "shelf"] } }, required: ["where"] };
    const tools = ["look", "find"].map((name) => ({ type: "function", function: { name, parameters } }));
    const ask = async (more: object) =>
        await post(`${url}/v1/chat/completions`, { model: "tiny", messages, temperature: 0, ...more });
    const called = await ask({ tools, tool_choice: choice("required", "find") });
    t.like(called.json(), { choices: [{ message: { tool_calls: [{ function: { name: "find" } }] } }] });
    const other = await ask({ tools, tool_choice: choice("required", "look") });
    t.like(other.json(), { choices: [{ message: { tool_calls: [{ function: { name: "look" } }] } }] });
    const missing = await ask({ tools, tool_choice: choice("auto", "none") });
    t.like(missing.json(), { error: { param: "tool_choice.allowed_tools.tools.0.function.name" } });
    const schema = { type: "object", properties: { sure: { const: true } }, required: ["sure"] };
    const formed = await ask({ response_format: { type: "json_object", schema } });
    t.deepEqual(JSON.parse(textOf(formed.text)), { sure: true });
});

test("Anthropic's client lists the models in its form", async (t) => {
    const { url } = shared();
    const client = new Anthropic({ baseURL: url, apiKey: "unused" });
    const listed = await client.models.list();
    t.is(listed.data[0]!.id, "tiny");
    t.is(listed.data[0]!.display_name, "tiny");
    t.false(listed.hasNextPage());
    t.is((await client.models.retrieve("tiny")).type, "model");
    const plain = (await send(`${url}/v1/models`, { method: "GET" })).json();
    t.is(plain.object, "list");
});
