import test from "ava";
import { answerText, assistantModel, findParameters } from "../helpers/assistant.js";
import { post, readEvents, startServer } from "../helpers/server.js";

/** What tests look at, whatever the answer is. */
// biome-ignore lint/suspicious/noExplicitAny: answers of many shapes
type Json = any;

const find = { type: "function", name: "find", description: "Looks.", strict: false, parameters: findParameters };

/** A request as Codex sends it, without the server's store. */
const stateless = {
    model: "tiny",
    instructions: "You are a coding agent.",
    tools: [
        find,
        { type: "custom", name: "apply_patch", format: { type: "grammar", syntax: "lark", definition: "start: x" } },
        { type: "web_search" }
    ],
    tool_choice: "auto",
    parallel_tool_calls: false,
    reasoning: { effort: "medium", summary: "auto" },
    store: false,
    stream: true,
    include: ["reasoning.encrypted_content"],
    service_tier: null,
    prompt_cache_key: "a5e2",
    text: { verbosity: "low" },
    client_metadata: { session: "1" },
    temperature: 0
};
const user = { type: "message", role: "user", content: [{ type: "input_text", text: "Where is the lamp?" }] };

test("an agent without stored responses sends its whole conversation, and tools that no model here has", async (t) => {
    const { url } = await startServer(t, { tiny: assistantModel });
    const ask = async (input: object[]) =>
        readEvents((await post(`${url}/v1/responses`, { ...stateless, input })).text).events as Json[];
    const first = (await ask([user])).at(-1)!;
    t.is(first.type, "response.completed");
    const [call] = first.response.output;
    t.deepEqual([call.type, call.name, call.arguments], ["function_call", "find", '{"where": "box"}']);
    t.deepEqual(first.response.armt.notes, [
        "tools.1, of type custom, was left out: this server has functions only",
        "tools.2, of type web_search, was left out: this server has functions only"
    ]);
    t.deepEqual(
        first.response.tools.map(({ name }: Json) => name),
        ["find"]
    );
    const last = await ask([
        user,
        { type: "reasoning", id: "rs_1", summary: [], content: null, encrypted_content: "gAAAAA==" },
        call,
        { type: "function_call_output", call_id: call.call_id, output: [{ type: "input_text", text: "a lamp" }] },
        { type: "web_search_call", id: "ws_1", status: "completed", action: { type: "search", query: "x" } },
        { type: "ghost_snapshot", ghost_commit: { id: "a1" } },
        { type: "compaction_summary", encrypted_content: "gAAAAA==" }
    ]);
    t.is(
        last
            .filter(({ type }) => type === "response.output_text.delta")
            .map(({ delta }) => delta)
            .join(""),
        answerText
    );
    t.is(last.at(-1)!.response.armt.notes.length, 5);
    t.deepEqual(
        last.map(({ sequence_number }) => sequence_number),
        [...last.keys()]
    );
});

test("null and empty values are absent values", async (t) => {
    const { url } = await startServer(t, { tiny: assistantModel });
    const bodies: [string, object][] = [
        [
            "/v1/responses",
            {
                input: "Hi",
                include: [],
                reasoning: {},
                tools: [],
                tool_choice: "auto",
                conversation: null,
                prompt: null,
                metadata: {},
                instructions: "",
                previous_response_id: null,
                moderation: {},
                text: {}
            }
        ],
        [
            "/v1/chat/completions",
            {
                messages: [{ role: "user", content: "Hi", name: null, cache_control: null }],
                tools: [],
                functions: [],
                tool_choice: "auto",
                parallel_tool_calls: true,
                stop: [],
                logit_bias: {},
                response_format: null,
                prediction: null,
                user: "",
                stream_options: null
            }
        ],
        ["/v1/completions", { prompt: "Hi", stop: "", suffix: "", logit_bias: {}, armt: {} }]
    ];
    for (const [path, body] of bodies) {
        const { status, text } = await post(url + path, { ...body, temperature: 0 });
        t.is(status, 200, text);
    }
    // a value that says something is not absent
    t.is((await post(`${url}/v1/responses`, { input: "Hi", conversation: "conv_1" })).status, 400);
});

test("items are found by reference in stored responses, and not once those are deleted", async (t) => {
    const { url } = await startServer(t, { tiny: assistantModel });
    const ask = async (body: object) => await post(`${url}/v1/responses`, { temperature: 0, ...body });
    const first = (await ask({ input: "Hi" })).json() as Json;
    const again = { input: [user, { type: "item_reference", id: first.output[0].id }, user] };
    const found = (await ask(again)).json() as Json;
    t.is(found.output[0].content[0].text, answerText);
    t.true(found.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens);
    await fetch(`${url}/v1/responses/${first.id}`, { method: "DELETE" });
    const gone = await ask(again);
    t.is(gone.status, 404);
    t.is(gone.json().error!.param, "input.1.id");
});

test("a format together with tools is for the answer, and a call stays possible", async (t) => {
    // the model begins its answer with an object
    const script = [["<|assistant|>", "{"], ...assistantModel.script.slice(1)];
    const { url } = await startServer(t, { tiny: { ...assistantModel, script } });
    const schema = { type: "object", properties: { place: { enum: ["box"] } }, required: ["place"] };
    const format = { type: "json_schema", name: "place", schema };
    const ask = async (input: unknown) =>
        (await post(`${url}/v1/responses`, { temperature: 0, tools: [find], text: { format }, input })).json() as Json;
    const { output } = await ask([user]);
    t.is(output[0].type, "function_call");
    const result = { type: "function_call_output", call_id: output[0].call_id, output: "a lamp" };
    const answer = await ask([user, output[0], result]);
    t.deepEqual(JSON.parse(answer.output[0].content[0].text), { place: "box" });
});

test("tools work together with a memory", async (t) => {
    const { url } = await startServer(t, { tiny: assistantModel });
    const upload = await fetch(`${url}/v1/armt/memories`, {
        method: "POST",
        headers: { "content-type": "text/plain" },
        body: "The lamp is in the box. ".repeat(20)
    });
    const { id, tokens } = (await upload.json()) as Json;
    const body = { temperature: 0, tools: [find], input: [user], armt: { memory: id } };
    const answer = (await post(`${url}/v1/responses`, body)).json() as Json;
    t.is(answer.output[0].name, "find");
    t.is(answer.usage.input_tokens_details.cached_tokens, tokens);
});

test("a failure within a stream is an error event", async (t) => {
    const { url } = await startServer(t, { tiny: assistantModel });
    const body = { input: "Hi", stream: true, armt: { deadline_ms: 1 }, max_output_tokens: 1000 };
    const { text, status } = await post(`${url}/v1/responses`, body);
    if (status !== 200) t.is(status, 504);
    else {
        const { type, code, error } = readEvents(text).events.at(-1) as Json;
        t.deepEqual([type, code, error.code], ["error", "deadline_exceeded", "deadline_exceeded"]);
    }
});
