import Anthropic from "@anthropic-ai/sdk";
import test from "ava";
import { Ollama } from "ollama";
import { type JsonAnswer, post, send, startModels } from "../../helpers/server.js";
import { until } from "../../helpers/until.js";

const models = { small: { layers: 1 }, large: { layers: 3 }, plain: "plain" } as const;
const book = "The lamp is in the box. ".repeat(40);
const text = { "content-type": "text/plain" };
const get = async (url: string) => (await send(url, { method: "GET" })).json();
const messages = [{ role: "user" as const, content: "Hi" }];
const short = { prompt: "ab", max_tokens: 2, temperature: 0 };

test("each request is answered by the model that it names, and the first is the default", async (t) => {
    const { url, openai, server } = await startModels(t, models);
    t.deepEqual(await get(`${url}/health`), { status: "ok", models: { total: 3, loaded: 0, loading: 0 } });
    for (const model of ["large", "plain", "small"]) {
        const chat = await openai.chat.completions.create({ model, messages, max_tokens: 2 });
        t.is(chat.model, model);
    }
    t.is((await post(`${url}/v1/completions`, short)).json().model, "small");
    t.deepEqual(await get(`${url}/health`), { status: "ok", models: { total: 3, loaded: 3, loading: 0 } });
    t.is(server.models.users, 0);
    // the models differ, so that their texts do
    const texts = new Set<unknown>();
    for (const model of ["large", "small"]) {
        const answer = await post(`${url}/v1/completions`, { ...short, max_tokens: 20, model });
        texts.add((answer.json().choices as JsonAnswer[])[0]!.text);
    }
    t.is(texts.size, 2);
});

test("lists of models tell which are loaded, and describe those that are not", async (t) => {
    const { url, openai } = await startModels(t, { ...models, "team/small": { layers: 2 } });
    await post(`${url}/v1/completions`, { ...short, model: "large" });
    const { data } = (await get(`${url}/v1/models`)) as unknown as {
        data: { id: string; status: { value: string }; armt?: Record<string, unknown> }[];
    };
    t.deepEqual(
        data.map(({ id, status }) => [id, status.value]),
        [
            ["small", "unloaded"],
            ["large", "loaded"],
            ["plain", "unloaded"],
            ["team/small", "unloaded"]
        ]
    );
    t.deepEqual(data[0]!.armt, { segment_size: 64, layers: 1 });
    t.like(data[1]!.armt, { segment_size: 64, layers: 3, schedule: "sequential" });
    t.true((data[1]!.armt!.memory_bytes as number) > 0);
    t.is(data[2]!.armt, undefined);
    t.is((await openai.models.retrieve("team/small")).id, "team/small");
    t.is((await get(`${url}/v1/models/team/small`)).id, "team/small");

    const ollama = new Ollama({ host: url });
    t.deepEqual(
        (await ollama.list()).models.map(({ name }) => name),
        ["small", "large", "plain", "team/small"]
    );
    t.deepEqual(
        (await ollama.ps()).models.map(({ name }) => name),
        ["large"]
    );
    t.is((await ollama.show({ model: "plain" })).details.family, "llama");
    const counters = (await send(`${url}/metrics`, { method: "GET" })).text;
    t.regex(counters, /^armt_model_loaded\{model="small"\} 0$/m);
    t.regex(counters, /^armt_model_loaded\{model="large"\} 1$/m);
    t.regex(counters, /^armt_model_loads_total\{model="large"\} 1$/m);
});

test("an unknown model is a 404 in the form of each API that lists the names", async (t) => {
    const { url, openai } = await startModels(t, models);
    const model = "gpt-4o";
    const names = /lists `small`, `large`, `plain`/;
    const chat = await t.throwsAsync(openai.chat.completions.create({ model, messages }));
    t.like(chat, { status: 404, code: "model_not_found", param: "model" });
    t.regex(chat.message, names);
    const response = await t.throwsAsync(openai.responses.create({ model, input: "Hi" }));
    t.regex(response.message, names);
    const anthropic = new Anthropic({ baseURL: url, apiKey: "unused", maxRetries: 0 });
    const message = await t.throwsAsync(anthropic.messages.create({ model, messages, max_tokens: 2 }));
    t.like(message, { status: 404, error: { type: "error", error: { type: "not_found_error" } } });
    t.regex(message.message, names);
    const asked = await t.throwsAsync(new Ollama({ host: url }).chat({ model, messages }));
    t.regex(asked.message, names);
    for (const path of ["/completion", "/tokenize", "/detokenize", "/apply-template", "/models/load"]) {
        const body = { model, prompt: "a", content: "a", tokens: [1], messages };
        const known: Record<string, (keyof typeof body)[]> = {
            "/completion": ["prompt"],
            "/tokenize": ["content"],
            "/detokenize": ["tokens"],
            "/apply-template": ["messages"],
            "/models/load": []
        };
        const fields = Object.fromEntries(["model" as const, ...known[path]!].map((key) => [key, body[key]]));
        const answer = await post(`${url}${path}`, fields);
        t.is(answer.status, 404, path);
        t.regex(answer.json().error!.message, names);
    }
    for (const path of ["/props", "/slots", "/v1/armt/sample"])
        t.is((await send(`${url}${path}?model=${model}`, { method: "GET" })).status, 404, path);
    t.is((await send(`${url}/v1/armt/memories?model=${model}`, { headers: text, body: book })).status, 404);
});

