import { request as httpRequest } from "node:http";
import { Readable } from "node:stream";
import test from "ava";
import { memorySchema } from "../../src/server/schemas/other.js";
import { type JsonAnswer, post, readEvents, send, startServer, tokensInUse } from "../helpers/server.js";
import { until } from "../helpers/until.js";

const sentence = (i: number) => `Line ${i}: the lamp is in room ${(i * 7) % 31}.\n`;
const book = Array.from({ length: 120 }, (_, i) => sentence(i)).join("");
const plain = { "content-type": "text/plain" };

type Usage = { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } };
const usageOf = (answer: JsonAnswer) => answer.usage as Usage;
const textOf = (answer: JsonAnswer) => (answer.choices as { text: string }[])[0]!.text;

test("many questions on one document cost one reading, and answers are those of the document and question in one", async (t) => {
    const { url, server } = await startServer(t);
    const created = await send(`${url}/v1/armt/memories?name=book`, { headers: plain, body: book });
    t.is(created.status, 201);
    const memory = created.json();
    t.true(memorySchema.safeParse(memory).success);
    t.like(memory, { name: "book", status: "complete", characters: book.length });
    t.is(memory.tokens, (await server.engine.tokenize(book, { begin: true })).length);
    t.is(memory.segments, Math.floor((Number(memory.tokens) - 1) / 64));

    const whole = await post(`${url}/v1/completions`, {
        prompt: `${book}\nWhere is it?`,
        max_tokens: 12,
        temperature: 0
    });
    const ask = { prompt: "\nWhere is it?", max_tokens: 12, temperature: 0, armt: { memory: memory.id } };
    for (let i = 0; i < 5; i++) {
        const answer = (await post(`${url}/v1/completions`, ask)).json();
        t.is(textOf(answer), textOf(whole.json()));
        const { prompt_tokens, prompt_tokens_details } = usageOf(answer);
        t.is(prompt_tokens_details.cached_tokens, Number(memory.tokens));
        t.is(prompt_tokens, usageOf(whole.json()).prompt_tokens);
    }
    const chat = {
        messages: [{ role: "user", content: "Where is it?" }],
        max_tokens: 4,
        n: 2,
        seed: 1,
        armt: { memory: memory.id }
    };
    const [first, again] = [
        await post(`${url}/v1/chat/completions`, chat),
        await post(`${url}/v1/chat/completions`, chat)
    ];
    t.deepEqual(first.json().choices, again.json().choices);

    t.deepEqual((await send(`${url}/v1/armt/memories`, { method: "GET" })).json().data, [memory]);
    t.deepEqual((await send(`${url}/v1/armt/memories/${memory.id}`, { method: "GET" })).json(), memory);
    t.like((await send(`${url}/v1/armt/memories/${memory.id}`, { method: "DELETE" })).json(), { deleted: true });
    t.is((await post(`${url}/v1/completions`, ask)).json().error!.param, "armt.memory");
    t.is(server.registry.bytes, 0);
});

test("a chat on a memory has no system message that only the template adds, and its turns begin as always", async (t) => {
    const template =
        "{% for m in messages %}{% if loop.first and m.role != 'system' %}{{ '<bos>system: Be kind.<eos>' }}{% endif %}" +
        "{{ '<bos>' + m.role + ': ' + m.content + '<eos>' }}{% endfor %}{% if add_generation_prompt %}<bos>{% endif %}";
    const { url } = await startServer(t, { tiny: { special: [], template, script: [] } });
    const memory = (await send(`${url}/v1/armt/memories`, { headers: plain, body: book })).json();
    const count = async (messages: object[], on: object) => {
        const answer = await post(`${url}/v1/chat/completions`, { messages, max_tokens: 1, ...on });
        t.is(answer.status, 200, answer.text);
        return usageOf(answer.json()).prompt_tokens;
    };
    const user = { role: "user", content: "Where is it?" };
    const system = { role: "system", content: "Be short." };
    const on = { armt: { memory: memory.id } };
    const turn = "user: Where is it?".length + 3;
    t.is(await count([user], on), Number(memory.tokens) + turn);
    t.is(await count([user], {}), "system: Be kind.".length + 2 + turn);
    t.is(await count([system, user], on), Number(memory.tokens) + "system: Be short.".length + 2 + turn);
});

test("a response on a memory is gone on from with what was read", async (t) => {
    const { url, openai } = await startServer(t);
    const memory = (await send(`${url}/v1/armt/memories`, { headers: plain, body: book })).json();
    const request = { model: "tiny", max_output_tokens: 4 };
    const first = await openai.responses.create({ ...request, input: "Where?", armt: { memory: memory.id } } as never);
    const next = await openai.responses.create({ ...request, input: "And now?", previous_response_id: first.id });
    t.true(next.usage!.input_tokens_details.cached_tokens >= Number(memory.tokens));
    t.true(next.usage!.input_tokens > first.usage!.total_tokens);
});

test("the upload's stream tells how far it is, and ends with the memory", async (t) => {
    const { url } = await startServer(t);
    const { text, headers } = await send(`${url}/v1/armt/memories?stream=true`, {
        headers: plain,
        body: book.repeat(8)
    });
    t.regex(headers["content-type"]!, /text\/event-stream/);
    const { events, done } = readEvents(text);
    t.true(done);
    const progress = events.flatMap((event) =>
        event.progress === undefined ? [] : [event.progress as Record<string, number>]
    );
    t.true(progress.length >= 2);
    for (const [i, { tokens }] of progress.entries()) t.true(i === 0 || tokens! >= progress[i - 1]!.tokens!);
    const memory = events.at(-1)!.memory as Record<string, unknown>;
    t.is(progress.at(-1)!.tokens, Number(memory.tokens));
    t.is(progress.at(-1)!.cells, (progress.at(-1)!.segments ?? 0) * 2);
});

