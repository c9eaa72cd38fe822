import test from "ava";
import { post, startServer } from "../helpers/server.js";

/** A prompt of some hundred tokens, all in the open segment, which the first step of an answer computes. */
const text = "word ".repeat(150);
const tiny = { segmentSize: 1024, hiddenSize: 128, layers: 4 };

type Times = { prompt_ms: number; predicted_ms: number };

test("what the first token waits for is time of the prompt, in every API that says times", async (t) => {
    const { url } = await startServer(t, { tiny });
    const chat = { messages: [{ role: "user", content: text }] };
    const asked: [string, object][] = [
        ["v1/chat/completions", { ...chat, max_tokens: 1 }],
        ["v1/completions", { prompt: text, max_tokens: 1 }],
        ["completion", { prompt: text, n_predict: 1 }]
    ];
    for (const [route, body] of asked) {
        const answer = await post(`${url}/${route}`, { temperature: 0, ...body });
        t.is(answer.status, 200, answer.text);
        const { prompt_ms, predicted_ms } = (answer.json() as unknown as { timings: Times }).timings;
        // one token was written, by the step that also computed the prompt
        t.true(predicted_ms < prompt_ms, `${route}: ${prompt_ms} and ${predicted_ms} ms`);
    }
    const answer = await post(`${url}/api/chat`, {
        model: "tiny",
        ...chat,
        stream: false,
        options: { num_predict: 1, temperature: 0 }
    });
    t.is(answer.status, 200, answer.text);
    const { prompt_eval_duration: read, eval_duration: written } = answer.json() as unknown as Record<string, number>;
    t.true(written! < read!, `api/chat: ${read} and ${written} ns`);
});
