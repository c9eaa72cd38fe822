import test from "ava";
import OpenAI from "openai";
import { chatChunkSchema, chatResponseSchema } from "../../src/server/schemas/chat.js";
import { completionResponseSchema } from "../../src/server/schemas/completions.js";
import { responseSchema } from "../../src/server/schemas/responses.js";
import { startServer } from "../helpers/server.js";

const messages = [
    { role: "system" as const, content: "Be short." },
    { role: "user" as const, content: "What is in the box?" }
];
const common = { model: "tiny", max_tokens: 12, seed: 7 };

async function joinChat(stream: AsyncIterable<OpenAI.ChatCompletionChunk>) {
    const chunks: OpenAI.ChatCompletionChunk[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    const choices = new Map<number, string>();
    for (const { choices: parts } of chunks)
        for (const { index, delta } of parts) choices.set(index, (choices.get(index) ?? "") + (delta.content ?? ""));
    return { chunks, texts: [...choices.values()] };
}

test("the client lists and gets the model", async (t) => {
    const { openai } = await startServer(t);
    const { data } = await openai.models.list();
    t.deepEqual(
        data.map(({ id, object }) => [id, object]),
        [["tiny", "model"]]
    );
    t.is((await openai.models.retrieve("tiny")).id, "tiny");
    await t.throwsAsync(openai.models.retrieve("other"), { instanceOf: OpenAI.NotFoundError });
});

test("a chat is the same streamed and unstreamed, for each choice, and its shape is OpenAI's", async (t) => {
    const { openai } = await startServer(t);
    const request = { ...common, messages, n: 2, temperature: 0.9 };
    const whole = await openai.chat.completions.create(request);
    t.true(chatResponseSchema.safeParse(whole).success);
    t.is(whole.choices.length, 2);
    t.not(whole.choices[0]!.message.content, whole.choices[1]!.message.content);
    const stream = await openai.chat.completions.create({
        ...request,
        stream: true,
        stream_options: { include_usage: true }
    });
    const { chunks, texts } = await joinChat(stream);
    t.deepEqual(
        texts,
        whole.choices.map(({ message }) => message.content)
    );
    for (const chunk of chunks) {
        const parsed = chatChunkSchema.safeParse(chunk);
        t.true(parsed.success, JSON.stringify(chunk));
    }
    const { usage } = chunks.at(-1)!;
    t.deepEqual(chunks.at(-1)!.choices, []);
    t.is(usage!.completion_tokens, whole.usage!.completion_tokens);
    t.is(usage!.prompt_tokens, whole.usage!.prompt_tokens);
    t.is(whole.usage!.total_tokens, whole.usage!.prompt_tokens + whole.usage!.completion_tokens);
    const reasons = chunks.flatMap(({ choices }) => choices.map(({ finish_reason }) => finish_reason)).filter(Boolean);
    t.deepEqual(reasons, ["length", "length"]);
});

test("a completion takes a text, texts, ids and lists of ids, streamed and unstreamed alike", async (t) => {
    const { openai, server } = await startServer(t);
    const text = "Once upon a time";
    const ids = await server.engine.tokenize(text, { begin: true });
    for (const prompt of [text, [text, "It was"], [...ids], [[...ids], [...ids.slice(0, 3)]]]) {
        const request = { ...common, prompt, temperature: 0.5 };
        const whole = await openai.completions.create(request);
        t.true(completionResponseSchema.safeParse(whole).success);
        const texts = whole.choices.map(() => "");
        for await (const { choices } of await openai.completions.create({ ...request, stream: true }))
            for (const choice of choices) texts[choice.index] += choice.text;
        t.deepEqual(
            texts,
            whole.choices.map((choice) => choice.text)
        );
    }
    const [fromText, fromIds] = await Promise.all(
        [text, [...ids]].map((prompt) => openai.completions.create({ ...common, prompt }))
    );
    t.is(fromText!.choices[0]!.text, fromIds!.choices[0]!.text);
    t.is(fromText!.usage!.prompt_tokens, ids.length);
});

test("the same seed gives the same text, another one another", async (t) => {
    const { openai } = await startServer(t);
    const write = async (seed: number | undefined) =>
        (await openai.chat.completions.create({ ...common, messages, seed })).choices[0]!.message.content;
    const [first, again, other] = [await write(7), await write(7), await write(8)];
    t.is(first, again);
    t.not(first, other);
    t.not(await write(undefined), await write(undefined));
});

test("a response is stored, gone on from and deleted, and streams OpenAI's events", async (t) => {
    const { openai } = await startServer(t);
    const request = { model: "tiny", input: "What is in the box?", max_output_tokens: 80, temperature: 0 };
    const first = await openai.responses.create({ ...request, instructions: "Be short." });
    t.true(responseSchema.safeParse(first).success);
    t.is(first.status, "incomplete");
    t.deepEqual(first.incomplete_details, { reason: "max_output_tokens" });
    t.is((await openai.responses.retrieve(first.id)).output_text, first.output_text);

    const types: string[] = [];
    let text = "";
    const next = { ...request, input: "And under it?", previous_response_id: first.id };
    let ended: OpenAI.Responses.Response | undefined;
    for await (const event of await openai.responses.create({ ...next, stream: true })) {
        if (types.at(-1) !== event.type) types.push(event.type);
        if (event.type === "response.output_text.delta") text += event.delta;
        if (event.type === "response.incomplete") ended = event.response;
    }
    t.deepEqual(types, [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete"
    ]);
    t.is((ended!.output[0] as OpenAI.Responses.ResponseOutputMessage).content[0]!.type, "output_text");
    t.is(text, (await openai.responses.create(next)).output_text);
    t.true(ended!.usage!.input_tokens > first.usage!.total_tokens);

    await openai.responses.delete(first.id);
    const gone = await t.throwsAsync<InstanceType<typeof OpenAI.APIError>>(openai.responses.create(next), {
        instanceOf: OpenAI.NotFoundError
    });
    t.is(gone!.param, "previous_response_id");
    const unstored = await openai.responses.create({ ...request, store: false });
    await t.throwsAsync(openai.responses.retrieve(unstored.id), { instanceOf: OpenAI.NotFoundError });
});

test("embeddings are refused with 501", async (t) => {
    const { openai } = await startServer(t);
    const error = await t.throwsAsync<InstanceType<typeof OpenAI.APIError>>(
        openai.embeddings.create({ model: "tiny", input: "x" }),
        { instanceOf: OpenAI.APIError }
    );
    t.is(error!.status, 501);
    t.is(error!.code, "embeddings_not_supported");
});

test("a server with keys requires one", async (t) => {
    const { openai, url } = await startServer(t, { apiKeys: ["first key", "second key"] });
    t.is((await openai.models.list()).data.length, 1);
    for (const apiKey of ["", "first", "first keys", "x".repeat(1000)]) {
        const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: apiKey || "none", maxRetries: 0 });
        await t.throwsAsync(stranger.models.list(), { instanceOf: OpenAI.AuthenticationError });
    }
    t.is((await fetch(`${url}/health`)).status, 200);
    t.is((await fetch(`${url}/metrics`)).status, 401);
});
