import test from "ava";
import { post, startServer } from "../helpers/server.js";

type Logprobs = {
    tokens: string[];
    token_logprobs: (number | null)[];
    top_logprobs: (Record<string, number> | null)[];
    text_offset: number[];
};
type Choice = { index: number; text: string; logprobs: Logprobs };

const isClose = (a: number | null | undefined, b: number | null | undefined) => Math.abs(a! - b!) < 5e-3;

test("log-probabilities of an echoed prompt are those that the model gives after each part of it", async (t) => {
    const { url, server } = await startServer(t, { sequences: 1, batchSize: 48 });
    const ask = async (body: object) => {
        const answer = await post(`${url}/v1/completions`, { temperature: 0, max_tokens: 2, logprobs: 5, ...body });
        return answer.json() as { choices: Choice[]; usage: { prompt_tokens: number; completion_tokens: number } };
    };
    // several segments of 64 tokens, in batches of 48
    const prompt = server.engine.model.tokenize("The count lives in the old house by the river. ".repeat(8));
    t.true(prompt.length > 130, `${prompt.length}`);
    const echo = await ask({ prompt, echo: true, n: 2 });
    t.is(echo.usage.prompt_tokens, prompt.length);
    t.is(echo.usage.completion_tokens, 4);
    for (const { text, logprobs } of echo.choices) {
        t.is(logprobs.tokens.length, prompt.length + 2);
        t.is(logprobs.tokens.join(""), text);
        t.is(logprobs.token_logprobs[0], null);
        t.is(logprobs.top_logprobs[0], null);
        for (const end of [1, 47, 48, 63, 64, 65, 129, prompt.length]) {
            const [after] = (await ask({ prompt: prompt.slice(0, end) })).choices;
            const expected = after!.logprobs.top_logprobs[0]!;
            const top = logprobs.top_logprobs[end]!;
            t.is(Object.keys(top).length, 5);
            // the last of the most probable ones may change places
            for (const [token, value] of Object.entries(top))
                if (token in expected) t.true(isClose(value, expected[token]), `${end}: ${token}`);
            t.true(isClose(Math.max(...Object.values(top)), Math.max(...Object.values(expected))), `${end}`);
            const own = logprobs.token_logprobs[end]!;
            const name = logprobs.tokens[end]!;
            t.true(own <= Math.max(...Object.values(top)) + 1e-6);
            if (name in top) t.true(isClose(own, top[name]), `${end}`);
        }
    }
});

test("an echo with log-probabilities is refused where the prompt has none", async (t) => {
    const { url } = await startServer(t, { tiny: "plain" });
    const ask = (body: object) => post(`${url}/v1/completions`, { prompt: "aa", max_tokens: 1, echo: true, ...body });
    t.true(((await ask({})).json() as { choices: Choice[] }).choices[0]!.text.startsWith("aa"));
    const { status, json } = await ask({ logprobs: 0 });
    t.is(status, 400);
    t.is((json() as { error: { param: string } }).error.param, "echo");
});
