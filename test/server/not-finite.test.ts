import path from "node:path";
import test from "ava";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import { fillEmbedding } from "../helpers/damage-weights.js";
import { scaleWeights } from "../helpers/rewrite-checkpoint.js";
import { post, readEvents, send, startServer } from "../helpers/server.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";
import { until } from "../helpers/until.js";

/** The token whose weights are not finite. Prompts below it are well. */
const bad = 230;
const prompt = (count: number, seed = 1) => textIds(count, bad, seed);
const settings = { temperature: 0, max_tokens: 6, logit_bias: { [bad]: -100 } };
const reason = /the logits of position \d+ are not finite.*; the sequence was cleared/;
/** Of a token in a segment that was closed. */
const memoryReason = /the memory of layer 0 is no longer finite after \d+ tokens: .*; the sequence was cleared/;

test("logits that are not finite fail their own request, and the others of its batches go on", async (t) => {
    const folder = temporaryFolder(t);
    const file = path.join(folder, "model.gguf");
    await makeTinyCheckpoint(folder, { layers: 2, segmentSize: 64 });
    await convertCheckpoint({ checkpoint: folder, output: file, outType: "f32" });
    const whole = await startServer(t, { tiny: { file } });
    const complete = async (url: string, body: object) => await post(`${url}/v1/completions`, { ...settings, ...body });
    const wells = [prompt(8000), prompt(300, 2)];
    const expected: unknown[] = [];
    for (const well of wells) expected.push((await complete(whole.url, { prompt: well })).json().choices);

    await fillEmbedding(file, bad, Number.NaN);
    const { url, server } = await startServer(t, { tiny: { file }, sequences: 5 });
    const { pool } = server.engine;
    const long = complete(url, { prompt: wells[0] });
    await until(() => pool.busy === 1, "the long prompt is being read");
    // a long prompt is read in batches, so all of these share some with it
    const [inPrompt, inMemory, inAnswer, streamed, well] = await Promise.all([
        complete(url, { prompt: [...prompt(100, 3), bad] }),
        complete(url, { prompt: [bad, ...prompt(200, 4)], n: 2 }),
        complete(url, { prompt: prompt(70, 5), logit_bias: { [bad]: 100 } }),
        complete(url, { prompt: prompt(90, 6), logit_bias: { [bad]: 100 }, stream: true }),
        complete(url, { prompt: wells[1] })
    ]);
    t.is(pool.busy, 1, "the long prompt was being read all the time");
    for (const answer of [inPrompt, inMemory, inAnswer]) {
        t.is(answer.status, 500);
        t.is(answer.json().error!.code, "evaluation_failed");
        t.regex(answer.json().error!.message, answer === inMemory ? memoryReason : reason);
    }
    const positions = [inPrompt, inAnswer].map((answer) => /position (\d+)/.exec(answer.text)![1]);
    t.not(positions[0], positions[1], "each gets its own reason");
    const { events, done } = readEvents(streamed.text);
    t.false(done);
    t.regex(events.at(-1)!.error!.message, reason);
    t.deepEqual(well.json().choices, expected[1]);
    t.deepEqual((await long).json().choices, expected[0]);

    t.is(pool.busy, 0);
    for (const [i, body] of wells.entries())
        t.deepEqual((await complete(url, { prompt: body })).json().choices, expected[i]);
    const chat = await post(`${url}/v1/chat/completions`, {
        messages: [{ role: "user", content: "Hi" }],
        ...settings,
        logit_bias: { [bad]: 100 }
    });
    t.is(chat.status, 500);
    t.regex(chat.json().error!.message, reason);
});

test("an upload in which the memory grows without bound gets the reason, and the server stays usable", async (t) => {
    const folder = temporaryFolder(t);
    const file = path.join(folder, "model.gguf");
    await makeTinyCheckpoint(folder, { layers: 3, segmentSize: 16, useDenom: false, normalizeKeys: false });
    await scaleWeights(folder, /\.1\.W_mk\.weight$/, 3);
    await convertCheckpoint({ checkpoint: folder, output: file, outType: "f32" });
    const { url, server } = await startServer(t, { tiny: { file } });
    const upload = async (body: string) =>
        await send(`${url}/v1/armt/memories`, { headers: { "content-type": "text/plain" }, body });
    const line = "The lamp is in the hall.\n";
    const [failed, kept] = await Promise.all([upload(line.repeat(1000)), upload(line)]);
    t.is(failed.status, 500);
    t.is(failed.json().error!.code, "evaluation_failed");
    t.regex(failed.json().error!.message, /the memory of layer [12] is no longer finite after \d+ tokens: /);
    t.is(kept.status, 201);
    t.deepEqual(
        server.registry.list().map(({ id }) => id),
        [kept.json().id]
    );
    t.is(server.engine.pool.busy, 0);
    const again = await upload(line);
    t.is(again.json().tokens, kept.json().tokens);
});