test("the text of a client that disconnected stays as a memory, and reading resumes from it", async (t) => {
    const { url, server } = await startServer(t);
    const request = httpRequest(`${url}/v1/armt/memories`, { method: "POST", headers: plain, agent: false });
    request.on("error", () => {});
    // the last part never comes
    Readable.from([book.repeat(6)]).pipe(request, { end: false });
    await until(() => tokensInUse(server) > 500, "some of the text is read");
    request.destroy();
    await until(() => server.registry.count === 1, "the partial memory");
    t.is(server.engine.pool.busy, 0);
    const partial = server.registry.list()[0]!;
    t.is(partial.status, "partial");
    t.true(partial.characters > 0 && partial.characters < book.length * 6);
    const rest = book.repeat(6).slice(partial.characters);
    const resumed = (await send(`${url}/v1/armt/memories?from=${partial.id}`, { headers: plain, body: rest })).json();
    const whole = (await send(`${url}/v1/armt/memories`, { headers: plain, body: book.repeat(6) })).json();
    t.like(resumed, {
        status: "complete",
        characters: book.length * 6,
        tokens: whole.tokens,
        segments: whole.segments
    });
    const ask = async (memory: unknown) =>
        textOf(
            (
                await post(`${url}/v1/completions`, { prompt: "?", max_tokens: 8, temperature: 0, armt: { memory } })
            ).json()
        );
    t.is(await ask(resumed.id), await ask(whole.id));
});

test("documents that cannot be are refused, and the registry has an end", async (t) => {
    const { url, server } = await startServer(t, { maxMemoriesBytes: 300_000 });
    const memories = `${url}/v1/armt/memories`;
    t.is((await send(memories, { headers: plain, body: "" })).status, 400);
    t.is((await send(memories, { headers: plain, body: Buffer.from([0x61, 0xff, 0xfe]) })).status, 400);
    t.is((await send(memories, { headers: { "content-type": "application/json" }, body: "{}" })).status, 415);
    t.is((await send(`${memories}?from=mem_none`, { headers: plain, body: "a" })).json().error!.param, "from");
    t.is((await send(`${memories}?nam=x`, { headers: plain, body: "a" })).json().error!.param, "nam");
    const impatient = await startServer(t, { uploadIdleMs: 200 });
    const silent = httpRequest(`${impatient.url}/v1/armt/memories`, { method: "POST", headers: plain, agent: false });
    silent.on("error", () => {});
    silent.write("no more than this");
    const status = await new Promise((resolve) => silent.on("response", (response) => resolve(response.statusCode)));
    t.is(status, 408);
    await until(() => impatient.server.engine.pool.busy === 0, "its sequence is free");
    const statuses = [];
    for (let i = 0; i < 6; i++) statuses.push((await send(memories, { headers: plain, body: book })).status);
    t.true(statuses.includes(201) && statuses.at(-1) === 507, String(statuses));
    t.is(server.engine.pool.busy, 0);
    t.true(server.registry.bytes <= 300_000);
});

test("a document may be UTF-16, and other formats are refused with the byte and the remedy", async (t) => {
    const { url, server } = await startServer(t);
    const memories = `${url}/v1/armt/memories?name=book`;
    const mark = Buffer.of(0xff, 0xfe);
    const wide = await send(memories, { headers: plain, body: Buffer.concat([mark, Buffer.from(book, "utf16le")]) });
    const narrow = await send(memories, { headers: plain, body: book });
    t.is(wide.json().tokens, narrow.json().tokens);
    t.is(wide.json().characters, book.length);
    for (const [body, message] of [
        [Buffer.from("%PDF-1.7 and more"), /"book" is a PDF document \(byte 0\); /],
        [Buffer.from(`${book}\0`), /"book" contains a NUL byte.*\(byte \d+\); /],
        [Buffer.from("caf\xe9 and more of it", "latin1"), /"book" is not UTF-8 text \(byte 3\); /]
    ] as const) {
        const refused = await send(memories, { headers: plain, body });
        t.is(refused.status, 400);
        t.is(refused.json().error!.code, "not_text");
        t.regex(refused.json().error!.message, message);
    }
    t.is(server.registry.count, 2);
    t.is((await send(`${url}/v1/armt/sample`, { method: "GET" })).status, 404);
});

test("prefixes that were read are not read again, and nothing else is called cached", async (t) => {
    const { url } = await startServer(t, { sequences: 1 });
    const ask = async (prompt: string) =>
        usageOf((await post(`${url}/v1/completions`, { prompt, max_tokens: 1, temperature: 0 })).json());
    const first = await ask(book);
    t.is(first.prompt_tokens_details.cached_tokens, 0);
    const more = await ask(`${book} And then?`);
    t.true(more.prompt_tokens_details.cached_tokens >= first.prompt_tokens - 64);
    t.true(more.prompt_tokens_details.cached_tokens < more.prompt_tokens);
    t.is((await ask(`Another${book}`)).prompt_tokens_details.cached_tokens, 0);
    // the sequence holds something else now, so this comes from the store
    const back = await ask(`${book} And now?`);
    t.true(back.prompt_tokens_details.cached_tokens >= first.prompt_tokens / 2);
});
