import test from "ava";
import { answerText, assistantModel } from "../helpers/assistant.js";
import { post, readEvents, startServer } from "../helpers/server.js";

/** What tests look at, whatever the answer is. */
// biome-ignore lint/suspicious/noExplicitAny: answers of many shapes
type Json = any;

const common = { model: "tiny", max_tokens: 3, temperature: 0 };
const marked = { cache_control: { type: "ephemeral" } };
const rules = (count: number) => "The box is red. ".repeat(count);

test("usage counts the tokens that were kept, and those that were not read again", async (t) => {
    const { url, server } = await startServer(t, { tiny: assistantModel, sequences: 1 });
    const ask = async (question: string) => {
        const system = [{ type: "text", text: rules(30), ...marked }];
        const body = { ...common, system, messages: [{ role: "user", content: question }] };
        return ((await post(`${url}/v1/messages`, body)).json() as Json).usage;
    };
    const total = (usage: Json) =>
        usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens;
    const first = await ask("Where is the lamp? ".repeat(40));
    t.is(first.cache_read_input_tokens, 0);
    t.true(first.cache_creation_input_tokens > 0);
    // whole segments of 64 tokens of the rules are kept, and the question after them is another one
    const segment = 64;
    const { length } = await server.engine.tokenize(rules(30));
    const next = await ask("Why? ".repeat(100));
    t.true(next.cache_read_input_tokens >= length - segment, JSON.stringify(next));
    t.is(next.cache_read_input_tokens % segment, 0);
    t.true(total(next) > length);
});

test("a line of the system text that changes with each request does not cost the beginning of the prompt", async (t) => {
    const { url } = await startServer(t, { tiny: assistantModel, sequences: 1 });
    const ask = async (header: string) => {
        const system = [
            { type: "text", text: `x-anthropic-billing-header: cc_version=2.1; cch=${header};` },
            { type: "text", text: rules(20), ...marked }
        ];
        const body = { ...common, system, messages: [{ role: "user", content: "Where is the lamp?" }] };
        return ((await post(`${url}/v1/messages`, body)).json() as Json).usage;
    };
    const first = await ask("0a1b2");
    const second = await ask("9f8e7");
    t.is(first.cache_read_input_tokens, 0);
    t.true(second.cache_read_input_tokens > 250, JSON.stringify(second));
});

test("errors have Anthropic's form, in a stream too, and the key may come in Anthropic's header", async (t) => {
    const { url } = await startServer(t, { tiny: assistantModel, apiKeys: ["secret"] });
    const messages = [{ role: "user", content: "Hi" }];
    const ask = async (more: object, key = "secret") =>
        await post(`${url}/v1/messages`, { ...common, messages, ...more }, { "x-api-key": key });
    t.is((await ask({})).status, 200);
    const refused = await ask({}, "other");
    t.is(refused.status, 401);
    t.like(refused.json(), { type: "error", error: { type: "authentication_error" } } as never);
    const unanswered = [
        ...messages,
        { role: "assistant", content: [{ type: "tool_use", id: "a", name: "find", input: {} }] },
        { role: "user", content: "And?" }
    ];
    for (const [body, reason] of [
        [{ messages: [...messages, { role: "assistant", content: "The" }] }, /last message/],
        [{ messages: unanswered }, /tool_result/],
        [{ mystery: 1 }, /mystery/],
        [{ tool_choice: { type: "any" } }, /tools/]
    ] as const) {
        const { status, text } = await ask(body);
        t.is(status, 400);
        t.regex(text, reason);
    }
    const late = await ask({
        stream: true,
        armt: { deadline_ms: 1 },
        messages: [{ role: "user", content: rules(100) }]
    });
    const last = late.status === 200 ? (readEvents(late.text).events.at(-1) as Json) : late.json();
    t.deepEqual([last.type, last.error.type], ["error", "timeout_error"]);
});

test("a conversation that Anthropic's own servers answered before continues here", async (t) => {
    const { url } = await startServer(t, { tiny: assistantModel });
    const schema = { type: "object", properties: { where: { enum: ["box", "shelf"] } }, required: ["where"] };
    const text = (words: string) => ({ type: "text", text: words });
    const body = {
        ...common,
        max_tokens: 60,
        betas: ["context-management-2025-06-27"],
        speed: "fast",
        mcp_servers: [{ type: "url", url: "https://example.org", name: "wiki" }],
        tools: [
            { name: "find", input_schema: schema, description: null, cache_control: null },
            { name: `mcp__${"x".repeat(100)}`, input_schema: schema },
            { type: "mcp_toolset", mcp_server_name: "wiki" },
            { type: "browser_toolset_20260801" }
        ],
        messages: [
            {
                role: "user",
                content: [{ type: "document", source: { type: "content", content: [text("The lamp is blue.")] } }]
            },
            {
                role: "assistant",
                content: [
                    { type: "server_tool_use", id: "s", name: "web_search", input: { query: "lamp" } },
                    { type: "web_search_tool_result", tool_use_id: "s", content: [] },
                    { ...text("Let me look."), citations: [] },
                    { type: "tool_use", id: "a", name: "find", input: { where: "box" } }
                ]
            },
            {
                role: "user",
                content: [
                    {
                        type: "tool_result",
                        tool_use_id: "a",
                        content: [
                            { type: "search_result", title: "Box", source: "box", content: [text("a lamp")] },
                            { type: "tool_reference", tool_name: "find" }
                        ]
                    }
                ]
            }
        ]
    };
    const answer = await post(`${url}/v1/messages?beta=true`, body);
    t.is(answer.status, 200, answer.text);
    t.is((answer.json() as Json).content[0].text, answerText);

    // instructions that come later are pinned like the first ones
    const later = async (value: string) => {
        const system = { role: "system", content: [text(`x-anthropic-note: ${value}`)] };
        const answer = await post(`${url}/v1/messages`, { ...body, messages: [...body.messages, system] });
        t.is(answer.status, 200, answer.text);
        const { usage } = answer.json() as Json;
        return usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens;
    };
    t.is(await later("a"), await later("a much longer value"));

    const image = { type: "image", source: { type: "base64", media_type: "image/png", data: "iVBORw0KGgo=" } };
    const refused = await post(`${url}/v1/messages`, { ...body, messages: [{ role: "user", content: [image] }] });
    t.is(refused.status, 400);
    t.regex(refused.text, /messages\.0\.content\.0\.type.*reads text only/);
});

test("documents of text, thoughts, results that failed and tools of other servers are understood", async (t) => {
    const { url } = await startServer(t, { tiny: assistantModel });
    const source = { type: "text", media_type: "text/plain", data: "The lamp is in the box." };
    const body = {
        ...common,
        thinking: { type: "adaptive" },
        metadata: { user_id: "1" },
        tools: [{ type: "web_search_20250305", name: "web_search" }],
        messages: [
            { role: "user", content: [{ type: "document", title: "Lamp", source }] },
            {
                role: "assistant",
                content: [
                    { type: "thinking", thinking: "Hm.", signature: "s" },
                    { type: "redacted_thinking", data: "x" },
                    { type: "tool_use", id: "a", name: "find", input: { where: "box" } }
                ]
            },
            {
                role: "user",
                content: [
                    { type: "tool_result", tool_use_id: "a", is_error: true },
                    { type: "text", text: "And now?" }
                ]
            }
        ]
    };
    const { status, text } = await post(`${url}/v1/messages`, body);
    t.is(status, 200, text);
});
