import test from "ava";
import { recallModelPath } from "../../src/model/embedded-model.js";
import { recallText } from "../helpers/recall.js";
import { post, send, startServer } from "../helpers/server.js";

test("chats about a memory have the trained form, and remember with a nearly full open segment", async (t) => {
    const { url, server } = await startServer(t, { tiny: { file: recallModelPath }, sequences: 1 });
    const { model } = server.engine;
    const right = { closed: 0, open: 0 };
    let asked = 0;
    for (const seed of [1, 2]) {
        const { text, tokens, questions } = await recallText(model, 5, 120, seed);
        const upload = await send(`${url}/v1/armt/memories`, {
            method: "POST",
            headers: { "content-type": "text/plain" },
            body: text
        });
        const memory = (upload.json() as { id: string }).id;
        for (const question of questions) {
            asked++;
            for (const closeBeforeQuestion of [undefined, false]) {
                const { json } = await post(`${url}/v1/chat/completions`, {
                    messages: [{ role: "user", content: question.text }],
                    max_tokens: 12,
                    armt: { memory, closeBeforeQuestion }
                });
                const { choices, usage } = json() as unknown as {
                    choices: { message: { content: string } }[];
                    usage: { prompt_tokens: number };
                };
                const isRight = choices[0]!.message.content.trim() === question.expected;
                if (isRight) right[closeBeforeQuestion === undefined ? "closed" : "open"]++;
                const form = model.tokenize(`\nQuestion: ${question.text}\nAnswer:`);
                t.is(usage.prompt_tokens, tokens.length + form.length);
            }
        }
    }
    t.log(right, asked);
    t.true(asked >= 8);
    t.true(right.closed >= 0.85 * asked, `${right.closed} of ${asked}`);
    t.true(right.open <= 0.5 * asked, `${right.open} of ${asked}`);
});

test("another choice about closing starts a chat from its beginning", async (t) => {
    const { url, server } = await startServer(t, { tiny: { file: recallModelPath }, sequences: 1 });
    const chat = async (closeBeforeQuestion?: boolean) => {
        const { json } = await post(`${url}/v1/chat/completions`, {
            messages: [
                { role: "system", content: "The lamp is in the garden." },
                { role: "user", content: "Where is the lamp?" }
            ],
            max_tokens: 4,
            armt: { closeBeforeQuestion }
        });
        return json() as unknown as { usage: { prompt_tokens_details: { cached_tokens: number } } };
    };
    const cached = async (close?: boolean) => (await chat(close)).usage.prompt_tokens_details.cached_tokens;
    t.is(await cached(), 0);
    t.true((await cached()) > 10);
    t.is(await cached(false), 0);
    t.is(server.engine.pool.size, 1);
});
