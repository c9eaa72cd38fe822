import test from "ava";
import OpenAI from "openai";
import { startServer } from "../helpers/server.js";

const messages = [{ role: "user" as const, content: "What is in the box?" }];
const common = { model: "tiny", messages, max_tokens: 16, seed: 7 };

/** Options that the client has no type for. */
function withMore<T extends object>(request: T, more: object): T {
    return { ...request, ...more };
}

test("temperature 0, top_k 1, a tiny top_p and min_p 1 all take the most probable token", async (t) => {
    const { openai } = await startServer(t);
    const write = async (more: object) =>
        (await openai.chat.completions.create(withMore(common, more))).choices[0]!.message.content;
    const greedy = await write({ temperature: 0 });
    t.is(await write({ top_k: 1, temperature: 1.5 }), greedy);
    t.is(await write({ top_p: 1e-6, temperature: 1.5 }), greedy);
    t.is(await write({ min_p: 1, temperature: 1.5 }), greedy);
    t.not(await write({ temperature: 1.5 }), greedy);
});

test("log-probabilities are the model's, whatever the sampling, and sorted", async (t) => {
    const { openai } = await startServer(t);
    const read = async (more: object) => {
        const request = { ...common, logprobs: true, top_logprobs: 20, max_tokens: 1 };
        return (await openai.chat.completions.create(withMore(request, more))).choices[0]!.logprobs!.content![0]!;
    };
    const plain = await read({ temperature: 0 });
    t.is(plain.top_logprobs.length, 20);
    t.is(plain.token, plain.top_logprobs[0]!.token);
    t.is(plain.logprob, plain.top_logprobs[0]!.logprob);
    const sorted = plain.top_logprobs.map(({ logprob }) => logprob);
    t.deepEqual(
        sorted,
        [...sorted].sort((a, b) => b - a)
    );
    const sum = sorted.reduce((total, logprob) => total + Math.exp(logprob), 0);
    t.true(sum > 0.2 && sum <= 1 + 1e-6);
    for (const more of [{ temperature: 1.8 }, { top_k: 2 }, { logit_bias: { 5: 100 } }]) {
        const { top_logprobs } = await read(more);
        for (const [i, { token, logprob }] of top_logprobs.entries()) {
            t.is(token, plain.top_logprobs[i]!.token);
            t.true(Math.abs(logprob - plain.top_logprobs[i]!.logprob) < 1e-4);
        }
    }
    const { choices } = await openai.completions.create({
        model: "tiny",
        prompt: "What",
        max_tokens: 6,
        logprobs: 3,
        temperature: 0
    });
    t.is(choices[0]!.logprobs!.tokens!.length, 6);
    t.is(choices[0]!.logprobs!.text_offset![0], 0);
});

test("streamed log-probabilities are those of the whole answer", async (t) => {
    const { openai } = await startServer(t);
    const request = { ...common, logprobs: true, top_logprobs: 2 };
    const { choices } = await openai.chat.completions.create(request);
    const streamed: OpenAI.ChatCompletionTokenLogprob[] = [];
    for await (const { choices: parts } of await openai.chat.completions.create({ ...request, stream: true }))
        streamed.push(...(parts[0]?.logprobs?.content ?? []));
    const tokens = choices[0]!.logprobs!.content!;
    t.is(tokens.length, 16);
    // what was read before may come in other pieces, so the last digits may differ
    t.deepEqual(
        streamed.map(({ token, logprob }) => [token, logprob.toFixed(3)]),
        tokens.map(({ token, logprob }) => [token, logprob.toFixed(3)])
    );
});

test("a bias bans and forces tokens", async (t) => {
    const { openai, server } = await startServer(t);
    const [token] = await server.engine.tokenize("z");
    const forced = await openai.chat.completions.create({ ...common, logit_bias: { [String(token)]: 100 } });
    t.is(forced.choices[0]!.message.content, "z".repeat(16));
    const greedy = await openai.chat.completions.create({ ...common, temperature: 0, logprobs: true });
    const first = greedy.choices[0]!.logprobs!.content![0]!;
    const id = Array.from({ length: 288 }, (_, i) => i).find((i) => {
        const text = server.engine.model.detokenize([i as never], true);
        return text === first.token || `token_id:${i}` === first.token;
    });
    const banned = await openai.chat.completions.create({
        ...common,
        temperature: 0,
        logprobs: true,
        logit_bias: { [String(id)]: -100 }
    });
    t.not(banned.choices[0]!.logprobs!.content![0]!.token, first.token);
});

test("the end-of-text token ends an answer with `stop`", async (t) => {
    const { openai, server } = await startServer(t);
    const eos = String(server.engine.model.tokens.eos);
    const { choices, usage } = await openai.chat.completions.create({ ...common, logit_bias: { [eos]: 100 } });
    t.is(choices[0]!.finish_reason, "stop");
    t.is(choices[0]!.message.content, "");
    t.is(usage!.completion_tokens, 0);
});