test("the least recently used model leaves, and its memories stay", async (t) => {
    const { url, server } = await startModels(t, models, { maxModels: 1 });
    const upload = (query: string) => send(`${url}/v1/armt/memories${query}`, { headers: text, body: book });
    const memory = (await upload("?model=large")).json();
    t.is(memory.model, "large");
    const ask = async (more: object = {}) =>
        await post(`${url}/v1/completions`, { ...short, max_tokens: 8, armt: { memory: memory.id }, ...more });
    const textOf = ({ choices }: JsonAnswer) => (choices as JsonAnswer[])[0]!.text;
    const before = (await ask({ model: "large" })).json();
    t.is((await post(`${url}/v1/completions`, { ...short, model: "small" })).status, 200);
    t.is(server.models.stateOf("large"), "unloaded");
    // a request that names no model gets that of its memory
    const after = (await ask()).json();
    t.is(after.model, "large");
    t.is(textOf(after), textOf(before));
    const refused = await ask({ model: "small" });
    t.is(refused.status, 400);
    t.like(refused.json().error, { param: "armt.memory" });
    t.regex(refused.json().error!.message, /`large` read this memory/);
    // reading on is for the same model too
    t.is((await upload(`?from=${memory.id}&model=small`)).status, 400);
    t.is((await upload(`?from=${memory.id}`)).json().model, "large");
    t.is((await upload("?model=plain")).status, 501);

    const saved = await fetch(`${url}/v1/armt/memories/${memory.id}/file`);
    const file = Buffer.from(await saved.arrayBuffer());
    const load = (query: string) =>
        send(`${url}/v1/armt/memories/file${query}`, {
            headers: { "content-type": "application/octet-stream" },
            body: file
        });
    t.is((await load("?model=large")).json().model, "large");
    t.is((await load("?model=small")).status, 400);
    // a file says which model it is for
    t.is((await load("")).json().model, "large");
});

test("a conversation may change its model, but not the model of its memory", async (t) => {
    const { url } = await startModels(t, models, { maxModels: 1 });
    const memory = (await send(`${url}/v1/armt/memories?model=large`, { headers: text, body: book })).json();
    const ask = async (body: object) => await post(`${url}/v1/responses`, { max_output_tokens: 4, ...body });
    const plain = (await ask({ model: "small", input: "Hi" })).json();
    t.is((await ask({ model: "large", input: "And?", previous_response_id: plain.id })).json().model, "large");
    const about = (await ask({ model: "large", input: "Where?", armt: { memory: memory.id } })).json();
    t.is((await ask({ input: "And?", previous_response_id: about.id })).json().model, "large");
    t.is((await ask({ model: "small", input: "And?", previous_response_id: about.id })).status, 400);
});

test("a model in use stays until its stream ends, and others are not blocked by a loading", async (t) => {
    let go = () => {};
    const held = new Promise<void>((resolve) => {
        go = resolve;
    });
    const { url, server } = await startModels(t, models, {
        maxModels: 2,
        onLoad: (id) => (id === "plain" ? held : Promise.resolve())
    });
    for (const model of ["small", "large"]) await post(`${url}/v1/completions`, { ...short, model });
    const stream = await fetch(`${url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ ...short, model: "small", max_tokens: 4000, stream: true, logit_bias: { "2": -100 } })
    });
    const reader = stream.body!.getReader();
    await reader.read();
    const plain = post(`${url}/v1/completions`, { ...short, model: "plain" });
    await until(() => server.models.stateOf("plain") === "loading", "the plain model is being loaded");
    // small is older, but in use
    t.is(server.models.stateOf("small"), "loaded");
    t.is(server.models.stateOf("large"), "unloaded");
    t.is((await post(`${url}/v1/completions`, { ...short, model: "small" })).status, 200);
    t.deepEqual(await get(`${url}/health`), { status: "ok", models: { total: 3, loaded: 1, loading: 1 } });
    go();
    t.is((await plain).json().model, "plain");
    await reader.cancel();
    await until(() => server.models.users === 0, "the stream is given up");
});

test("models are loaded and unloaded by llama-server's routes", async (t) => {
    const { url, server } = await startModels(t, models);
    t.deepEqual((await post(`${url}/models/load`, { model: "large" })).json(), { success: true });
    t.is(server.models.stateOf("large"), "loaded");
    t.is((await get(`${url}/props?model=large`)).model_alias, "large");
    t.is(((await get(`${url}/slots?model=large`)) as unknown as unknown[]).length, 2);
    t.deepEqual((await get(`${url}/slots?model=small`)) as unknown, []);
    t.deepEqual((await post(`${url}/models/unload`, { model: "large" })).json(), { success: true });
    t.is(server.models.stateOf("large"), "unloaded");
});

test("a model that cannot be loaded is a 500 that does not say where it is", async (t) => {
    const { url } = await startModels(t, models, {
        onLoad: async (id) => {
            if (id === "large") throw new Error("/secret/path is damaged");
        }
    });
    const answer = await post(`${url}/v1/completions`, { ...short, model: "large" });
    t.is(answer.status, 500);
    t.like(answer.json().error, { code: "model_load_failed" });
    t.notRegex(answer.text, /secret/);
    t.is((await post(`${url}/v1/completions`, { ...short, model: "small" })).status, 200);
});
