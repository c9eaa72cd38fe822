import { randomBytes } from "node:crypto";
import test, { type ExecutionContext } from "ava";
import { assistantModel } from "../helpers/assistant.js";
import { type Answer, makeModel, post, readEvents, send, startServer } from "../helpers/server.js";
import { ServerProcess } from "../helpers/server-process.js";
import { until } from "../helpers/until.js";

/** Starts `armt serve` with these options. */
async function serve(t: ExecutionContext, ...options: string[]): Promise<string> {
    const model = await makeModel(t, assistantModel);
    return (await ServerProcess.start(["serve", model, ...options], { ending: t })).url;
}

const ask = async (url: string, body: object) =>
    await post(`${url}/v1/responses`, { input: "Hi", temperature: 0, ...body });
const get = async (url: string, id: string) => await send(`${url}/v1/responses/${id}`, { method: "GET" });
const remove = async (url: string, id: string) => await send(`${url}/v1/responses/${id}`, { method: "DELETE" });
const idOf = (answer: Answer) => String(answer.json().id);

/** Asks with each input, and says which of the responses are stored afterwards. */
async function storedOf(url: string, inputs: readonly string[]): Promise<{ ids: string[]; stored: boolean[] }> {
    const ids: string[] = [];
    for (const input of inputs) {
        const answer = await ask(url, { input });
        if (answer.status !== 200) throw new Error(answer.text);
        ids.push(idOf(answer));
    }
    const stored: boolean[] = [];
    for (const id of ids) stored.push((await get(url, id)).status === 200);
    return { ids, stored };
}

/** The error of a request that continues a response which is not stored. */
function checkGone(t: ExecutionContext, answer: Answer): void {
    t.is(answer.status, 404, answer.text);
    const { message, ...error } = answer.json().error!;
    t.deepEqual(error, {
        type: "not_found_error",
        param: "previous_response_id",
        code: "previous_response_not_found"
    });
    t.regex(message, /no stored response has this id/);
}

test("armt serve keeps as many responses as --max-responses, and the oldest leave", async (t) => {
    const url = await serve(t, "--max-responses", "3");
    const { ids, stored } = await storedOf(url, ["1", "2", "3", "4", "5"]);
    t.deepEqual(stored, [false, false, true, true, true]);
    checkGone(t, await ask(url, { previous_response_id: ids[1] }));
    // the next one takes the place of the oldest, which it continues
    t.is((await ask(url, { previous_response_id: ids[2] })).status, 200);
    t.is((await get(url, ids[2]!)).status, 404);
    t.is((await ask(url, { previous_response_id: ids[4] })).status, 200);
});

test("armt serve keeps the bytes of --responses-size, and the oldest leave", async (t) => {
    const url = await serve(t, "--responses-size", "0.0625");
    // random letters, which compress to about three quarters
    const long = () => randomBytes(24_000).toString("base64");
    const { ids, stored } = await storedOf(url, [long(), long(), long(), long()]);
    t.deepEqual(stored, [false, false, true, true]);
    checkGone(t, await ask(url, { previous_response_id: ids[0] }));
    // one that is larger than all of them together is answered, and not stored; the others stay
    const large = await storedOf(url, [randomBytes(72_000).toString("base64")]);
    t.deepEqual(large.stored, [false]);
    t.is((await get(url, ids[3]!)).status, 200);
    // short ones take the rest of the room
    t.deepEqual((await storedOf(url, ["a", "b"])).stored, [true, true]);
});

for (const option of ["--max-responses", "--responses-size"])
    test(`armt serve with ${option} 0 stores no response`, async (t) => {
        const url = await serve(t, option, "0");
        const { ids, stored } = await storedOf(url, ["1"]);
        t.deepEqual(stored, [false]);
        checkGone(t, await ask(url, { previous_response_id: ids[0] }));
    });

test("a response that was deleted, not stored or never made cannot be continued, read or deleted", async (t) => {
    const { url } = await startServer(t, { tiny: assistantModel });
    const deleted = idOf(await ask(url, {}));
    t.deepEqual((await remove(url, deleted)).json(), { id: deleted, object: "response", deleted: true });
    const unstored = idOf(await ask(url, { store: false }));
    for (const id of [deleted, unstored, "resp_0", "__proto__", "constructor"]) {
        for (const stream of [false, true]) checkGone(t, await ask(url, { previous_response_id: id, stream }));
        for (const act of [get, remove]) {
            const answer = await act(url, id);
            t.is(answer.status, 404);
            t.is(answer.json().error!.code, "response_not_found");
        }
    }
    // an empty value is an absent one
    for (const id of [1, [1], { id: 1 }, true]) {
        const { status, json } = await ask(url, { previous_response_id: id });
        t.is(status, 400, JSON.stringify(id));
        t.is(json().error!.param, "previous_response_id");
    }
});

test("a response that another request continues can be deleted meanwhile, and that request is whole", async (t) => {
    const { url, server } = await startServer(t, { sequences: 1 });
    const first = idOf(await ask(url, { input: "The lamp is in the box.", max_output_tokens: 4 }));
    // until the first one is deleted, this one waits for the only sequence
    const busy = post(`${url}/v1/completions`, {
        prompt: "a",
        max_tokens: 300,
        temperature: 0,
        logit_bias: { 287: -100 }
    });
    await until(() => server.engine.pool.busy === 1, "a request runs");
    const next = { previous_response_id: first, stream: true, max_output_tokens: 4 };
    const second = ask(url, next);
    await until(() => server.engine.pool.waiting === 1, "the next one waits");
    t.is((await remove(url, first)).status, 200);
    checkGone(t, await ask(url, next));
    t.is((await busy).status, 200);
    const { events } = readEvents((await second).text);
    const { response } = events.at(-1) as { response: { id: string; previous_response_id: string } };
    t.is(response.previous_response_id, first);
    // it has the conversation of its own, and can be continued
    const alone = await ask(url, { max_output_tokens: 4 });
    const third = await ask(url, { previous_response_id: response.id, max_output_tokens: 4 });
    t.is(third.status, 200);
    const tokens = (answer: Answer) => (answer.json().usage as { input_tokens: number }).input_tokens;
    t.true(tokens(third) > tokens(alone) + "The lamp is in the box.".length);
});

test("a response that is deleted while it is streamed is not stored, and its stream is whole", async (t) => {
    const { url, server } = await startServer(t, { sequences: 1 });
    const abort = new AbortController();
    const answer = await fetch(`${url}/v1/responses`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ input: "Hi", stream: true, max_output_tokens: 200, temperature: 0 }),
        signal: abort.signal
    });
    let [text, id] = ["", ""];
    const decoder = new TextDecoder();
    for await (const piece of answer.body!) {
        text += decoder.decode(piece, { stream: true });
        if (id !== "" || !/"id":"(resp_\w+)"/.test(text)) continue;
        id = /"id":"(resp_\w+)"/.exec(text)![1]!;
        t.is(server.engine.pool.busy, 1);
        t.deepEqual((await remove(url, id)).json(), { id, object: "response", deleted: true });
        // it is gone, as a stored one would be
        t.is((await remove(url, id)).status, 404);
        t.is((await get(url, id)).status, 404);
    }
    const { type } = readEvents(text).events.at(-1) as { type: string };
    t.regex(type, /^response\.(completed|incomplete)$/);
    t.is(server.responses.count, 0);
    checkGone(t, await ask(url, { previous_response_id: id }));
});
