import test from "ava";
import { post, startServer } from "../helpers/server.js";

/**
 * A prompt of some hundred tokens, all in the open segment, which the first step of an answer computes. It begins with
 * a name, since what an earlier prompt shares would not be computed.
 */
const textOf = (name: string) => `${name} ${"word ".repeat(150)}`;
const tiny = { segmentSize: 1024, hiddenSize: 128, layers: 4 };

type Times = { prompt_ms: number; predicted_ms: number };

test("what the first token waits for is time of the prompt, in every API that says times", async (t) => {
    const { url } = await startServer(t, { tiny });
    const chatOf = (name: string) => ({ messages: [{ role: "user", content: textOf(name) }] });
    const asked: [string, object][] = [
        ["v1/chat/completions", { ...chatOf("first"), max_tokens: 1 }],
        ["v1/completions", { prompt: textOf("second"), max_tokens: 1 }],
        ["completion", { prompt: textOf("third"), n_predict: 1 }]
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
        ...chatOf("fourth"),
        stream: false,
        options: { num_predict: 1, temperature: 0 }
    });
    t.is(answer.status, 200, answer.text);
    const { prompt_eval_duration: read, eval_duration: written } = answer.json() as unknown as Record<string, number>;
    t.true(written! < read!, `api/chat: ${read} and ${written} ns`);
});