test("penalties keep tokens from coming again", async (t) => {
    const { openai } = await startServer(t);
    const distinct = async (more: object) => {
        const request = { ...common, logprobs: true, max_tokens: 40, logit_bias: { 90: 4, 91: 3.9, 92: 3.8 } };
        const { choices } = await openai.chat.completions.create(withMore(request, { temperature: 0, ...more }));
        return new Set(choices[0]!.logprobs!.content!.map(({ token }) => token)).size;
    };
    const without = await distinct({});
    t.true((await distinct({ frequency_penalty: 2 })) > without);
    t.true((await distinct({ presence_penalty: 2 })) >= without);
});

test("a stop string ends the answer before it, streamed too", async (t) => {
    const { openai } = await startServer(t);
    const text = (await openai.chat.completions.create(common)).choices[0]!.message.content!;
    // a random model writes bytes that are no character, which no stop string can name
    const stop = /[\x20-\x7e]{2}/.exec(text.slice(3))![0];
    const expected = text.slice(0, text.indexOf(stop));
    const { choices } = await openai.chat.completions.create({ ...common, stop: ["never there", stop] });
    t.is(choices[0]!.message.content, expected);
    t.is(choices[0]!.finish_reason, "stop");
    let streamed = "";
    for await (const { choices: parts } of await openai.chat.completions.create({ ...common, stop, stream: true }))
        streamed += parts[0]?.delta.content ?? "";
    t.is(streamed, expected);
});

test("max_tokens and max_completion_tokens bound the answer", async (t) => {
    const { openai } = await startServer(t);
    const { model, seed } = common;
    for (const limit of [{ max_tokens: 3 }, { max_completion_tokens: 3 }]) {
        const { usage, choices } = await openai.chat.completions.create({ model, seed, messages, ...limit });
        t.is(usage!.completion_tokens, 3);
        t.is(choices[0]!.finish_reason, "length");
    }
});

