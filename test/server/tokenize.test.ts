import test from "ava";
import type { Token } from "../../plugin/index.js";
import { stopwatch } from "../../src/util/stopwatch.js";
import { post, startServer } from "../helpers/server.js";

test("a long text has the tokens of the whole, and others have their turn while it is tokenized", async (t) => {
    const { server } = await startServer(t);
    const { model } = server.engine;
    const text = Array.from(
        { length: 7000 },
        (_, i) => `Line ${i}: the lamp is in <|end_of_text|> ${i % 31}, 灯\n`
    ).join("");
    for (const special of [false, true]) {
        let turns = 0;
        const timer = setInterval(() => turns++, 1);
        const spent = stopwatch();
        const tokens = await server.engine.tokenize(text, { special });
        const timeMs = spent();
        clearInterval(timer);
        t.deepEqual(tokens, model.tokenize(text, special));
        // a slice takes 10 ms; without slices, there would be one turn at most
        t.true(turns >= Math.max(2, timeMs / 50), `${turns} turns in ${timeMs.toFixed()} ms`);
    }
});

test("tokenize and detokenize undo each other, with and without special tokens", async (t) => {
    const { url, server } = await startServer(t);
    const { bos, eos } = server.engine.model.tokens;
    const content = "The lamp <|end_of_text|> is in room 7.";
    const tokenize = async (more: object) =>
        (await post(`${url}/tokenize`, { content, ...more })).json().tokens as Token[];
    const tokens = await tokenize({});
    t.true(tokens.includes(eos!));
    t.false((await tokenize({ parse_special: false })).includes(eos!));
    t.is((await tokenize({ add_special: true }))[0], bos!);
    t.is((await post(`${url}/detokenize`, { tokens })).json().content, content);
});
