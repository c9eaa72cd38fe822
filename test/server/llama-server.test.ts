import { readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { answerText, findParameters, shareServer } from "../helpers/assistant.js";
import { post, readEvents, send, startServer } from "../helpers/server.js";
import { temporaryFolder } from "../helpers/temporary.js";

const shared = shareServer();
const prompt = "<|assistant|>";

type Result = Record<string, unknown> & {
    content: string;
    tokens: number[];
    timings: Record<string, number>;
    completion_probabilities: { id: number; token: string; logprob: number; top_logprobs: { id: number }[] }[];
};

async function complete(body: object): Promise<Result> {
    const answer = await post(`${shared().url}/completion`, { prompt, temperature: 0, ...body });
    if (answer.status !== 200) throw new Error(answer.text);
    return answer.json() as unknown as Result;
}

test("a completion has llama-server's fields, and the times and counts agree", async (t) => {
    const result = await complete({ n_predict: 20, cache_prompt: true, id_slot: -1, return_tokens: true, seed: -1 });
    t.is(result.content, answerText);
    t.is(result.stop, true);
    t.is(result.stop_type, "eos");
    t.is(result.stopping_word, "");
    t.is(result.model, "tiny");
    t.is(result.prompt, `<bos>${prompt}`);
    t.is(result.truncated, false);
    t.is(result.tokens_predicted, result.tokens.length);
    t.is(result.tokens_evaluated, 2);
    const { timings } = result;
    t.is(timings.prompt_n! + timings.cache_n!, 2);
    t.is(timings.predicted_n, result.tokens.length);
    t.true(timings.predicted_ms! > 0 && timings.prompt_ms! >= 0);
    t.true(Math.abs(timings.predicted_per_second! * timings.predicted_per_token_ms! - 1000) < 1e-6);
    const settings = result.generation_settings as Record<string, unknown>;
    t.is(settings.n_predict, 20);
    t.is(settings.temperature, 0);
});

test("the limit, a stop string and the end of the text are told apart", async (t) => {
    const limited = await complete({ n_predict: 2 });
    t.deepEqual([limited.content, limited.stop_type], ["The lamp", "limit"]);
    const stopped = await complete({ stop: [" in"] });
    t.deepEqual([stopped.content, stopped.stop_type, stopped.stopping_word], ["The lamp is", "word", " in"]);
    const all = await complete({ n_predict: -1 });
    t.deepEqual([all.content, all.stop_type], [answerText, "eos"]);
});

test("a stream has pieces and a last event with everything but the text", async (t) => {
    const { text } = await post(`${shared().url}/completions`, {
        prompt,
        temperature: 0,
        stream: true,
        n_probs: 2,
        timings_per_token: true,
        return_progress: true
    });
    const { events } = readEvents(text) as unknown as { events: Result[] };
    t.false(text.includes("[DONE]"));
    t.true("prompt_progress" in events[0]!);
    const pieces = events.filter((event) => event.stop === false && !("prompt_progress" in event));
    t.is(pieces.map(({ content }) => content).join(""), answerText);
    t.true(pieces.every(({ timings, tokens }) => timings.predicted_n! > 0 && tokens.length > 0));
    t.true(pieces.every(({ completion_probabilities: [first] }) => first!.top_logprobs.length === 2));
    const last = events.at(-1)!;
    t.deepEqual([last.stop, last.content, last.stop_type], [true, "", "eos"]);
});

test("n_probs gives the most probable tokens with their ids", async (t) => {
    const { completion_probabilities, tokens } = await complete({ n_probs: 3, n_predict: 4, return_tokens: true });
    t.deepEqual(
        completion_probabilities.map(({ id }) => id),
        tokens
    );
    for (const { id, logprob, top_logprobs } of completion_probabilities) {
        t.is(top_logprobs[0]!.id, id);
        t.true(logprob <= 0);
    }
});

test("prompts may be texts, ids, both, objects, or several of them", async (t) => {
    const { url } = shared();
    const { tokens } = (await post(`${url}/tokenize`, { content: prompt })).json() as { tokens: number[] };
    for (const form of [prompt, { prompt_string: prompt }, tokens, ["x", ...tokens], [tokens[0], prompt]])
        t.is((await complete({ prompt: form })).content, answerText, JSON.stringify(form));
    for (const [form, count] of [
        [[prompt, tokens], 2],
        [[{ prompt_string: prompt }], 1]
    ] as const) {
        const results = (await complete({ prompt: form })) as unknown as Result[];
        t.deepEqual(
            results.map(({ index, content }) => [index, content]),
            Array.from({ length: count }, (_, i) => [i, answerText])
        );
    }
    const several = (await complete({ n_cmpl: 2 })) as unknown as Result[];
    t.is(several.length, 2);
});

test("a JSON schema, a bias and ignore_eos change what is written", async (t) => {
    const schema = { type: "object", properties: { a: { enum: ["x"] } }, required: ["a"], additionalProperties: false };
    const { content } = await complete({ json_schema: schema, n_predict: 100 });
    t.deepEqual(JSON.parse(content), { a: "x" });
    // any JSON value, where the model would write words
    for (const json_schema of [{}, true])
        t.regex((await complete({ json_schema, n_predict: 100 })).content, /^(?:[[{"\d-]|true|false|null)/);
    t.regex((await complete({ json_schema: null, n_predict: 100 })).content, /^The/);
    const { tokens } = await complete({ n_predict: 1, return_tokens: true });
    for (const logit_bias of [[[tokens[0], false]], [["The", false]], { [tokens[0]!]: false }, { The: -100 }])
        t.not((await complete({ n_predict: 1, logit_bias })).content, "The", JSON.stringify(logit_bias));
    const endless = await complete({ ignore_eos: true, n_predict: 30 });
    t.is(endless.tokens_predicted, 30);
    t.is(endless.stop_type, "limit");
});

test("samplers that a list leaves out are off, and another order is refused", async (t) => {
    const { generation_settings: settings } = await complete({ samplers: ["top_k", "temperature"], top_p: 0.5 });
    t.is((settings as Record<string, unknown>).top_p, 1);
    const wrong = await post(`${shared().url}/completion`, { prompt, samplers: ["temperature", "top_k"] });
    t.deepEqual([wrong.status, wrong.json().error!.param], [400, "samplers"]);
});

test("a repetition penalty counts the last tokens of the answer", async (t) => {
    // the scripted model repeats itself, and the bias makes another token the second most probable
    const again = { n_predict: 12, prompt: "x", logit_bias: { y: 0.5 } };
    const plain = await complete(again);
    t.not((await complete({ ...again, repeat_penalty: 50 })).content, plain.content);
    t.is((await complete({ ...again, repeat_penalty: 50, repeat_last_n: 0 })).content, plain.content);
});

test("response_fields picks fields, also nested ones", async (t) => {
    const fields = ["content", "generation_settings/n_predict", "timings/predicted_n", "missing/field"];
    t.deepEqual(await complete({ n_predict: 3, response_fields: fields }), {
        content: "The lamp is",
        n_predict: 3,
        predicted_n: 3
    } as never);
});

test("cache_prompt: false reads the whole prompt again", async (t) => {
    const long = { prompt: `${"word ".repeat(40)}${prompt}`, n_predict: 1 };
    await complete(long);
    t.true(Number((await complete(long)).tokens_cached) > 0);
    t.is((await complete({ ...long, cache_prompt: false })).tokens_cached, 0);
    const chat = { messages: [{ role: "user", content: "word ".repeat(40) }], max_tokens: 1 };
    const { url } = shared();
    await post(`${url}/v1/chat/completions`, chat);
    const again = (await post(`${url}/v1/chat/completions`, { ...chat, cache_prompt: false })).json();
    t.is((again.timings as Record<string, number>).cache_n, 0);
});

test("what would change the result and is not supported is named", async (t) => {
    for (const [param, value] of Object.entries({
        typical_p: 0.5,
        mirostat: 2,
        xtc_probability: 0.1,
        dry_multiplier: 0.8,
        dynatemp_range: 0.5,
        min_keep: 3,
        n_indent: 2,
        t_max_predict_ms: 10,
        post_sampling_probs: true,
        grammar: 'root ::= "a"',
        lora: [{ id: 0, scale: 1 }]
    })) {
        const answer = await post(`${shared().url}/completion`, { prompt, [param]: value });
        t.deepEqual([answer.status, answer.json().error?.param], [400, param]);
    }
    const off = { typical_p: 1, mirostat: 0, xtc_probability: 0, dry_multiplier: 0, t_max_predict_ms: 0, lora: [] };
    t.is((await complete(off)).content, answerText);
    for (const [body, param] of [
        [{ prompt: [] }, "prompt"],
        [{ prompt: [1, -1] }, "prompt.1"],
        [{ prompt: ["a", { prompt_string: 1 }] }, "prompt.1.prompt_string"],
        [{ prompt: 9_999_999 }, "prompt.0"],
        [{ prompt, n_predict: 1, max_tokens: 2 }, "n_predict"]
    ] as const) {
        const answer = await post(`${shared().url}/completion`, body);
        t.deepEqual([answer.status, answer.json().error?.param], [400, param], JSON.stringify(body));
    }
});

test("chats and completions take llama-server's names and answer with timings", async (t) => {
    const { url } = shared();
    const messages = [{ role: "user", content: "Where?" }];
    for (const [path, body] of [
        ["/v1/chat/completions", { messages }],
        ["/chat/completions", { messages }],
        ["/v1/completions", { prompt }]
    ] as const) {
        const request = { ...body, temperature: 0, n_predict: 2, repeat_penalty: 1, id_slot: 0 };
        const whole = (await post(url + path, request)).json();
        t.is((whole.usage as Record<string, number>).completion_tokens, 2);
        t.is((whole.timings as Record<string, number>).predicted_n, 2);
        for (const more of [{}, { stream_options: { include_usage: true } }]) {
            const streamed = await post(url + path, { ...request, stream: true, timings_per_token: true, ...more });
            const { events, done } = readEvents(streamed.text);
            t.true(done);
            const counts = events.flatMap(({ timings }) =>
                timings === undefined ? [] : [(timings as Record<string, number>).predicted_n]
            );
            t.deepEqual(counts, [1, 2, 2], path);
            t.true("timings" in events.at(-1)!);
        }
        const clash = await post(url + path, { ...request, max_tokens: 3 });
        t.deepEqual([clash.status, clash.json().error!.param], [400, "max_tokens"]);
    }
});

test("a template is applied, and its prompt gives the chat's answer", async (t) => {
    const { url } = shared();
    const messages = [{ role: "user", content: "Where is the lamp?" }];
    const { prompt } = (await post(`${url}/apply-template`, { messages })).json();
    t.is(prompt, "<bos><|user|>Where is the lamp?<eos><|assistant|>");
    t.is((await complete({ prompt })).content, answerText);
    const tools = [{ type: "function", function: { name: "find", parameters: findParameters } }];
    const described = (await post(`${url}/apply-template`, { messages, tools })).json();
    t.regex(String(described.prompt), /"name": "find"/);
    // the whole body of a chat, as clients have it at hand
    const chat = { messages, tools, tool_choice: "none", temperature: 1, stream: true, add_generation_prompt: true };
    t.is((await post(`${url}/apply-template`, chat)).json().prompt, prompt);
    const wrong = await post(`${url}/apply-template`, { messages: [] });
    t.is(wrong.status, 400);
});

test.serial("props and slots describe the model and its sequences", async (t) => {
    const { url } = shared();
    const get = async (path: string) => await send(url + path, { method: "GET" });
    const props = (await get("/props")).json();
    t.is(props.total_slots, 3);
    t.is(props.model_alias, "tiny");
    t.is(props.model_path, "model.gguf");
    t.is(props.bos_token, "<bos>");
    t.regex(String(props.chat_template), /add_generation_prompt/);
    const { params } = props.default_generation_settings as { params: Record<string, unknown> };
    t.is(params.n_predict, 4096);
    const slots = (await get("/slots")).json() as unknown as Record<string, unknown>[];
    t.deepEqual(
        slots.map(({ id }) => id),
        [0, 1, 2]
    );
    t.true(slots.every(({ is_processing }) => is_processing === false));
    t.is((await get("/slots?fail_on_no_slot=1")).status, 200);
    t.is((await get("/v1/health")).status, 200);
    t.deepEqual((await get("/models")).json(), (await get("/v1/models")).json());
});

test("tokens come with their pieces", async (t) => {
    const { url } = shared();
    const tokenize = async (content: string) =>
        (await post(`${url}/tokenize`, { content, with_pieces: true })).json().tokens as { piece: unknown }[];
    t.deepEqual(
        (await tokenize("ab")).map(({ piece }) => piece),
        ["a", "b"]
    );
    t.deepEqual(
        (await tokenize("á")).map(({ piece }) => piece),
        [[0xc3], [0xa1]]
    );
});

test("POST /props is a 501, as in a llama-server that was started plainly", async (t) => {
    const answer = await post(`${shared().url}/props`, {});
    t.is(answer.status, 501);
    t.is(answer.json().error!.type, "not_supported_error");
});

test("/infill names what the model lacks, and completes with a model that has it", async (t) => {
    const body = { input_prefix: "a", input_suffix: "b", temperature: 0, n_predict: 3 };
    const refused = await post(`${shared().url}/infill`, body);
    t.is(refused.status, 501);
    t.is(refused.json().error!.type, "not_supported_error");
    t.regex(refused.json().error!.message, /no prefix token, no suffix token, no middle token/);

    const special = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"];
    const { url } = await startServer(t, { tiny: { special, script: [["<|fim_middle|>", "mid", "dle", "<eos>"]] } });
    const input_extra = [{ filename: "other.ts", text: "c" }];
    const answer = await post(`${url}/infill`, { ...body, input_extra });
    t.is(answer.status, 200, answer.text);
    t.like(answer.json(), {
        content: "middle",
        stop_type: "eos",
        prompt: "<bos>\n\n--- snippet ---\n\nc<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>"
    });
});

test("a slot is saved, erased and restored, and then need not be read again", async (t) => {
    for (const tiny of [{}, "plain"] as const) {
        const slotFolder = temporaryFolder(t);
        const { url, server } = await startServer(t, { tiny, slotFolder, sequences: 1 });
        const act = async (action: string, body?: object) =>
            await (body === undefined
                ? send(`${url}/slots/0?action=${action}`)
                : post(`${url}/slots/0?action=${action}`, body));
        const filename = "one slot.bin";
        t.is((await act("save", { filename })).status, 400, "empty");
        const ask = { prompt: "The lamp is in the box. ".repeat(3), n_predict: 4, temperature: 0 };
        const first = (await post(`${url}/completion`, ask)).json();
        const saved = await act("save", { filename });
        t.is(saved.status, 200, saved.text);
        const { n_saved, n_written } = saved.json() as unknown as { n_saved: number; n_written: number };
        t.true(n_saved > 40);
        t.is(n_written, statSync(path.join(slotFolder, filename)).size);
        t.like((await act("erase")).json(), { id_slot: 0, n_erased: n_saved });
        t.is(((await send(`${url}/slots`, { method: "GET" })).json() as unknown as Result[])[0]!.n_prompt_tokens, 0);
        const restored = await act("restore", { filename });
        t.is(restored.status, 200, restored.text);
        t.like(restored.json(), { id_slot: 0, filename, n_restored: n_saved, n_read: n_written });
        const again = (
            await post(`${url}/completion`, { ...ask, prompt: `${ask.prompt}${String(first.content)}` })
        ).json();
        t.true((again.tokens_cached as number) > 0);
        t.is(server.engine.pool.busy, 0);

        writeFileSync(
            path.join(slotFolder, "damaged.bin"),
            readFileSync(path.join(slotFolder, filename)).subarray(0, 99)
        );
        for (const [action, wrong, status] of [
            ["restore", { filename: "missing.bin" }, 400],
            ["restore", { filename: "damaged.bin" }, 400],
            ["save", { filename: "../outside.bin" }, 400],
            ["save", { filename: "a/b" }, 400],
            ["save", { filename: ".." }, 400],
            ["save", { filename: "con" }, 400],
            ["save", {}, 400],
            ["copy", { filename }, 400]
        ] as const)
            t.is((await act(action, wrong)).status, status, `${action} ${JSON.stringify(wrong)}`);
        t.is((await post(`${url}/slots/7?action=save`, { filename })).status, 400);
        t.is((await post(`${url}/completion`, ask)).json().content, first.content);
    }
});

test("without a folder, slots cannot be saved", async (t) => {
    const answer = await post(`${shared().url}/slots/0?action=save`, { filename: "a" });
    t.is(answer.status, 501);
    t.like(answer.json().error, { type: "not_supported_error" });
    t.regex(answer.json().error!.message, /--slot-save-path/);
});