test("response_format gives JSON of the schema, streamed too", async (t) => {
    const { openai } = await startServer(t);
    const schema = {
        type: "object",
        properties: {
            answer: { enum: ["yes", "no"] },
            count: { type: "integer" },
            tags: { type: "array", items: { const: 1 }, maxItems: 2 }
        },
        required: ["answer", "count", "tags"],
        additionalProperties: false
    };
    const request = {
        ...common,
        max_tokens: 400,
        logit_bias: { 15: 3 },
        response_format: { type: "json_schema" as const, json_schema: { name: "answer", strict: true, schema } }
    };
    const { choices } = await openai.chat.completions.create(request);
    if (choices[0]!.finish_reason === "stop") {
        const value = JSON.parse(choices[0]!.message.content!);
        t.true(["yes", "no"].includes(value.answer));
        t.true(Number.isInteger(value.count));
    } else t.regex(choices[0]!.message.content!, /^\s*\{\s*"answer"\s*:\s*"(yes|no)"/);
    let streamed = "";
    for await (const { choices: parts } of await openai.chat.completions.create({ ...request, stream: true }))
        streamed += parts[0]?.delta.content ?? "";
    t.is(streamed, choices[0]!.message.content!);
    const small = { type: "object", properties: { answer: { enum: ["yes", "no"] } }, required: ["answer"] };
    const format = { type: "json_schema" as const, json_schema: { name: "small", schema: small } };
    const answer = await openai.chat.completions.create({ ...request, response_format: format });
    t.is(answer.choices[0]!.finish_reason, "stop");
    t.regex(answer.choices[0]!.message.content!, /^\{\s*"answer"\s*:\s*"(yes|no)"\s*\}$/);
    const object = await openai.chat.completions.create({
        ...request,
        max_tokens: 8,
        response_format: { type: "json_object" }
    });
    t.true(object.choices[0]!.message.content!.trimStart().startsWith("{"));
});

const tools: OpenAI.ChatCompletionTool[] = ["look", "wait"].map((name) => ({
    type: "function",
    function: {
        name,
        description: `Does ${name}`,
        parameters: {
            type: "object",
            properties: { where: { enum: ["box", "registry"] } },
            required: ["where"],
            additionalProperties: false
        }
    }
}));

test("tool_choice forces a call whose arguments fit the schema, streamed too, and its result is read", async (t) => {
    const { openai } = await startServer(t);
    const request = { ...common, max_tokens: 200, tools, parallel_tool_calls: false };
    const named = { type: "function" as const, function: { name: "wait" } };
    for (const tool_choice of ["required" as const, named]) {
        const { choices } = await openai.chat.completions.create({ ...request, tool_choice });
        t.is(choices[0]!.finish_reason, "tool_calls");
        const [call] = choices[0]!.message.tool_calls as OpenAI.ChatCompletionMessageFunctionToolCall[];
        if (typeof tool_choice === "object") t.is(call!.function.name, "wait");
        t.true(["box", "registry"].includes(JSON.parse(call!.function.arguments).where));
        const seen: string[] = [];
        for await (const { choices: parts } of await openai.chat.completions.create({
            ...request,
            tool_choice,
            stream: true
        }))
            for (const { function: called } of parts[0]?.delta.tool_calls ?? [])
                seen.push(`${called!.name} ${called!.arguments}`);
        t.deepEqual(seen, [`${call!.function.name} ${call!.function.arguments}`]);
        const after = await openai.chat.completions.create({
            ...common,
            messages: [
                ...messages,
                choices[0]!.message,
                { role: "tool", tool_call_id: call!.id, content: '{"found": "a lamp"}' }
            ]
        });
        t.is(after.usage!.completion_tokens, 16);
        t.true(after.usage!.prompt_tokens > 40);
    }
    const auto = await openai.chat.completions.create({ ...request, max_tokens: 8 });
    t.is(auto.choices[0]!.finish_reason, "length");
    t.true(auto.choices[0]!.message.content!.length > 0);
    const none = await openai.chat.completions.create({ ...request, max_tokens: 8, tool_choice: "none" });
    t.is(none.choices[0]!.message.tool_calls, undefined);
});

test("what is not supported is a 400 that names the parameter", async (t) => {
    const { openai } = await startServer(t);
    const cases: [object, string][] = [
        [{ audio: { voice: "a" } }, "audio"],
        [{ top_logprobs: 2 }, "top_logprobs"],
        [{ store: true }, "store"],
        [{ n: 129 }, "n"],
        [{ logit_bias: { 288: 1 } }, "logit_bias.288"],
        [{ max_completion_tokens: 3 }, "max_tokens"],
        [{ stream_options: { include_usage: true } }, "stream_options"],
        [{ return_progress: true }, "return_progress"],
        [{ tool_choice: "required" }, "tool_choice"],
        [{ tools, logprobs: true }, "logprobs"],
        [{ tools, tool_choice: { type: "function", function: { name: "none" } } }, "tool_choice.function.name"],
        [
            { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] },
            "messages.0.content.0.type"
        ],
        [{ messages: [{ role: "tool", content: "x", tool_call_id: "1" }] }, "messages.0.tool_call_id"],
        [
            {
                response_format: {
                    type: "json_schema",
                    json_schema: { name: "a", schema: { type: "string", contentSchema: true } }
                }
            },
            "response_format.json_schema.schema.contentSchema"
        ],
        [{ armt: { memory: "mem_none" } }, "armt.memory"]
    ];
    for (const [more, param] of cases) {
        const error = await t.throwsAsync<InstanceType<typeof OpenAI.APIError>>(
            openai.chat.completions.create(withMore(common, more)),
            { instanceOf: OpenAI.APIError }
        );
        t.is(error!.param, param, error!.message);
        t.true(error!.status === 400 || (param === "armt.memory" && error!.status === 404));
    }
    const wrongModel = await t.throwsAsync<InstanceType<typeof OpenAI.APIError>>(
        openai.chat.completions.create({ ...common, model: "gpt" }),
        { instanceOf: OpenAI.NotFoundError }
    );
    t.is(wrongModel!.code, "model_not_found");
    for (const more of [{ echo: 1 }, { best_of: 2 }, { suffix: "x" }]) {
        const error = await t.throwsAsync<InstanceType<typeof OpenAI.APIError>>(
            openai.completions.create(withMore({ model: "tiny", prompt: "x" }, more)),
            { instanceOf: OpenAI.BadRequestError }
        );
        t.is(error!.param, Object.keys(more)[0]);
    }
});

test("a plain model's prompt that does not fit is a 400 with both numbers, and its answer ends where the context does", async (t) => {
    const { openai, server } = await startServer(t, { tiny: "plain", modelId: "tiny" });
    const { contextSize } = server.engine.context;
    const error = await t.throwsAsync<InstanceType<typeof OpenAI.APIError>>(
        openai.completions.create({ model: "tiny", prompt: "a".repeat(contextSize) }),
        { instanceOf: OpenAI.BadRequestError }
    );
    t.is(error!.code, "context_length_exceeded");
    t.regex(error!.message, new RegExp(`${contextSize + 1} tokens.*${contextSize}`));
    const eos = String(server.engine.model.tokens.eos);
    const { usage, choices } = await openai.completions.create({
        model: "tiny",
        prompt: "a".repeat(contextSize - 20),
        max_tokens: 1000,
        logit_bias: { [eos]: -100 }
    });
    t.is(choices[0]!.finish_reason, "length");
    t.is(usage!.total_tokens, contextSize - 1);
});
