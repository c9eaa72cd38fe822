import test from "ava";
import { Ollama } from "ollama";
import { z } from "zod";
import { answerText, findParameters, shareServer } from "../helpers/assistant.js";

const server = shareServer();
const client = () => new Ollama({ host: server().url });
const messages = [{ role: "user", content: "Where is the lamp?" }];
const common = { model: "tiny:latest", options: { temperature: 0, num_ctx: 8192 }, keep_alive: "5m" };
const find = { name: "find", description: "Looks into a place.", parameters: findParameters };
const tools = [{ type: "function", function: find as never }];

test("chat", async (t) => {
    const { message, done_reason, prompt_eval_count, eval_count } = await client().chat({ ...common, messages });
    t.is(message.content, answerText);
    t.is(done_reason, "stop");
    t.true(prompt_eval_count > 0 && eval_count > 0);
    const { response } = await client().generate({ ...common, prompt: "Where is the lamp?", system: "Be short." });
    t.is(response, answerText);
    const { models } = await client().list();
    t.deepEqual(
        models.map(({ name }) => name),
        ["tiny"]
    );
    const { capabilities, details } = await client().show({ model: "tiny" });
    t.deepEqual([[...capabilities], details.format], [["completion", "tools"], "gguf"]);
    t.regex((await client().version()).version, /^\d+\.\d+\.\d+$/);
});

test("stream", async (t) => {
    let text = "";
    for await (const { message } of await client().chat({ ...common, messages, stream: true })) text += message.content;
    t.is(text, answerText);
    let written = "";
    for await (const { response } of await client().generate({ ...common, prompt: "Where?", stream: true }))
        written += response;
    t.is(written, answerText);
});

test("tools", async (t) => {
    const { message } = await client().chat({ ...common, messages, tools });
    t.deepEqual(message.tool_calls, [{ function: { name: "find", arguments: { where: "box" } } }]);
    const result = { role: "tool", content: "a lamp", tool_name: "find" };
    const answer = await client().chat({ ...common, messages: [...messages, message, result], tools });
    t.is(answer.message.content, answerText);
});

test("schema", async (t) => {
    const schema = z.object({ place: z.enum(["box", "shelf"]), count: z.int().min(1).max(9) });
    const { message } = await client().chat({ ...common, messages, format: z.toJSONSchema(schema) });
    t.true(schema.safeParse(JSON.parse(message.content)).success);
});

test("errors", async (t) => {
    await t.throwsAsync(client().chat({ ...common, model: "other", messages }), { message: /no model of this name/ });
    await t.throwsAsync(client().embed({ model: "tiny", input: "x" }), { message: /makes no embeddings/ });
    const wrong = client().chat({ ...common, messages, format: { not: { type: "null" } } });
    await t.throwsAsync(wrong, { message: /`not`/ });
});
